"""Bit depth: convert the numbers in files to pixels, and pictures from one depth to another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from esc_cli.media.picture import Picture
from esc_cli.media.pixels.bits import FLOAT_BITS, INFINITE_NOTE, SIGNED_NOTE, WIDE_INTEGERS_NOTE, depth_class

Array = npt.NDArray[Any]

USUAL_WHITES = (1.0, 255.0, 65_535.0)
"""Values that are white in files of floats, which do not state it."""


@dataclass(frozen=True)
class Pixels:
    """Decoded pixels, as in `Picture` except for the order of the dimensions.

    Attributes:
        values: Array of shape (H, W, C): gray, gray and alpha, RGB, or RGB and alpha. The type is uint8,
            uint16 over its whole range, or float32 in [0, 1]. Colors are not premultiplied by alpha.
        depth_bits: See `Picture`.
        value_range: See `Picture`.
        notes: Sentences about what was changed when reading.
        no_data: See `Picture`.
    """

    values: Array
    depth_bits: int = 8
    value_range: tuple[float, float] = (0.0, 1.0)
    notes: tuple[str, ...] = ()
    no_data: float | None = None

    @property
    def gray(self) -> bool:
        """Whether there is one color channel, with or without alpha."""
        return bool(self.values.shape[2] <= 2)

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is alpha."""
        return self.values.shape[2] in (2, 4)


def depth_written(depth_bits: int, offered: Sequence[int]) -> int:
    """Choose a depth that a format offers: the same, or the next higher one, or otherwise the highest.

    Args:
        depth_bits: Depth of a picture.
        offered: Depths of the format, in ascending order. Integers are never written as floats.
    """
    usable = [bits for bits in offered if bits != FLOAT_BITS or depth_bits == FLOAT_BITS]
    return next((bits for bits in usable if bits >= depth_bits), usable[-1])


# From numbers in files to pixels in memory


def from_integers(values: Array, bits: int) -> Pixels:
    """Scale unsigned integers to the full 16 bits. Source: PNG 13.12, the linear equation.

    Args:
        values: Array of shape (H, W, C), uint16, at most 2^bits - 1.
        bits: Number of bits, 1 to 16.
    """
    if bits < 16:
        table = np.arange(2**16, dtype=np.float64) * (65_535 / (2**bits - 1))
        values = table.round().clip(0, 65_535).astype(np.uint16)[values]
    return Pixels(values, depth_class(bits))


def from_signed_integers(values: Array, bits: int = 16) -> Pixels:
    """Convert signed integers of 8 or 16 bits, of shape (H, W, C), to unsigned ones, without loss."""
    moved = values.astype(np.int32) + 2 ** (bits - 1)
    return Pixels(moved.astype(np.uint8 if bits == 8 else np.uint16), bits, notes=(SIGNED_NOTE,))


def from_wide_integers(values: Array) -> Pixels:
    """Scale 32-bit integers of shape (H, W, C), whose white is not stated, to 16 bits."""
    black, white = _range(values, (255.0, 65_535.0))
    scaled = (values.astype(np.float64) - black) * (65_535 / (white - black))
    return Pixels(scaled.round().astype(np.uint16), 16, notes=(WIDE_INTEGERS_NOTE,))


def from_floats(values: Array, no_data: float | None = None, usual: Sequence[float] = USUAL_WHITES) -> Pixels:
    """Scale floats of shape (H, W, C) to [0, 1]; the last channel is alpha if there are two or four.

    Pixels without data become transparent. Without alpha of its own, the picture gets an alpha that marks
    them. Alpha may have the range of the colors, or always [0, 1].

    Args:
        values: The floats.
        no_data: The value of pixels without data, besides NaN.
        usual: Values that may be white, in ascending order.
    """
    colors = values.shape[2] - (values.shape[2] in (2, 4))
    missing = _missing(values[..., :colors], no_data)
    black, white = _range(values[..., :colors], usual, missing)
    is_marked = colors == values.shape[2] and missing is not None
    scaled = np.empty((*values.shape[:2], values.shape[2] + is_marked), np.float32)
    for channel in range(values.shape[2]):  # one at a time, since floats take much memory
        plane = values[..., channel]
        low, high = (black, white) if channel < colors else (0.0, _white_of_alpha(plane, white))
        scaled[..., channel] = _between(plane, low, high)
    if is_marked:
        scaled[..., -1] = 1
    if missing is not None:
        scaled[missing] = 0
    notes = (INFINITE_NOTE,) if np.isinf(values[..., :colors]).any() else ()
    mark = no_data if no_data is not None else math.nan
    return Pixels(scaled, FLOAT_BITS, (black, white), notes, mark if is_marked else None)


