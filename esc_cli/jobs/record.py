"""Keep a small record of each result, from which a later run knows whether the result is up to date.

Each result has one record file in ``.esc-upscale/``, a hidden folder beside the results. The record is
written when the result is complete except for its name. If the run is killed at any moment, the result either
does not exist or exists with its record. Since each result has its own record, runs that share a folder never
wait for each other.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from esc_cli.errors import InputError
from esc_cli.storage.whole_files import (
    ORDINARY_MODE,
    file_sha256,
    make_folder,
    mode_of,
    output_error,
    set_modified,
    write_whole,
)

RECORDS_FOLDER = ".esc-upscale"

VERSION = 1
"""Version of the records.

It increases when the records change, or when the same settings make a different result from the same input.
"""

_LONGEST_NAME_BYTES = 200
"""Longest name of a result that names its record, too: file systems allow 255 bytes with what is added."""

_ALLOWED_DAMAGE = ("refuse", "auto", "keep")
"""The values of the option for damaged inputs. Each of them allows what those before it allow."""

Recipe = Mapping[str, Any]
"""Everything that a result depends on except the bytes of the input: model, size, format and so on.

It is a JSON object.
"""


@dataclass(frozen=True)
class Stamp:
    """The identity of a file. Size and time are compared first, and the digest only if they leave a doubt."""

    size_bytes: int
    modified_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "Stamp":
        """Read a file and return its stamp.

        Raises:
            OSError: The file cannot be read.
        """
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns, file_sha256(path))

    @classmethod
    def of_content(cls, content: bytes, status: os.stat_result) -> "Stamp":
        """Return the stamp of a file whose content is in memory."""
        return cls(status.st_size, status.st_mtime_ns, hashlib.sha256(content).hexdigest())

    def matches(self, path: Path) -> bool:
        """Return whether a file is unchanged. The file is read only if its time alone differs."""
        try:
            status = path.stat()
            if status.st_size != self.size_bytes:
                return False
            return status.st_mtime_ns == self.modified_ns or Stamp.of(path).sha256 == self.sha256
        except OSError:
            return False


@dataclass(frozen=True)
class Account:
    """Facts about the making of a result, for people. No later run depends on them.

    Attributes:
        model: The model, if one was chosen for the result.
        seconds: Time that the work took; None if it is not known.
        notes: Sentences about what could not be kept.
        chosen: What ``auto`` chose on this machine, as a JSON object: precision, attention and the like. A
            result stays up to date if another choice is made later.
    """

    model: str | None = None
    seconds: float | None = None
    notes: tuple[str, ...] = ()
    chosen: Mapping[str, Any] = field(default_factory=dict)


def is_up_to_date(source: Path, target: Path, recipe: Recipe) -> bool:
    """Return whether a result was made from this input's bytes by this recipe and was not changed since.

    A result that was made although less damage was allowed would be the same now.
    """
    found = _read(target)
    if found is None or found.version != VERSION or not makes_the_same(found.recipe, recipe):
        return False
    return found.result.matches(target) and found.source.matches(source)


def makes_the_same(made: Recipe, asked: Recipe) -> bool:
    """Return whether a result that was made by one recipe is also that of another."""
    if made.get("damaged") not in _ALLOWED_DAMAGE:
        return made == asked
    allowed = _ALLOWED_DAMAGE[: _ALLOWED_DAMAGE.index(asked["damaged"]) + 1]
    return made["damaged"] in allowed and {**made, "damaged": asked["damaged"]} == asked


def size_and_time(path: Path) -> tuple[int, int] | None:
    """Return the size and modification time of a file, which identify it, or None if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def made_from(path: Path) -> tuple[int, int] | None:
    """Return the size and modification time of the input that a result was made from.

    The value is None if the file is not a result, or was changed since it was made.
    """
    found = _read_unchanged(path)
    return None if found is None else (found.source.size_bytes, found.source.modified_ns)


def is_preview(result: Path) -> bool:
    """Return whether the record of a result says that it is the preview of a picture or a clip."""
    found = _read_unchanged(result)
    if found is None:
        return False
    return "preview" in found.recipe or found.recipe.get("clip", {}).get("preview", "None") != "None"


def account_of(result: Path) -> Account | None:
    """Return what is told about the making of a result; None if it has no record, or was changed since."""
    found = _read_unchanged(result)
    return None if found is None else found.account


