"""Conversion between files and pixels: reading and writing of pictures, alpha, metadata and geometry.

Gamma, color profiles, palettes and the order (width, height) exist only inside this package.
"""
