"""Measurements of the speed, memory and accuracy of executors, side by side."""
