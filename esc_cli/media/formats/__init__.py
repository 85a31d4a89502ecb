"""The picture formats: one module owns everything about one of them, and `registry` lists them."""
