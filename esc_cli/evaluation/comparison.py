"""What several models make of one picture: crops side by side, and how near they are to the original."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

from torch import Tensor

from esc_cli.engine.upscaler import DEFAULT_SCALE, ProgressCallback
from esc_cli.enhancement.choice import Chooser
from esc_cli.enhancement.enlarge import Enlarger, share_of
from esc_cli.enhancement.options import EnhancementOptions
from esc_cli.enhancement.size import Geometry
from esc_cli.enhancement.traces import traces_of
from esc_cli.errors import InputError, UsageError
from esc_cli.evaluation.degradation.bicubic import crop_to_multiple, downscale
from esc_cli.evaluation.evaluate import DegradationName, low_resolution
from esc_cli.evaluation.metrics import crop_border, luma, psnr
from esc_cli.evaluation.windows import Window, most_detailed
from esc_cli.media.color.conversion import to_srgb
from esc_cli.media.contact_sheet import captioned, contact_sheet
from esc_cli.media.picture import Metadata, Picture
from esc_cli.media.pixels.alpha import composite
from esc_cli.media.read import read_picture
from esc_cli.media.write import WHITE

BASELINE = "bicubic"
"""What every model is compared with."""

CROP_PX = 160
"""Longest side of the crops that nobody chose, in the result; at most a third of the picture's."""

CELL_PX = 240
"""Crops narrower than this are magnified: captions take room, and eyes see no single pixels."""


@dataclass(frozen=True)
class Column:
    """What a model makes of the picture, or the original.

    Attributes:
        name: Of the model, as it was asked for, or ``original``.
        model: What ran: another name than that only for ``auto``; None for the original.
        crops: Each (1, 3, h, w), uint8.
        psnr: Of the whole picture without a border of ``scale`` pixels, dB; None where nothing is compared.
        crop_psnrs: Of each crop; empty where nothing is compared.
    """

    name: str
    crops: tuple[Tensor, ...]
    model: str | None = None
    psnr: float | None = None
    crop_psnrs: tuple[float, ...] = ()

    @property
    def title(self) -> str:
        """What to write below its crops."""
        return self.name if self.model in (None, self.name) else f"{self.name} ({self.model})"


@dataclass(frozen=True)
class Comparison:
    """Crops of one picture, as several models make them.

    Attributes:
        scale: Pixels out per pixel in.
        windows: Where the crops are in the file that was compared.
        models: Bicubic, and each model.
        original: If there is one.
        gray: Whether the picture is gray.
    """

    scale: int
    windows: tuple[Window, ...]
    models: tuple[Column, ...]
    original: Column | None
    gray: bool

    def sheet(self) -> Picture:
        """Put the crops on one sheet, with their PSNR: a row for each window, a column for each model.

        Returns:
            In sRGB, of 8 bits.
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
) -> Comparison:
    """Enlarge a picture by bicubic and by each model, and cut crops out of the results.

    The results are what users get: enlarged with the picture's own profile, gray and transparency, in the
    precision of the device. They are shown with 8 bits in sRGB, transparent parts on white, and so is the
    original. PSNR is computed as ``evaluate`` does.

    Args:
        source: The picture.
        models: As of ``EnhancementOptions``.
        scale: Pixels out per pixel in.
        original: What the results should be, ``scale`` times as large (a remainder at the right and the
            bottom, which no whole pixel was made of, is cut off).
        shrink: The picture is itself the original, and is first shrunk as ``evaluate`` does.
        degradation: How it is shrunk, as for ``evaluate``.
        windows: Where the crops are in ``source``, without its remainder if it is shrunk, all of one size; by
            default where there is most detail.
        count: The most windows that are chosen.
        device: As for ``Upscaler``.
        progress: Takes the low-resolution pixels done and to do, of all models together.

    Raises:
        InputError: A file cannot be read, or is of the wrong size.
        UsageError: The windows are not in the picture or not of one size, or the options contradict each
            other.
        WeightsError: There is no such model.
        DeviceError: There is no such device, or not enough memory.
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
    windows = _checked(windows, named) or most_detailed(_shown(named).color, side_px, count)
    names = tuple(dict.fromkeys((BASELINE, *models)))
    choosers = [Chooser(EnhancementOptions(model=name, device=device)) for name in names]
    for chooser in choosers:
        chooser.default.upscaler(scale)  # to fail before the work
    made = []
    for number, (name, chooser) in enumerate(zip(names, choosers, strict=True)):
        choice = chooser.choose(scale, lambda: [traces_of(subject.low)])
        enlarger = Enlarger(chooser.models(choice), Geometry.of_scale(scale))
        size = scale * subject.low.height, scale * subject.low.width
        high = enlarger.to_size(subject.low, size, share_of(progress, number, len(names))).picture
        column = _column(name, _shown(high).color, subject, windows)
        made.append(replace(column, model=enlarger.models.name))
    return Comparison(scale, tuple(windows), tuple(made), _original(subject, windows), subject.gray)


