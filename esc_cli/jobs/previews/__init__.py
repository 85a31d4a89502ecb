"""Previews of pictures: parts of their results on a sheet or a page, made in seconds."""
