"""From files to networks: reading, recognising, and the models that are shipped."""
