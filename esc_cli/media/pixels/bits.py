"""Bits per channel: the depths that pictures have, known without decoding."""

FLOAT_BITS = 32
"""The value that denotes floats in a list of bit depths."""

_PICTURE_DEPTHS_BITS = (8, 10, 12, 16)


WIDE_INTEGERS_NOTE = "32-bit integers were reduced to 16 bits per channel"
"""The note that a picture of integers has lost bit depth, since no picture has more than 16 bits."""


INFINITE_NOTE = "infinite values became the largest and the smallest finite ones"
"""The note on floats beyond all numbers."""


SIGNED_NOTE = "signed integers became unsigned: the lowest possible one is black"
"""The note on integers of 8 or 16 bits whose black is stored as -128 or -32,768."""


def depth_class(file_bits: int) -> int:
    """Return the depth of a picture (8, 10, 12 or 16) for the integer bits per channel of its file."""
    return next((depth for depth in _PICTURE_DEPTHS_BITS if file_bits <= depth), 16)


def reduction_note(depth_bits: int, to_bits: int) -> str:
    """Return the note that a picture has lost bit depth."""
    return f"{depth_bits} bits per channel were reduced to {to_bits}"