def _read_unchanged(result: Path) -> "_Record | None":
    """Return the record of a result if its size and time are those of the record."""
    found = _read(result)
    if found is None or size_and_time(result) != (found.result.size_bytes, found.result.modified_ns):
        return None
    return found


@dataclass(frozen=True)
class _Record:
    """The content of a record."""

    version: int
    recipe: Recipe
    result: Stamp
    source: Stamp
    account: Account


def _read(target: Path) -> _Record | None:
    """Return the record of a result, or None if it does not exist or is invalid."""
    try:
        record = json.loads(record_path(target).read_bytes())
        stamps = Stamp(**record["output"]), Stamp(**record["input"])
        told = record.get("model"), record.get("seconds"), tuple(record.get("notes", ()))
        account = Account(*told, record.get("chosen", {}))
        return _Record(record["version"], record["recipe"], *stamps, account)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def write_record(
    target: Path,
    source: Stamp,
    result: Stamp,
    recipe: Recipe,
    account: Account,
    mode: int = ORDINARY_MODE,
) -> None:
    """Write the record of a result: its input, its recipe, and what is told about it.

    Args:
        target: The file of the result.
        source: The identity of the input.
        result: The identity of the result.
        recipe: The recipe of the result.
        account: What is told about its making.
        mode: The permission bits of the record.

    Raises:
        OutputError: The record cannot be written.
    """
    record = {
        "version": VERSION,
        "input": asdict(source),
        "output": asdict(result),
        "recipe": recipe,
        **asdict(account),
    }
    path = record_path(target)
    make_folder(path.parent)
    write_whole(path, json.dumps(record).encode("ascii"), mode=mode)


def replaced(target: Path) -> Recipe | None:
    """Return the recipe of a result that replaced its input; None if it did not, or was changed since."""
    found = _read(target)
    if found is None or "in_place" not in found.recipe or not found.result.matches(target):
        return None
    looks_alike = found.source.size_bytes == found.result.size_bytes
    if looks_alike and not _has_digest(target, found.result.sha256):
        return None  # the run was killed before the result got the name of the input
    return found.recipe if found.version == VERSION else {"in_place": found.recipe["in_place"]}


def _has_digest(path: Path, sha256: str) -> bool:
    try:
        return file_sha256(path) == sha256
    except OSError:
        return False


def redate(target: Path, modified_ns: int) -> None:
    """Set the time of last modification of a result that is up to date, and note it in its record.

    Raises:
        OutputError: The time cannot be set, or the record cannot be written.
    """
    path = record_path(target)
    try:
        set_modified(target, modified_ns)
        record = json.loads(path.read_bytes())
        record["output"]["modified_ns"] = target.stat().st_mtime_ns  # a disk may round it
    except OSError as error:
        raise output_error(f"cannot set the date of {str(target)!r}", error) from error
    write_whole(path, json.dumps(record).encode("ascii"), mode=mode_of([path]))


def record_path(target: Path) -> Path:
    """Return the path of a result's record."""
    return target.parent / RECORDS_FOLDER / f"{short_name(target)}.json"


def short_name(target: Path) -> str:
    """Return the name of a result for files that belong to it, or its digest if the name is very long."""
    name = os.fsencode(target.name)
    return target.name if len(name) <= _LONGEST_NAME_BYTES else hashlib.sha256(name).hexdigest()


def status_of(source: Path) -> os.stat_result:
    """Return the status of an input.

    Raises:
        InputError: The input does not exist, or its folder cannot be entered.
    """
    try:
        return source.stat()
    except FileNotFoundError as error:
        raise InputError(f"{source}: there is no such file") from error
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror}") from error


def stamp_unchanged(source: Path, before: os.stat_result) -> Stamp:
    """Return the stamp of an input that has just been read.

    Args:
        source: The input.
        before: The status of the input before it was read.

    Raises:
        InputError: The input was changed or removed in the meantime.
    """
    try:
        stamp = Stamp.of(source)
    except OSError as error:
        raise InputError(f"{source} disappeared while it was being read") from error
    if (stamp.size_bytes, stamp.modified_ns) != (before.st_size, before.st_mtime_ns):
        raise InputError(f"{source} changed while it was being read")
    return stamp
