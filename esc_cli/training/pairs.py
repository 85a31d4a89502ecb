"""Training pictures in memory: small ones, large ones, and what a teacher made of the small ones."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from esc_cli.engine.pixels import from_unit, to_unit
from esc_cli.errors import InputError
from esc_cli.evaluation.degradation.bicubic import crop_to_multiple, downscale
from esc_cli.evaluation.degradation.filters import sharpen
from esc_cli.media.probe import find_pictures
from esc_cli.media.read import read_picture
from esc_cli.training.stack import PictureStack, Place


@dataclass(frozen=True)
class Pair:
    """One picture twice: ``low`` (3, H, W) and ``high`` (3, sH, sW), uint8.

    Attributes:
        low: The small picture.
        high: The large one.
        lesson: What a teacher made of ``low``, like ``high``; None where there is no such picture.
    """

    low: Tensor
    high: Tensor
    lesson: Tensor | None = None

    @property
    def scale(self) -> int:
        """Pixels of ``high`` per pixel of ``low``."""
        return self.high.shape[-1] // self.low.shape[-1]

    def each(self, function: Callable[[Tensor], Tensor]) -> "Pair":
        """Apply a function to every picture there is."""
        lesson = None if self.lesson is None else function(self.lesson)
        return Pair(function(self.low), function(self.high), lesson)


@dataclass(frozen=True)
class Files:
    """The files of one pair.

    Attributes:
        high: The large picture.
        low: The small one; None: it is made from ``high`` by the papers' bicubic.
        lesson: What a teacher made of the small one, if there is one.
    """

    high: Path
    low: Path | None = None
    lesson: Path | None = None


def find_files(
    paths: Iterable[Path], pictures: Path, *, low: Path | None = None, lessons: Path | None = None
) -> list[Files]:
    """Find what belongs to each picture in folders beside it: files of the same name, of any format.

    Args:
        paths: Large pictures below ``pictures``.
        pictures: Their folder.
        low: Folder of the small ones.
        lessons: Folder of what a teacher made of those.

    Raises:
        InputError: A folder is not there or lacks one of the pictures.
    """
    small, taught = (None if folder is None else _by_name(folder) for folder in (low, lessons))
    return [
        Files(
            path,
            None if small is None else _named_like(path, pictures, small),
            None if taught is None else _named_like(path, pictures, taught),
        )
        for path in paths
    ]


def _by_name(folder: Path) -> dict[Path, Path]:
    return {path.relative_to(folder).with_suffix(""): path for path in find_pictures(folder)}


def _named_like(path: Path, pictures: Path, others: dict[Path, Path]) -> Path:
    name = path.relative_to(pictures).with_suffix("")
    if name not in others:
        folder = next(iter(others.values())).parent
        raise InputError(f"no picture beside those in {str(folder)!r} is named like {str(path)!r}")
    return others[name]


def load_pair(files: Files, scale: int, *, sharpened: bool = False) -> Pair | None:
    """Read a picture and its low-resolution counterpart, or make that from the whole, rounded to 8 bits.

    Args:
        files: Of the pair.
        scale: Pixels out per pixel in.
        sharpened: Sharpen the large picture first.

    Returns:
        The pair; None if the picture is smaller than the scale.

    Raises:
        InputError: A file cannot be read, or one does not have the size that belongs to the others.
    """
    high = crop_to_multiple(read_picture(files.high).color, scale)  # (1, 3, H, W)
    if 0 in high.shape:
        return None
    high = from_unit(sharpen(to_unit(high)), high.dtype) if sharpened else high
    small = (high.shape[-2] // scale, high.shape[-1] // scale)
    low = downscale(high, scale) if files.low is None else _read_sized(files.low, small)
    lesson = None if files.lesson is None else _read_sized(files.lesson, high.shape[-2:])[0]
    return Pair(low[0], high[0], lesson)


def _read_sized(path: Path, size: Sequence[int]) -> Tensor:
    """Read a picture that has to have a size, (height, width); as (1, 3, H, W)."""
    picture = read_picture(path).color
    if tuple(picture.shape[-2:]) != tuple(size):
        wanted, found = (f"{width}x{height}" for height, width in (size, picture.shape[-2:]))
        raise InputError(f"{str(path)!r} has {found} pixels; {wanted} belong to the picture beside it")
    return picture


class Pairs:
    """Many pairs of one scale, all with a lesson or none, in stacks on a device.

    Args:
        pairs: At least one; emptied.
        device: Where they are kept.

    Attributes:
        views: The pairs, as views of the stacks.
        scale: Theirs.
    """

    def __init__(self, pairs: list[Pair], device: torch.device) -> None:
        self.scale = pairs[0].scale
        lows, highs = [pair.low for pair in pairs], [pair.high for pair in pairs]
        lessons = [pair.lesson for pair in pairs if pair.lesson is not None]
        pairs.clear()
        self._low, self._high = PictureStack(lows, device), PictureStack(highs, device)
        self._lesson = PictureStack(lessons, device) if lessons else None
        taught = self._lesson.pictures if self._lesson else (None,) * len(self._low.pictures)
        self.views = tuple(map(Pair, self._low.pictures, self._high.pictures, taught))

    def cut(self, places: Sequence[Place], patch_px: int) -> Pair:
        """Cut patches out at places of the low pictures: low (N, 3, p, p), the others (N, 3, sp, sp)."""
        larger, larger_px = [place.scaled(self.scale) for place in places], self.scale * patch_px
        lesson = self._lesson.cut(larger, larger_px) if self._lesson else None
        return Pair(self._low.cut(places, patch_px), self._high.cut(larger, larger_px), lesson)


def load_pairs(
    files: Iterable[Files], scale: int, smallest_px: int, device: torch.device, *, sharpened: bool = False
) -> Pairs:
    """Read all pictures of at least ``smallest_px`` low pixels a side onto the device.

    As many are read at a time as torch has threads: decoders let other threads of Python work.

    Raises:
        InputError: A file cannot be read, or none is that large.
    """
    with ThreadPoolExecutor(torch.get_num_threads()) as readers:
        pairs = readers.map(partial(load_pair, scale=scale, sharpened=sharpened), files)
        kept = [pair for pair in pairs if pair is not None and min(pair.low.shape[-2:]) >= smallest_px]
    if not kept:
        raise InputError(f"no picture is large enough for patches of {smallest_px * scale} pixels")
    return Pairs(kept, device)


def centre_crop(pair: Pair, largest_px: int) -> Pair:
    """Cut the middle of a pair, at most ``largest_px`` low pixels a side."""
    height, width = (min(side, largest_px) for side in pair.low.shape[-2:])
    top, left = (pair.low.shape[-2] - height) // 2, (pair.low.shape[-1] - width) // 2
    return crop(pair, top, left, height, width)


def crop(pair: Pair, top: int, left: int, height: int, width: int) -> Pair:
    """Cut out what lies at a place of ``low``, in low pixels."""

    def part(picture: Tensor) -> Tensor:
        scale = picture.shape[-1] // pair.low.shape[-1]
        rows = slice(scale * top, scale * (top + height))
        return picture[:, rows, scale * left : scale * (left + width)]

    return pair.each(part)
