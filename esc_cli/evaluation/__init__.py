"""How good a model is: the papers' protocol, and what it needs."""
