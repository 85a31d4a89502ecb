"""Check pixels, and convert them between integers and numbers in [0, 1]."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from esc_cli.errors import InputError

_LARGEST = {torch.uint8: 255, torch.uint16: 65535}
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
PIXEL_DTYPES = (*_LARGEST, *_FLOATS)

_FLOAT_RANGE = (-1.0, 2.0)
"""Smallest and largest accepted float.

Values may slightly exceed [0, 1], for example after a resize. Larger values are meant to be on a scale to
255. Smaller values come from a picture whose mean was subtracted.
"""


def check_picture(picture: Tensor) -> None:
    """Raise an error if a tensor is not a valid picture.

    Args:
        picture: Should be (N, 3, H, W), not empty, of one of ``PIXEL_DTYPES``, and finite.

    Raises:
        InputError: The picture does not meet these conditions.
    """
    if not isinstance(picture, Tensor):
        raise InputError(
            f"a picture must be a tensor, not of the type {type(picture).__name__}",
            hint="call the Upscaler itself with an array, and esc_cli.upscale with a file or a Pillow image",
        )
    if picture.ndim != 4 or picture.shape[1] != 3 or 0 in picture.shape:
        raise InputError(f"a picture must have the shape (N, 3, H, W), not {tuple(picture.shape)}")
    check_dtype(picture.dtype)
    if picture.dtype in _FLOATS and not is_finite(picture):
        raise InputError("the picture holds values that are not finite")
    if picture.dtype in _FLOATS:
        least, most = (float(bound) for bound in torch.aminmax(picture))
        if least < _FLOAT_RANGE[0] or most > _FLOAT_RANGE[1]:
            raise InputError(
                f"the picture holds values from {least:g} to {most:g}, but floats must be in [0, 1]",
                hint="pass uint8, or divide values up to 255 by 255",
            )


def tensor_of(array: npt.NDArray[Any]) -> Tensor:
    """Return a copy of an RGB array, (H, W, 3), as a picture, (1, 3, H, W).

    Raises:
        InputError: The array does not have this shape, or its type is not one of ``PIXEL_DTYPES``.
    """
    if array.ndim != 3 or array.shape[2] != 3:
        raise InputError(
            f"an array must have the shape (H, W, 3), not {array.shape}",
            hint="use esc_cli.upscale for gray pictures and pictures with alpha",
        )
    try:
        planes = torch.from_numpy(array.transpose(2, 0, 1).astype(array.dtype.newbyteorder("="), order="C"))
    except TypeError as error:
        raise InputError(f"pixels cannot be of the type {array.dtype}") from error
    return planes[None]


def array_of(picture: Tensor) -> npt.NDArray[Any]:
    """Return a picture, (1, 3, H, W), as an array, (H, W, 3)."""
    return np.ascontiguousarray(picture[0].permute(1, 2, 0).numpy())


def check_dtype(dtype: torch.dtype) -> None:
    """Raise an error if pixels cannot have a type.

    Raises:
        InputError: The type is not one of ``PIXEL_DTYPES``.
    """
    if dtype not in PIXEL_DTYPES:
        known = ", ".join(map(dtype_name, PIXEL_DTYPES))
        raise InputError(f"pixels must be of one of the types {known}, not {dtype_name(dtype)}")


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a type as users write it, such as ``float32``."""
    return str(dtype).removeprefix("torch.")


def is_finite(numbers: Tensor) -> bool:
    """Return whether no value is infinite or NaN, without allocating a mask of the tensor's size.

    Args:
        numbers: Floating point, any shape.
    """
    if numbers.numel() == 0:
        return True
    smallest, largest = numbers.aminmax()  # propagates NaN
    return bool(torch.isfinite(torch.stack((smallest, largest))).all())


def movable(pixels: Tensor) -> Tensor:
    """Return a view of pixels, of a type that torch can flip and repeat, to be moved and viewed as before.

    Torch 2.13 cannot flip uint16 on the CPU. Where pixels are only moved, their type does not matter.
    """
    return pixels.view(torch.int16) if pixels.dtype == torch.uint16 else pixels


def to_unit(pixels: Tensor) -> Tensor:
    """Convert pixels of any of ``PIXEL_DTYPES`` to float32 in [0, 1]. The result is always a copy."""
    unit = pixels.to(torch.float32, copy=True)
    return unit.div_(_LARGEST[pixels.dtype]) if pixels.dtype in _LARGEST else unit


def from_unit(unit: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert float32 to pixels, clamped to [0, 1]. Integers are rounded to the nearest (half to even).

    Args:
        unit: Float32, any shape and device. It is overwritten.
        dtype: Pixel type of the result, one of ``PIXEL_DTYPES``.
    """
    unit.clamp_(0, 1)
    if dtype in _LARGEST:
        unit.mul_(_LARGEST[dtype]).round_()
    return unit.to(dtype)
