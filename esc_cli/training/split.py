"""Split the pictures into those to train on and those to hold out."""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

from esc_cli.errors import InputError
from esc_cli.media.probe import find_pictures

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
    with manifest.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines)
        if not {"file", "source_repo", "original_path"} <= set(rows.fieldnames or ()):
            return {}  # somebody else's manifest
        return {row["file"]: f"{row['source_repo']}:{row['original_path']}" for row in rows}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
