"""The names of the degradations. This module does not load torch, so that the command line can list them."""

from typing import Literal

WildDegradation = Literal["robust", "real"]
"""The random degradations. ``RECIPES`` in ``wild`` has the ranges of each."""

DegradationName = Literal["bicubic", WildDegradation]
"""All ways to make low-resolution pictures. ``bicubic`` is the protocol of the papers."""
