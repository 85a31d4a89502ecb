"""The pictures of a run: those to train on and those to hold out, and pairs of pictures in memory."""

import csv
import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from esc_cli.engine.pixels import from_unit, to_unit
from esc_cli.errors import InputError
from esc_cli.evaluation.degradation.artifacts import sharpen
from esc_cli.evaluation.degradation.bicubic import crop_to_multiple, downscale
from esc_cli.media.probe import find_pictures
from esc_cli.media.read import read_picture
from esc_cli.training.stack import PictureStack, Place

MANIFEST = "manifest.csv"
"""File that lists the source picture of each file, in the columns file, source_repo and original_path."""


@dataclass(frozen=True)
class Split:
    """Files to train on and files to validate on. No source picture is in both."""

    training: tuple[Path, ...]
    validation: tuple[Path, ...]


def split_by_source(folder: Path, held_out: int) -> Split:
    """Hold out all files of ``held_out`` source pictures, chosen by a hash of the source's name.

    The choice does not depend on the run's seed: a run that starts from the weights of another run must hold
    out the same pictures.

    Raises:
        InputError: The folder has too few pictures to hold out that many.
    """
    files = find_pictures(folder)
    sources = _sources(folder)
    source_of = {file: sources.get(file.relative_to(folder).as_posix(), file.stem) for file in files}
    # The prefix is the seed of the first runs, so that the pictures they held out stay held out.
    ranked = sorted(set(source_of.values()), key=lambda source: _digest(f"0:{source}"))
    if len(ranked) <= held_out:
        raise InputError(f"{str(folder)!r} has {len(ranked)} pictures, too few to hold out {held_out}")
    chosen = set(ranked[:held_out])
    return Split(
        training=tuple(file for file in files if source_of[file] not in chosen),
        validation=tuple(file for file in files if source_of[file] in chosen),
    )


def _sources(folder: Path) -> dict[str, str]:
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return {}
    # A manifest in another encoding is somebody else's, too.
    with manifest.open(encoding="utf-8", errors="replace", newline="") as lines:
        rows = csv.DictReader(lines)
        if not {"file", "source_repo", "original_path"} <= set(rows.fieldnames or ()):
            return {}  # somebody else's manifest
        return {row["file"]: f"{row['source_repo']}:{row['original_path']}" for row in rows}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Pair:
    """A picture in low and in high resolution, uint8.

    Attributes:
        low: The low-resolution picture, (3, H, W).
        high: The high-resolution picture, (3, sH, sW).
        lesson: The teacher's result for ``low``, with the shape of ``high``; None if there is none.
    """

    low: Tensor
    high: Tensor
    lesson: Tensor | None = None

    @property
    def scale(self) -> int:
        """Pixels of ``high`` per pixel of ``low``."""
        return self.high.shape[-1] // self.low.shape[-1]

    def each(self, function: Callable[[Tensor], Tensor]) -> "Pair":
        """Return a pair with a function applied to each picture."""
        lesson = None if self.lesson is None else function(self.lesson)
        return Pair(function(self.low), function(self.high), lesson)


@dataclass(frozen=True)
class Files:
    """The files of one pair.

    Attributes:
        high: The high-resolution picture.
        low: The low-resolution picture. None means that it is made from ``high`` by the papers' bicubic.
        lesson: The teacher's result for the low-resolution picture; None if there is none.
    """

    high: Path
    low: Path | None = None
    lesson: Path | None = None


def find_files(
    paths: Iterable[Path], pictures: Path, *, low: Path | None = None, lessons: Path | None = None
) -> list[Files]:
    """Find the low-resolution picture and the teacher's result of each picture, by name, in any format.

    Args:
        paths: High-resolution pictures below ``pictures``.
        pictures: Folder of the high-resolution pictures.
        low: Folder of the low-resolution pictures.
        lessons: Folder of the teacher's results.

    Raises:
        InputError: A folder does not exist or lacks one of the pictures.
    """
    small, taught = ({} if folder is None else _by_name(folder) for folder in (low, lessons))
    return [
        Files(
            path,
            None if low is None else _named_like(path, pictures, small, low),
            None if lessons is None else _named_like(path, pictures, taught, lessons),
        )
        for path in paths
    ]


