"""Pixels as integers and as numbers in [0, 1]."""

import torch
from torch import Tensor

from esc_cli.errors import InputError

_LARGEST = {torch.uint8: 255, torch.uint16: 65535}
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
PIXEL_DTYPES = (*_LARGEST, *_FLOATS)

_LARGEST_FLOAT = 2.0
"""Values may exceed 1 a little, as after a resize; above this they are meant to be out of 255."""


def check_picture(picture: Tensor) -> None:
    """Refuse what is no picture.

    Args:
        picture: Should be (N, 3, H, W), not empty, of one of ``PIXEL_DTYPES``, and finite.

    Raises:
        InputError: It is not.
    """
    if not isinstance(picture, Tensor):
        raise InputError(
            f"a picture must be a tensor, not of the type {type(picture).__name__}",
            hint="esc_cli.upscale takes files and Pillow images",
        )
    if picture.ndim != 4 or picture.shape[1] != 3 or 0 in picture.shape:
        raise InputError(f"a picture must have the shape (N, 3, H, W), not {tuple(picture.shape)}")
    check_dtype(picture.dtype)
    if picture.dtype in _FLOATS and not is_finite(picture):
        raise InputError("the picture holds values that are not finite")
    if picture.dtype in _FLOATS and float(picture.max()) > _LARGEST_FLOAT:
        raise InputError(
            f"the picture holds values up to {float(picture.max()):g}: floats are in [0, 1]",
            hint="divide them by 255, or give uint8",
        )


def check_dtype(dtype: torch.dtype) -> None:
    """Refuse a type that pixels cannot have.

    Raises:
        InputError: It is none of ``PIXEL_DTYPES``.
    """
    if dtype not in PIXEL_DTYPES:
        known = ", ".join(str(known).removeprefix("torch.") for known in PIXEL_DTYPES)
        raise InputError(
            f"pixels must be of one of the types {known}, not {str(dtype).removeprefix('torch.')}"
        )


def is_finite(numbers: Tensor) -> bool:
    """Tell whether no value is infinite or NaN, without a mask of the tensor's size.

    Args:
        numbers: Floating point, any shape but empty.
    """
    smallest, largest = numbers.aminmax()  # hands NaN on
    return bool(torch.isfinite(torch.stack((smallest, largest))).all())


def to_unit(pixels: Tensor) -> Tensor:
    """Convert pixels of any of ``PIXEL_DTYPES`` to float32 in [0, 1], always as a copy."""
    unit = pixels.to(torch.float32, copy=True)
    return unit.div_(_LARGEST[pixels.dtype]) if pixels.dtype in _LARGEST else unit


def from_unit(unit: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert float32 to pixels: clamped to [0, 1], and rounded to the nearest integer (half to even).

    Args:
        unit: Float32, any shape and device; overwritten.
        dtype: One of ``PIXEL_DTYPES``.
    """
    unit.clamp_(0, 1)
    if dtype in _LARGEST:
        unit.mul_(_LARGEST[dtype]).round_()
    return unit.to(dtype)
