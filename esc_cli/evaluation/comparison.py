"""Compare the results of several models for one picture: crops side by side, and their PSNR."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

from torch import Tensor

from esc_cli.checkpoints.scales import DEFAULT_SCALE
from esc_cli.engine.upscaler import ProgressCallback
from esc_cli.enhancement.choice import Chooser
from esc_cli.enhancement.enlarge import share_of
from esc_cli.enhancement.options import EnhancementOptions
from esc_cli.errors import InputError, UsageError
from esc_cli.evaluation.degradation.bicubic import crop_to_multiple, downscale
from esc_cli.evaluation.degradation.names import DegradationName
from esc_cli.evaluation.evaluate import enlarger_for, low_resolution
from esc_cli.evaluation.metrics import crop_border, luma, psnr
from esc_cli.evaluation.shown import Original, Shown, as_shown, compared
from esc_cli.evaluation.windows import Window, most_detailed
from esc_cli.media.contact_sheet import captioned, contact_sheet
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.picture import Picture
from esc_cli.media.probe import probe
from esc_cli.media.read import read_picture

BASELINE = "bicubic"
"""Model that is always compared."""

CROP_PX = 160
"""Longest side of automatically chosen crops, in the result. They are at most a third of the picture."""

CELL_PX = 240
"""Crops narrower than this are magnified, because captions need room and single pixels are hard to see."""


@dataclass(frozen=True)
class Column:
    """A column of the sheet: the result of a model, or the original.

    Attributes:
        name: Name of the model as requested, or ``original``.
        model: Name of the model that ran. It differs from ``name`` only for ``auto``; None for the original.
        crops: Crops of the result, each (1, 3, h, w), uint8.
        psnr: PSNR of the whole picture without a border of ``scale`` pixels, in dB; None if nothing is
            compared.
        crop_psnrs: PSNR of each crop; empty if nothing is compared.
    """

    name: str
    crops: tuple[Tensor, ...]
    model: str | None = None
    psnr: float | None = None
    crop_psnrs: tuple[float, ...] = ()

    @property
    def title(self) -> str:
        """Caption below the crops of this column."""
        return self.name if self.model in (None, self.name) else f"{self.name} ({self.model})"


@dataclass(frozen=True)
class Comparison:
    """Crops of the results of several models for one picture.

    Attributes:
        scale: Output pixels per input pixel.
        windows: Windows of the crops in the file that was compared.
        models: Columns of bicubic and of each model.
        original: Column of the original, if there is one.
        gray: Whether the picture is gray.
    """

    scale: int
    windows: tuple[Window, ...]
    models: tuple[Column, ...]
    original: Column | None
    gray: bool

    def sheet(self) -> Picture:
        """Arrange the crops on a sheet with their PSNR: a row for each window, a column for each model.

        Returns:
            The sheet, in sRGB with 8 bits.
        """
        columns = self.models if self.original is None else (*self.models, self.original)
        rows = range(len(self.windows))
        cells = [self._cell(column, number) for number in rows for column in columns]
        return contact_sheet(cells, len(columns))

    def _cell(self, column: Column, number: int) -> Picture:
        crop = column.crops[number]
        factor = ceil(CELL_PX / crop.shape[-1])
        magnified = crop.repeat_interleave(factor, -2).repeat_interleave(factor, -1)
        score = f"{column.crop_psnrs[number]:.2f} dB" if column.crop_psnrs else ""
        return captioned(Picture(magnified, None, self.gray, Metadata(), "PNG"), (column.title, score))


def compare(
    source: Path,
    models: Sequence[str],
    scale: int = DEFAULT_SCALE,
    *,
    original: Path | None = None,
    shrink: bool = False,
    degradation: DegradationName = "bicubic",
    windows: Sequence[Window] = (),
    count: int = 3,
    device: str = "auto",
    progress: ProgressCallback | None = None,
    show: Callable[[Shown], None] | None = None,
) -> Comparison:
    """Enlarge a picture by bicubic and by each model, and cut crops out of the results.

    The results are those that users get: they are made with the color profile, gray and transparency of the
    picture, in the precision of the device. The results and the original are shown in sRGB with 8 bits, with
    transparent parts on white. PSNR is computed as in ``evaluate``.

    Args:
        source: Path of the picture.
        models: Names or files of models; see ``EnhancementOptions``.
        scale: Output pixels per input pixel.
        original: Path of the picture that the results are compared with, ``scale`` times as large. If its
            sides are not multiples of ``scale``, the remainder at the right and the bottom is cut off.
        shrink: Whether the picture is itself the original. It is then shrunk first, as in ``evaluate``.
        degradation: How the picture is shrunk; see ``evaluate``.
        windows: Windows of the crops in ``source`` (without its remainder if it is shrunk), all of one size.
            The default is the places with the most detail.
        count: Largest number of windows that are chosen.
        device: Name of the device; see ``Upscaler``.
        progress: Function that is called with the low-resolution pixels done and to do, of all models.
        show: Function that is called with each whole picture as soon as it is there: the original, the
            picture to enlarge, then the results. None stays in memory.

    Raises:
        InputError: A file cannot be read or has the wrong size.
        UsageError: A window is not inside the picture, the windows have different sizes, or the options
            contradict each other.
        WeightsError: A model does not exist.
        DeviceError: The device does not exist or does not have enough memory.
    """
    named = read_picture(source)
    if shrink:
        subject = _shrunk(named, scale, original, degradation, source.name)
        named = _cropped(named, scale)
    elif degradation == "bicubic":
        subject = _given(named, scale, original)
    else:
        raise UsageError("only a picture that is shrunk first can be degraded", hint="add --shrink")
    side_px = max(1, min(CROP_PX // subject.zoom, named.height // 3, named.width // 3))
    windows = _checked(windows, named) or most_detailed(as_shown(named).color, side_px, count)
    names = tuple(dict.fromkeys((BASELINE, *models)))
    choosers = [Chooser(EnhancementOptions(model=name, device=device)) for name in names]
    for chooser in choosers:
        chooser.default.upscaler(scale)  # to raise errors before the work
    show = show or (lambda _: None)
    if subject.original is not None:
        show(Shown("original", subject.original))
    show(Shown("input", as_shown(subject.low).color))
    made = []
    for number, (name, chooser) in enumerate(zip(names, choosers, strict=True)):
        enlarger = enlarger_for(subject.low, chooser, scale)
        size = enlarger.size_of(subject.low)
        start_s = time.perf_counter()
        high = enlarger.to_size(subject.low, size, share_of(progress, number, len(names))).picture
        seconds = time.perf_counter() - start_s
        color = as_shown(high).color
        column = replace(_column(name, color, subject, windows), model=enlarger.models.name)
        show(compared(column.title, color, subject.truth, seconds))
        made.append(column)
    return Comparison(scale, tuple(windows), tuple(made), _original(subject, windows), subject.gray)


def sizes_shown(source: Path, models: Sequence[str], scale: int, *, shrink: bool) -> list[tuple[int, int]]:
    """Return the size (height, width) of each picture that ``compare`` shows.

    Raises:
        InputError: The file cannot be read.
    """
    known = probe(source)
    low, high = (known.height, known.width), (scale * known.height, scale * known.width)
    if shrink:
        low, high = (known.height // scale, known.width // scale), low
    return [low, *[high] * (len({BASELINE, *models}) + 1)]


# The pictures to compare


@dataclass(frozen=True)
class _Subject:
    """The picture to enlarge, and the original to compare the results with.

    Attributes:
        low: Picture to enlarge, with 8 bits.
        original: Original as it is shown, (1, 3, scale H, scale W), uint8, or None.
        gray: Whether both are gray.
        scale: Scale of the results.
        zoom: Pixels of a result per pixel of the source file, along each axis.
    """

    low: Picture
    original: Tensor | None
    gray: bool
    scale: int
    zoom: int

    @property
    def truth(self) -> Original | None:
        """The original, as results are compared with it."""
        return None if self.original is None else Original(self.original, self.gray, self.scale)


def _cropped(picture: Picture, scale: int) -> Picture:
    """Cut off the remainder that does not make a whole low-resolution pixel."""
    alpha = None if picture.alpha is None else crop_to_multiple(picture.alpha, scale)
    return replace(picture, color=crop_to_multiple(picture.color, scale), alpha=alpha)


def _shrunk(
    named: Picture, scale: int, original: Path | None, degradation: DegradationName, name: str
) -> _Subject:
    if original is not None:
        raise UsageError("a picture that is shrunk first is the original, and cannot have another one")
    high = _cropped(named, scale)
    if 0 in high.color.shape:
        raise InputError(f"a picture of {named.height}x{named.width} pixels cannot be shrunk by {scale}")
    color = low_resolution(high.color, scale, degradation, name)
    alpha = None if high.alpha is None else downscale(high.alpha, scale)
    low = replace(named, color=color, alpha=alpha)
    return _Subject(low, as_shown(high).color, named.gray, scale, zoom=1)


def _given(named: Picture, scale: int, original: Path | None) -> _Subject:
    if original is None:
        return _Subject(named, None, named.gray, scale, zoom=scale)
    high = as_shown(read_picture(original))
    color = crop_to_multiple(high.color, scale)
    if color.shape[-2:] != (scale * named.height, scale * named.width):
        raise InputError(
            f"the original has {high.height}x{high.width} pixels, "
            f"not {scale} times the {named.height}x{named.width} of the picture"
        )
    return _Subject(named, color, named.gray and high.gray, scale, zoom=scale)


def _checked(windows: Sequence[Window], named: Picture) -> Sequence[Window]:
    for window in windows:
        if not window.is_inside(named.height, named.width):
            raise UsageError(f"the crop {window} is not inside {named.height}x{named.width} pixels")
    if len({(window.height, window.width) for window in windows}) > 1:
        raise UsageError("all crops of a sheet must have the same size")
    return windows


# The columns of the sheet


def _column(name: str, high: Tensor, subject: _Subject, windows: Sequence[Window]) -> Column:
    crops = _crops(high, subject, windows)
    if subject.original is None:
        return Column(name, crops)
    whole, original = (luma(picture, gray=subject.gray) for picture in (high, subject.original))
    borderless, result = (crop_border(plane, subject.scale) for plane in (original, whole))
    places = [window.enlarged(subject.zoom) for window in windows]
    scores = tuple(psnr(place.cut(original), place.cut(whole)) for place in places)
    return Column(name, crops, psnr=psnr(borderless, result), crop_psnrs=scores)


def _original(subject: _Subject, windows: Sequence[Window]) -> Column | None:
    original = subject.original
    return None if original is None else Column("original", _crops(original, subject, windows))


def _crops(high: Tensor, subject: _Subject, windows: Sequence[Window]) -> tuple[Tensor, ...]:
    """Return copies of the crops, so that the whole result need not stay in memory."""
    return tuple(window.enlarged(subject.zoom).cut(high).clone() for window in windows)
