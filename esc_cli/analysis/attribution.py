"""Compute the local attribution map, and how widely it is spread.

The map tells which pixels of a picture a window of the result depends on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from esc_cli.analysis.blur_path import detail_in_window, path_attribution
from esc_cli.analysis.subject import Subject, load_subject, low_picture
from esc_cli.engine.pixels import to_unit
from esc_cli.errors import InputError, UsageError


def gini(values: Tensor) -> float:
    """Return the Gini coefficient: 0 if all values are equal, 1 - 1 / n if one of n values has everything.

    Args:
        values: Nonnegative values, any shape but empty.

    Source: Gini 1912, as a sum over sorted values: sum of (2 i - n - 1) a_i / (n sum of a), i from 1.
    """
    ascending = values.double().flatten().sort().values
    n, total = len(ascending), float(ascending.sum())
    if total == 0:
        return 0.0
    weights = 2 * torch.arange(1, n + 1, dtype=torch.float64) - n - 1
    return float(weights @ ascending) / (n * total)


def diffusion_index(attribution: Tensor) -> float:
    """Return how even an attribution is: 100 / (H W) if one pixel has everything, 100 if all are equal.

    Use it to compare networks on pictures of one size only, because pixels without attribution count, too.

    Args:
        attribution: (H, W), nonnegative.

    Source: Gu and Dong, "Interpreting super-resolution networks with local attribution maps"
    (arXiv 2011.11036), equation 8.
    """
    return 100 * (1 - gini(attribution))


def reach_px(attribution: Tensor, distances_px: Tensor, share: float) -> float:
    """Return the distance within which a share of the attribution lies.

    Args:
        attribution: (H, W), nonnegative, not all zero.
        distances_px: Distance of each pixel, (H, W).
        share: Share of the attribution, above 0 and at most 1.
    """
    order = distances_px.flatten().argsort()
    within = attribution.double().flatten()[order].cumsum(dim=0)
    index = int(torch.searchsorted(within, share * within[-1]))
    return float(distances_px.flatten()[order][index])


CROP_PX = 64
"""Size of the network's input in the published figures: originals of 256x256 pixels at scale 4."""

WINDOW_PX = 16
"""Side of the window, in pixels of the result."""

SHARES = (0.5, 0.9, 0.99)

_ROUNDING = 1e-5
"""Attribution below this is rounding error.

On a flat picture, rounding gave a pixel at most 2e-6. A single 8-bit step in a flat picture gives 0.07.
"""


@dataclass(frozen=True)
class Window:
    """A square of a picture, in pixels. ``top`` and ``left`` are the coordinates of its first pixel."""

    top: int
    left: int
    size_px: int


@dataclass(frozen=True)
class Attribution:
    """The attribution of a window of the result to the pixels of the input.

    Attributes:
        model: Name of the model or of its file.
        scale: Output pixels per input pixel.
        low: Input of the network: (1, 3, H, W), float32 in [0, 1].
        window: The window, in the result for ``low``.
        map: Attribution of each pixel, divided by the largest: (H, W), float32, 0 to 1.
    """

    model: str
    scale: int
    low: Tensor
    window: Window
    map: Tensor

    @property
    def diffusion_index(self) -> float:
        """Evenness of the attribution over all pixels, at most 100."""
        return diffusion_index(self.map)

    def reach_px(self, share: float) -> float:
        """Return the distance from the window, in input pixels, within which the share lies."""
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
        picture: Path of an original, which is shrunk with the protocol of the papers.
        model: Name or file of a model; see ``load_checkpoint``.
        scale: Output pixels per input pixel. The default is the largest scale of the model.
        position: Top and left of the window, in pixels of the whole picture's result. By default the window
            is in the middle.
        window_px: Side of the window, in pixels of the result.
        crop_px: Side of the network's input around the window, in low-resolution pixels. It is less where
            the picture is smaller. Memory for the gradients grows with its square.
        is_low: Whether the picture already has low resolution.
        device: Name of the device; see ``Upscaler``.
        progress: Function that is called with the number of steps done and the number of all steps.

    Raises:
        InputError: The picture cannot be read or is smaller than the scale, or the result is flat in the
            window.
        UsageError: The window does not fit in the result or in the input of the network.
        WeightsError: The model does not exist or does not have this scale.
        DeviceError: The device does not exist or does not have enough memory.

    Source: Gu and Dong, "Interpreting super-resolution networks with local attribution maps"
    (arXiv 2011.11036), and its published code.
    """
    subject = load_subject(model, scale, device)
    whole = to_unit(low_picture(picture, subject.scale, is_low=is_low))
    low, window = _around_window(whole, position, window_px, crop_px, subject.scale)
    with subject.in_float32():
        shares = _shares(subject, low, window, progress)
    if shares.max() < _ROUNDING:
        raise InputError(
            f"the result for {str(picture)!r} is flat in the window: there is nothing to attribute"
        )
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
    """Return the crop that the network receives, and the window in the result for that crop."""
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
    """Return the start of a crop along one axis, with the window as close to its middle as possible.

    Args:
        start: Start of the window, in the result.
        window_px: Length of the window, in the result.
        crop_px: Length of the crop, at low resolution. It must be at least two more than the length of the
            window at low resolution.
        side: Length of the picture, at low resolution.
        scale: Output pixels per input pixel.
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
            f"a window of {window_px} pixels at {top},{left} is not inside the result of {height}x{width}"
        )
    smallest = -(-window_px // scale) + 2
    if crop_px < smallest:
        raise UsageError(f"a window of this size needs a crop of at least {smallest} pixels, not {crop_px}")


def _distances_px(attribution: Tensor, window: Window, scale: int) -> Tensor:
    """Return the distance (H, W) of the center of each pixel from the window; 0 inside it."""
    rows, columns = (
        _distances_along_px(side, start / scale, (start + window.size_px) / scale)
        for side, start in zip(attribution.shape, (window.top, window.left), strict=True)
    )
    return torch.hypot(rows[:, None], columns)


def _distances_along_px(side: int, start: float, end: float) -> Tensor:
    middles = torch.arange(side) + 0.5
    return torch.maximum(start - middles, middles - end).clamp(min=0)
