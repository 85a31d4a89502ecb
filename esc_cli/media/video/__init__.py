"""Reading and writing video, and muxing it with the other streams of its file.

Sizes are (width, height) in calls to PyAV and (height, width) everywhere else.
"""
