"""Pixels of files: bit depth, transparency, orientation, and traces of compression."""
