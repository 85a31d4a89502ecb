"""Window attention, and the ways to compute it."""
