"""How a picture larger than memory goes through a network: whole, in exact strips, in blended tiles."""