def _by_name(folder: Path) -> dict[Path, Path]:
    return {path.relative_to(folder).with_suffix(""): path for path in find_pictures(folder)}


def _named_like(path: Path, pictures: Path, others: dict[Path, Path], folder: Path) -> Path:
    name = path.relative_to(pictures).with_suffix("")
    if name not in others:
        raise InputError(f"no picture in {str(folder)!r} has the same name as {str(path)!r}")
    return others[name]


def load_pair(files: Files, scale: int, *, sharpened: bool = False) -> Pair | None:
    """Read the pictures of a pair.

    If there is no file for the low-resolution picture, it is made from the whole high-resolution picture and
    rounded to 8 bits.

    Args:
        files: Files of the pair.
        scale: Output pixels per input pixel.
        sharpened: Whether to sharpen the high-resolution picture first.

    Returns:
        The pair; None if the picture is smaller than the scale.

    Raises:
        InputError: A file cannot be read, or its size does not match the high-resolution picture.
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
    """Read a picture as (1, 3, H, W) and check its size, (height, width)."""
    picture = read_picture(path).color
    if tuple(picture.shape[-2:]) != tuple(size):
        wanted, found = (f"{width}x{height}" for height, width in (size, picture.shape[-2:]))
        raise InputError(f"{str(path)!r} must have {wanted} pixels, not {found}, to match its original")
    return picture


class Pairs:
    """Pairs of one scale, stacked on a device. Either all of them have a lesson or none has.

    Args:
        pairs: At least one pair. The list is emptied.
        device: Device of the stacks.

    Attributes:
        views: The pairs, as views of the stacks.
        scale: Scale of the pairs.
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
        """Cut patches at places of the low-resolution pictures: low (N, 3, p, p), others (N, 3, sp, sp)."""
        larger, larger_px = [place.scaled(self.scale) for place in places], self.scale * patch_px
        lesson = self._lesson.cut(larger, larger_px) if self._lesson else None
        return Pair(self._low.cut(places, patch_px), self._high.cut(larger, larger_px), lesson)


def load_pairs(
    files: Iterable[Files], scale: int, smallest_px: int, device: torch.device, *, sharpened: bool = False
) -> Pairs:
    """Load all pictures with sides of at least ``smallest_px`` low-resolution pixels onto a device.

    The number of pictures read at the same time is torch's number of threads: decoders release the GIL.

    Raises:
        InputError: A file cannot be read, or no picture is large enough.
    """
    with ThreadPoolExecutor(torch.get_num_threads()) as readers:
        pairs = readers.map(partial(load_pair, scale=scale, sharpened=sharpened), files)
        kept = [pair for pair in pairs if pair is not None and min(pair.low.shape[-2:]) >= smallest_px]
    if not kept:
        raise InputError(f"no picture is large enough for patches of {smallest_px * scale} pixels")
    return Pairs(kept, device)


def centre_crop(pair: Pair, largest_px: int) -> Pair:
    """Cut out the middle of a pair, with sides of at most ``largest_px`` low-resolution pixels."""
    height, width = (min(side, largest_px) for side in pair.low.shape[-2:])
    top, left = (pair.low.shape[-2] - height) // 2, (pair.low.shape[-1] - width) // 2
    return crop(pair, top, left, height, width)


def crop(pair: Pair, top: int, left: int, height: int, width: int) -> Pair:
    """Cut a rectangle out of a pair. Its position and size are in low-resolution pixels."""

    def part(picture: Tensor) -> Tensor:
        scale = picture.shape[-1] // pair.low.shape[-1]
        rows = slice(scale * top, scale * (top + height))
        return picture[:, rows, scale * left : scale * (left + width)]

    return pair.each(part)
