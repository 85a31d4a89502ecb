"""Writing complete files and computing their digests, for use by all other packages."""
