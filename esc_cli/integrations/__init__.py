"""ESC inside other programs. Nothing else in this package imports these modules."""
