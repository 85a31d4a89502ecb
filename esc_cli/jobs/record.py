"""What a result was made from: a small record beside it, by which a later run knows that it is up to date.

For every result there is one file in ``.esc-upscale/``, a hidden folder among the results. It is written when
the result is complete but for its name, so that after a kill at any moment either the result is not there, or
it is there with its record. As each result has a record of its own, runs that share a folder never wait for
each other.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from esc_cli.errors import InputError
from esc_cli.storage.digests import file_sha256
from esc_cli.storage.whole_files import make_folder, write_whole

RECORDS_FOLDER = ".esc-upscale"

VERSION = 1
"""Of the records, and of what the same settings make of the same input: goes up when either changes."""

_LONGEST_NAME_BYTES = 200

Recipe = Mapping[str, Any]
"""All that a result depends on but the input's bytes: model, size, format and so on, as JSON has it."""


@dataclass(frozen=True)
class Stamp:
    """A file's identity: size and time are compared first, the digest where they leave a doubt."""

    size_bytes: int
    modified_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "Stamp":
        """Stamp a file by reading it.

        Raises:
            OSError: It cannot be read.
        """
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns, file_sha256(path))

    @classmethod
    def of_content(cls, content: bytes, status: os.stat_result) -> "Stamp":
        """Stamp a file whose content is at hand."""
        return cls(status.st_size, status.st_mtime_ns, hashlib.sha256(content).hexdigest())

    def matches(self, path: Path) -> bool:
        """Tell whether a file is still the same; it is read only if its time alone differs."""
        try:
            status = path.stat()
            if status.st_size != self.size_bytes:
                return False
            return status.st_mtime_ns == self.modified_ns or Stamp.of(path).sha256 == self.sha256
        except OSError:
            return False


def is_up_to_date(source: Path, target: Path, recipe: Recipe) -> bool:
    """Tell whether a result was made from this input's bytes by this recipe, and was not changed since."""
    found = _read(target)
    if found is None or (found.version, found.recipe) != (VERSION, recipe):
        return False
    return found.result.matches(target) and found.source.matches(source)


def size_and_time(path: Path) -> tuple[int, int] | None:
    """Give a file's size and time, by which it is known again; None if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def made_from(path: Path) -> tuple[int, int] | None:
    """Give the size and time of what a file was made from; None if it is no result, or was changed since."""
    found = _read(path)
    if found is None or size_and_time(path) != (found.result.size_bytes, found.result.modified_ns):
        return None
    return found.source.size_bytes, found.source.modified_ns


@dataclass(frozen=True)
class _Record:
    """A record that was read."""

    version: int
    recipe: Recipe
    result: Stamp
    source: Stamp


def _read(target: Path) -> _Record | None:
    """Read the record of a result; None if there is none, or it is not of this kind."""
    try:
        record = json.loads(record_path(target).read_bytes())
        stamps = Stamp(**record["output"]), Stamp(**record["input"])
        return _Record(record["version"], record["recipe"], *stamps)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_record(target: Path, source: Stamp, result: Stamp, recipe: Recipe, model: str | None) -> None:
    """Record what a result was made from, and by which model that was chosen for it, if one was.

    Raises:
        OutputError: It cannot be written.
    """
    record = {
        "version": VERSION,
        "input": asdict(source),
        "output": asdict(result),
        "recipe": recipe,
        "model": model,
    }
    path = record_path(target)
    make_folder(path.parent)
    write_whole(path, json.dumps(record).encode("ascii"))


def record_path(target: Path) -> Path:
    """Name the record of a result; one with a very long name goes by the name's digest."""
    name = os.fsencode(target.name)
    stem = target.name if len(name) <= _LONGEST_NAME_BYTES else hashlib.sha256(name).hexdigest()
    return target.parent / RECORDS_FOLDER / f"{stem}.json"


def status_of(source: Path) -> os.stat_result:
    """Ask for an input's status.

    Raises:
        InputError: It is not there, or its folder may not be entered.
    """
    try:
        return source.stat()
    except FileNotFoundError as error:
        raise InputError(f"{source}: there is no such file") from error
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror}") from error


def stamp_unchanged(source: Path, before: os.stat_result) -> Stamp:
    """Stamp an input that has just been read.

    Args:
        source: The input.
        before: Its status before it was read.

    Raises:
        InputError: It was changed or removed in the meantime.
    """
    try:
        stamp = Stamp.of(source)
    except OSError as error:
        raise InputError(f"{source} vanished while it was read") from error
    if (stamp.size_bytes, stamp.modified_ns) != (before.st_size, before.st_mtime_ns):
        raise InputError(f"{source} changed while it was read")
    return stamp
