"""The mixers, which mix neighboring pixels in the mixing layers."""