def _missing(colors: Array, no_data: float | None) -> Array | None:
    """Return which pixels of (H, W, C) have no data: any channel is NaN, or all have the value; None if none.

    The value is compared as the type of the colors stores it.
    """
    missing: Array = np.logical_or.reduce(np.isnan(colors), axis=2)
    if no_data is not None:
        with np.errstate(over="ignore"):
            missing = np.logical_or(missing, (colors == colors.dtype.type(no_data)).all(axis=2))
    return missing if missing.any() else None


def unpremultiplied(values: Array) -> Array:
    """Divide colors by alpha, the last channel of (H, W, C) of any type. Colors are 0 where alpha is 0.

    Source: TIFF 6.0, ExtraSamples 1 (associated alpha).
    """
    # The products of two values are exact, so that halves are rounded as halves.
    alpha: Array = values[..., -1].astype(np.float64 if values.dtype.itemsize > 1 else np.float32)
    opaque = alpha.dtype.type(1.0 if values.dtype.kind == "f" else np.iinfo(values.dtype).max)
    result = values.copy()
    for channel in range(values.shape[2] - 1):
        products = values[..., channel] * opaque
        straight = np.divide(products, alpha, out=np.zeros_like(alpha), where=alpha > 0).clip(0, opaque)
        result[..., channel] = straight if values.dtype.kind == "f" else straight.round()
    return result


def _range(values: Array, usual: Sequence[float], missing: Array | None = None) -> tuple[float, float]:
    """Return the black and white of numbers whose type does not define them, except of missing pixels.

    The result is the smallest usual range that holds all numbers. A range other than the first is taken only
    if the numbers fill more than an eighth of it: a float photo that overshoots 1 is not a dark photo in [0,
    255]. If no usual range is suitable, the numbers' own range is taken.
    """
    finite = values if missing is None else values[~missing]
    finite = finite[np.isfinite(finite)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    filled = (white for white in usual if high <= white and (white == usual[0] or high > white / 8))
    return min(low, 0.0), next(filled, high)


def _between(values: Array, low: float, high: float) -> Array:
    """Return floats as fractions of the distance from low to high; NaN becomes 0."""
    with np.errstate(invalid="ignore"):  # converting some kinds of NaN is an invalid operation
        parts: Array = (values.astype(np.float64) - low) / (high - low)
    return np.nan_to_num(parts, posinf=1, neginf=0).clip(0, 1)


def _white_of_alpha(alpha: Array, white: float) -> float:
    return white if np.nanmax(alpha, initial=0) > 1 else 1.0


# Pictures in memory


def with_depth(picture: Picture, bits: int) -> Picture:
    """Reduce a picture to a depth, with rounding; a picture that has no more bits is returned as it is.

    Args:
        picture: Picture of any depth.
        bits: 8, 10, 12 or 16; 32 changes nothing. 10 and 12 bits are scaled to the full 16 bits.

    Returns:
        The picture. Pixels without data are marked by alpha alone.
    """
    if bits >= picture.depth_bits:
        return picture
    alpha = None if picture.alpha is None else _reduced(picture.alpha, bits)
    return replace(picture, color=_reduced(picture.color, bits), alpha=alpha, depth_bits=bits, no_data=None)


def quantized(values: Array, bits: int) -> Array:
    """Round uint16 values of the whole range to fewer bits, right-aligned: 0 .. 2^bits - 1."""
    table = np.arange(2**16, dtype=np.float64) * ((2**bits - 1) / 65_535)
    result: Array = table.round().astype(np.uint8 if bits <= 8 else np.uint16)[values]
    return result


def _reduced(planes: Tensor, bits: int) -> Tensor:
    """Reduce planes of shape (N, C, H, W), one plane at a time, since floats take much memory."""
    result = torch.empty(planes.shape, dtype=torch.uint8 if bits == 8 else torch.uint16)
    for target, plane in zip(result.flatten(0, 1), planes.flatten(0, 1), strict=True):
        values = plane.numpy()
        if values.dtype.kind == "f":
            values = (values * 65_535).round().astype(np.uint16)
        target.numpy()[:] = _quantized_in_place_of(values, bits)
    return result


def _quantized_in_place_of(values: Array, bits: int) -> Array:
    fewer = quantized(values, bits)
    return fewer if bits in (8, 16) else from_integers(fewer, bits).values
