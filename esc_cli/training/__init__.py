"""Training a network on a folder of pictures."""
