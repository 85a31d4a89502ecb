"""Plan clips in the same way as pictures, and make them in segments that a later run can continue."""
