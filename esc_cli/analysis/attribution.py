"""Which pixels of a picture does a window of the result come from? The local attribution map of a network."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from esc_cli.analysis.blur_path import detail_in_window, path_attribution
from esc_cli.analysis.diffusion import diffusion_index, reach_px
from esc_cli.analysis.subject import Subject, load_subject, low_picture
from esc_cli.engine.pixels import to_unit
from esc_cli.errors import InputError, UsageError

CROP_PX = 64
"""What a network of scale 4 sees of originals of 256x256 pixels, which the published figures are made of."""

WINDOW_PX = 16

SHARES = (0.5, 0.9, 0.99)

_ROUNDING = 1e-5
"""Rounding gave a pixel of a flat picture 2e-6 at most; a single step of 8 bits in one gives 0.07."""


@dataclass(frozen=True)
class Window:
    """A square of a picture, pixels: ``top`` and ``left`` are those of its first pixel."""

    top: int
    left: int
    size_px: int


@dataclass(frozen=True)
class Attribution:
    """Where a window of the result comes from.

    Attributes:
        model: Its name, or the file's.
        scale: Pixels out per pixel in.
        low: (1, 3, H, W), float32 in [0, 1]: what the network saw.
        window: In the result of ``low``.
        map: (H, W), float32, 0 to 1: the share of each pixel, by the largest.
    """

    model: str
    scale: int
    low: Tensor
    window: Window
    map: Tensor

    @property
    def diffusion_index(self) -> float:
        """How evenly all pixels are involved, up to 100."""
        return diffusion_index(self.map)

    def reach_px(self, share: float) -> float:
        """Give how far from the window that share of the attribution lies at most, low-resolution pixels."""
        return reach_px(self.map, _distances_px(self.map, self.window, self.scale), share)


def attribution(
    picture: Path,
    model: str | Path,
    scale: int | None = None,
    *,
    position: tuple[int, int] | None = None,
    window_px: int = WINDOW_PX,
    crop_px: int = CROP_PX,
    is_low: bool = False,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Attribution:
    """Compute the local attribution map of a window.

    Args:
        picture: An original, which is shrunk by the papers' protocol.
        model: As for ``load_checkpoint``.
        scale: Pixels out per pixel in; by default the largest of the model.
        position: Top and left of the window in the whole picture's result, pixels; by default its middle.
        window_px: Side of the window, pixels of the result.
        crop_px: Side of what the network sees, around the window, low-resolution pixels; less where the
            picture is smaller. Memory for the gradients grows with its square.
        is_low: The picture is of low resolution already.
        device: As for ``Upscaler``.
        progress: Is told how many steps are done, of how many.

    Raises:
        InputError: The picture cannot be read or is smaller than the scale, or the result is flat in the
            window.
        UsageError: The window does not lie in the result, or in what the network sees.
        WeightsError: There is no such model or it has no such scale.
        DeviceError: There is no such device, or not enough memory.

    Source: Gu and Dong, "Interpreting super-resolution networks with local attribution maps"
    (arXiv 2011.11036), and its published code.
    """
    subject = load_subject(model, scale, device)
    whole = to_unit(low_picture(picture, subject.scale, is_low=is_low))
    low, window = _around_window(whole, position, window_px, crop_px, subject.scale)
    with subject.in_float32():
        shares = _shares(subject, low, window, progress)
    if shares.max() < _ROUNDING:
        raise InputError(f"the result for {str(picture)!r} is flat in the window: nothing to attribute")
    return Attribution(subject.name, subject.scale, low, window, shares / shares.max())


def _shares(
    subject: Subject, low: Tensor, window: Window, progress: Callable[[int, int], None] | None
) -> Tensor:
    def detail(point: Tensor) -> Tensor:
        return detail_in_window(subject.network(point), window.top, window.left, window.size_px)

    shares = path_attribution(detail, low.to(subject.device), progress=progress)
    return shares[0].sum(dim=0).abs().cpu()  # (H, W)


def _around_window(
    whole: Tensor, position: tuple[int, int] | None, window_px: int, crop_px: int, scale: int
) -> tuple[Tensor, Window]:
    """Cut out what the network shall see; give the window's place in the result of that."""
    sides = whole.shape[-2:]
    starts = position or tuple((side * scale - window_px) // 2 for side in sides)
    _check_window(starts, window_px, crop_px, sides, scale)
    firsts = [
        first_of_crop(start, window_px, crop_px, side, scale)
        for start, side in zip(starts, sides, strict=True)
    ]
    rows, columns = (slice(first, first + crop_px) for first in firsts)
    top, left = (start - first * scale for start, first in zip(starts, firsts, strict=True))
    return whole[..., rows, columns], Window(top, left, window_px)


def first_of_crop(start: int, window_px: int, crop_px: int, side: int, scale: int) -> int:
    """Give where a crop along one axis begins, so that it has the window in its middle as far as it can.

    Args:
        start: Of the window, in the result.
        window_px: Its length, in the result.
        crop_px: Length of the crop, at low resolution; two more at least than the window's there.
        side: Of the picture, at low resolution.
        scale: Pixels out per pixel in.
    """
    middle = (2 * start + window_px) // (2 * scale)
    return max(0, min(middle - crop_px // 2, side - crop_px))


def _check_window(
    starts: tuple[int, ...], window_px: int, crop_px: int, sides: torch.Size, scale: int
) -> None:
    height, width = (side * scale for side in sides)
    top, left = starts
    if not (0 <= top <= height - window_px and 0 <= left <= width - window_px):
        raise UsageError(
            f"a window of {window_px} pixels at {top},{left} does not lie in the result of {height}x{width}"
        )
    smallest = -(-window_px // scale) + 2
    if crop_px < smallest:
        raise UsageError(f"the network must see {smallest} pixels around that window, not {crop_px}")


def _distances_px(attribution: Tensor, window: Window, scale: int) -> Tensor:
    """Give how far the middle of each pixel (H, W) is from the window, 0 inside it."""
    rows, columns = (
        _distances_along_px(side, start / scale, (start + window.size_px) / scale)
        for side, start in zip(attribution.shape, (window.top, window.left), strict=True)
    )
    return torch.hypot(rows[:, None], columns)


def _distances_along_px(side: int, start: float, end: float) -> Tensor:
    middles = torch.arange(side) + 0.5
    return torch.maximum(start - middles, middles - end).clamp(min=0)