# What is compared


@dataclass(frozen=True)
class _Subject:
    """What is enlarged, and what it should become.

    Attributes:
        low: Of 8 bits.
        original: (1, 3, scale H, scale W), uint8, as it is shown, or None.
        gray: Whether both are gray.
        scale: Of the results.
        zoom: Pixels of a result for one of the file that was named, along each axis.
    """

    low: Picture
    original: Tensor | None
    gray: bool
    scale: int
    zoom: int


def _shown(picture: Picture) -> Picture:
    """Give a picture as it is seen: opaque, in sRGB."""
    picture = to_srgb(picture)
    if picture.alpha is None:
        return picture
    return replace(picture, color=composite(picture.color, picture.alpha, WHITE), alpha=None)


def _cropped(picture: Picture, scale: int) -> Picture:
    """Cut off what no whole pixel of low resolution is made of."""
    alpha = None if picture.alpha is None else crop_to_multiple(picture.alpha, scale)
    return replace(picture, color=crop_to_multiple(picture.color, scale), alpha=alpha)


def _shrunk(
    named: Picture, scale: int, original: Path | None, degradation: DegradationName, name: str
) -> _Subject:
    if original is not None:
        raise UsageError("a picture that is shrunk first is the original itself: there can be no other")
    high = _cropped(named, scale)
    if 0 in high.color.shape:
        raise InputError(f"a picture of {named.height}x{named.width} pixels cannot be shrunk {scale} times")
    color = low_resolution(high.color, scale, degradation, name)
    alpha = None if high.alpha is None else downscale(high.alpha, scale)
    low = replace(named, color=color, alpha=alpha)
    return _Subject(low, _shown(high).color, named.gray, scale, zoom=1)


def _given(named: Picture, scale: int, original: Path | None) -> _Subject:
    if original is None:
        return _Subject(named, None, named.gray, scale, zoom=scale)
    high = _shown(read_picture(original))
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
        raise UsageError("the crops of one sheet must be of one size")
    return windows


# What is shown


def _column(name: str, high: Tensor, subject: _Subject, windows: Sequence[Window]) -> Column:
    crops = _crops(high, subject, windows)
    if subject.original is None:
        return Column(name, crops)
    whole, original = (luma(picture, gray=subject.gray) for picture in (high, subject.original))
    border_free = [crop_border(plane, subject.scale) for plane in (original, whole)]
    places = [window.enlarged(subject.zoom) for window in windows]
    scores = tuple(psnr(place.cut(original), place.cut(whole)) for place in places)
    return Column(name, crops, psnr=psnr(*border_free), crop_psnrs=scores)


def _original(subject: _Subject, windows: Sequence[Window]) -> Column | None:
    original = subject.original
    return None if original is None else Column("original", _crops(original, subject, windows))


def _crops(high: Tensor, subject: _Subject, windows: Sequence[Window]) -> tuple[Tensor, ...]:
    """Cut copies, so that a result need not be kept."""
    return tuple(window.enlarged(subject.zoom).cut(high).clone() for window in windows)
