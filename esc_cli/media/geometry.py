"""The one resize: whatever changes a picture's size without a network goes through here."""

import torch
import torch.nn.functional as F
from torch import Tensor


def resize(picture: Tensor, height: int, width: int) -> Tensor:
    """Resize by the antialiased bicubic filter (a = -0.5).

    Args:
        picture: (N, C, H, W), uint8, or float in [0, 1], on any device.
        height: Of the result, in pixels, at least 1.
        width: Of the result, in pixels, at least 1.

    Returns:
        (N, C, height, width), same dtype and device. Bytes are rounded half to even and clamped. Floats are
        not clamped: the filter overshoots [0, 1] at edges, and the caller may have calculations left to do.

    Raises:
        TypeError: The picture is neither uint8 nor float.

    Source:
        R. Keys, "Cubic convolution interpolation for digital image processing", IEEE ASSP 29 (1981), with
        a = -1/2; stretched by the scale when shrinking and normalized at the borders, as Pillow does.
        MATLAB's imresize has the same filter, but mirrors the picture at its borders.
    """
    if picture.dtype != torch.uint8 and not picture.is_floating_point():
        raise TypeError(f"a picture is uint8 or float, not {picture.dtype}")
    if picture.shape[-2:] == (height, width):
        return picture
    resized = picture.new_empty((*picture.shape[:2], height, width))
    for channel in range(picture.shape[1]):  # one by one: bytes never become a whole picture of floats
        plane = _bicubic(picture[:, channel : channel + 1].to(torch.float32), height, width)
        if picture.dtype == torch.uint8:
            plane = plane.round_().clamp_(0, 255)
        resized[:, channel : channel + 1] = plane
    return resized


def _bicubic(picture: Tensor, height: int, width: int) -> Tensor:
    if width == 1 and height > 1:
        # torch 2.13 on the CPU fills results one pixel wide with their first row; lying down they are right.
        return _bicubic(picture.mT, width, height).mT.contiguous()
    return F.interpolate(picture, (height, width), mode="bicubic", antialias=True, align_corners=False)
