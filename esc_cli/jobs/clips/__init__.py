"""Clips: planned as pictures are, made in segments that a later run can go on with."""
