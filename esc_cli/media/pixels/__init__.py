"""Pixels of files: depth, transparency, orientation, and traces that compression left."""
