"""From a picture, with its transparency, tone and depth, to a larger one, as users get it."""
