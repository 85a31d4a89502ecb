"""The complete networks, one readable file for each architecture."""
