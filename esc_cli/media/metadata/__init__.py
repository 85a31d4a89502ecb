"""Read the metadata of pictures, repair it, and fit it to a result."""
