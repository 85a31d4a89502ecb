"""Train a network on a folder of pictures."""
