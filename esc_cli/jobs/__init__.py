"""Turn named inputs into results on disk: find the inputs, name the results, make a plan and carry it out."""
