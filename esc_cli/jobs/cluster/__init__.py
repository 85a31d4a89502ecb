"""The work of a run on the workers of a Ray cluster. Ray is optional and imported only for this."""
