"""From named inputs to results on disk: inputs, names, a plan, and its execution."""
