"""Training pictures in memory, the pictures held out, and the patches of each step."""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from esc_cli.engine.pixels import to_unit
from esc_cli.errors import InputError
from esc_cli.evaluation.datasets import find_pictures
from esc_cli.evaluation.degradation import crop_to_multiple, downscale
from esc_cli.media.read import read_picture

MANIFEST = "manifest.csv"
"""Says what each file of a folder was cut from, in the columns file, source_repo and original_path."""


@dataclass(frozen=True)
class Pair:
    """One picture twice: ``low`` (3, H, W) and ``high`` (3, sH, sW), uint8."""

    low: Tensor
    high: Tensor

    def to(self, device: torch.device) -> "Pair":
        """Move both to a device."""
        return Pair(self.low.to(device), self.high.to(device))


@dataclass(frozen=True)
class Split:
    """Files to train on and files to validate on; no source picture is in both."""

    training: tuple[Path, ...]
    validation: tuple[Path, ...]


def split_by_source(folder: Path, held_out: int, seed: int) -> Split:
    """Hold out all files of ``held_out`` source pictures, chosen by a hash of the source's name and the seed.

    Raises:
        InputError: The folder has too few pictures for that.
    """
    files = find_pictures(folder)
    sources = _sources(folder)
    source_of = {file: sources.get(file.relative_to(folder).as_posix(), file.stem) for file in files}
    ranked = sorted(set(source_of.values()), key=lambda source: _digest(f"{seed}:{source}"))
    if len(ranked) <= held_out:
        raise InputError(f"{str(folder)!r} has {len(ranked)} pictures; {held_out} are to be held out")
    chosen = set(ranked[:held_out])
    return Split(
        training=tuple(file for file in files if source_of[file] not in chosen),
        validation=tuple(file for file in files if source_of[file] in chosen),
    )


def load_pair(path: Path, scale: int) -> Pair | None:
    """Read a picture and make its low-resolution counterpart from the whole of it, rounded to 8 bits.

    Returns:
        The pair; None if the picture is smaller than the scale.

    Raises:
        InputError: The file cannot be read.
    """
    high = crop_to_multiple(read_picture(path).color, scale)  # (1, 3, H, W)
    if 0 in high.shape:
        return None
    return Pair(downscale(high, scale)[0], high[0])


def load_pairs(paths: tuple[Path, ...], scale: int, patch_px: int, device: torch.device) -> list[Pair]:
    """Read all pictures that have room for a patch onto the device.

    Raises:
        InputError: A file cannot be read, or none has room for a patch.
    """
    pairs = (load_pair(path, scale) for path in paths)
    kept = [pair.to(device) for pair in pairs if pair is not None and min(pair.low.shape[-2:]) >= patch_px]
    if not kept:
        raise InputError(f"no picture is large enough for patches of {patch_px * scale} pixels")
    return kept


def load_validation_crops(
    paths: tuple[Path, ...], scale: int, largest_px: int, multiple: int, device: torch.device
) -> list[Pair]:
    """Read the middle of each validation picture onto the device; see ``centre_crop``.

    Raises:
        InputError: A file cannot be read, or none is large enough.
    """
    pairs = (load_pair(path, scale) for path in paths)
    crops = [centre_crop(pair, largest_px, multiple).to(device) for pair in pairs if pair is not None]
    if not crops:
        raise InputError(f"no validation picture is as large as {scale}x{scale} pixels")
    return crops


def batch_of_step(
    pairs: list[Pair], step: int, *, seed: int, batch_size: int, patch_px: int
) -> tuple[Tensor, Tensor]:
    """Cut the patches of one step: a function of the seed and the step alone, so that a run can be resumed.

    Returns:
        low (N, 3, p, p) and high (N, 3, sp, sp), float32 in [0, 1], each pair flipped and turned alike.
    """
    random = np.random.default_rng([seed, step])
    patches = [_random_patch(pairs, patch_px, random) for _ in range(batch_size)]
    low, high = zip(*patches, strict=True)
    return to_unit(torch.stack(low)), to_unit(torch.stack(high))


def centre_crop(pair: Pair, largest_px: int, multiple: int) -> Pair:
    """Cut the middle of a pair, at most ``largest_px`` low pixels a side, a multiple where there is room."""
    height, width = (_fitting(side, largest_px, multiple) for side in pair.low.shape[-2:])
    top, left = (pair.low.shape[-2] - height) // 2, (pair.low.shape[-1] - width) // 2
    return _crop(pair, top, left, height, width)


def _fitting(side: int, largest_px: int, multiple: int) -> int:
    side = min(side, largest_px)
    return side - side % multiple if side >= multiple else side


def _random_patch(pairs: list[Pair], patch_px: int, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    pair = pairs[random.integers(len(pairs))]
    height, width = pair.low.shape[-2:]
    top, left = random.integers(height - patch_px + 1), random.integers(width - patch_px + 1)
    patch = _crop(pair, int(top), int(left), patch_px, patch_px)
    flip, turns = bool(random.integers(2)), int(random.integers(4))
    return _turn(patch.low, flip, turns), _turn(patch.high, flip, turns)


def _crop(pair: Pair, top: int, left: int, height: int, width: int) -> Pair:
    scale = pair.high.shape[-1] // pair.low.shape[-1]
    low = pair.low[:, top : top + height, left : left + width]
    rows = slice(scale * top, scale * (top + height))
    columns = slice(scale * left, scale * (left + width))
    return Pair(low, pair.high[:, rows, columns])


def _turn(patch: Tensor, flip: bool, turns: int) -> Tensor:
    turned = patch.rot90(turns, (-2, -1))
    return turned.flip(-1) if flip else turned


def _sources(folder: Path) -> dict[str, str]:
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return {}
    with manifest.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines)
        if not {"file", "source_repo", "original_path"} <= set(rows.fieldnames or ()):
            return {}  # somebody else's manifest
        return {row["file"]: f"{row['source_repo']}:{row['original_path']}" for row in rows}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
