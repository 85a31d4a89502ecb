"""What mixes neighbouring pixels in the mixing layers."""
