"""Clips <-> frames: reading and writing video, and joining it with everything else that its file holds.

In lines that talk to PyAV sizes are (width, height); everywhere else they are (height, width).
"""
