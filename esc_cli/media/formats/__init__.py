"""Picture formats: each format has its own module, and `registry` lists all formats."""
