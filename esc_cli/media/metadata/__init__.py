"""Metadata of pictures: read, mended and fitted to a result."""
