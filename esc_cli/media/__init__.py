"""Pixels <-> files: reading and writing pictures, alpha, metadata and geometry.

Gamma, colour profiles, palettes and (width, height) exist only inside this room.
"""
