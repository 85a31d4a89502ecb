"""Enlarge pictures as users get them, with their transparency, tone and bit depth."""
