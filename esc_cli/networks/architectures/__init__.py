"""The networks as a whole, a readable file each."""
