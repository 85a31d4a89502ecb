"""Find out how much memory is free, and estimate how much a run takes."""
