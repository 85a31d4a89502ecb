"""Files that are written whole, and their digests: what every room needs and no room owns."""
