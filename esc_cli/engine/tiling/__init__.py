"""The ways to run a picture through a network within the free memory: whole, in strips or in tiles."""
