"""Read the names of inputs from a list, as GNU tar and rsync do with ``--files-from``."""

import codecs
import os
import sys
from pathlib import Path

from esc_cli.errors import InputError, UsageError
from esc_cli.jobs.streams import STDIN
from esc_cli.media.formats.registry import sniff

_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HEAD_BYTES = 80


def names_in_list(place: str | None) -> tuple[str, ...]:
    """Return the names in a list, each once.

    Args:
        place: The file of the list, or ``-`` for standard input. None means that there is no list.

    Returns:
        The names as they are written: a name in a list is never a pattern. Relative names begin in the
        current folder.

    Raises:
        InputError: The list cannot be read.
        UsageError: The list is a picture, whatever its name is.
    """
    if place is None:
        return ()
    content = _read(place)
    names = split_list(content, place)
    if sniff(content[:_HEAD_BYTES]) is not None and not os.path.lexists(names[0]):  # GIF89a may be a name
        raise UsageError(
            f"{place!r} is a picture, not a list", hint="name it without --files-from to enlarge it"
        )
    return tuple(dict.fromkeys(map(_as_file, names)))


def split_list(content: bytes, place: str) -> list[str]:
    """Return the names in the text of a list.

    Names are separated by NUL if the list has one, and by ends of lines otherwise. Empty names are left out.
    Names are in the encoding of the file system, or in UTF-16 if the list begins with the mark of that
    encoding, which PowerShell writes.

    Raises:
        InputError: The list begins with the mark of UTF-16 and is not valid.
    """
    if content.startswith(_UTF_16_MARKS):
        try:
            text = content.decode("utf-16")
        except UnicodeDecodeError as error:
            raise InputError(f"the list {place!r} is not valid UTF-16") from error
    else:
        text = os.fsdecode(content.removeprefix(codecs.BOM_UTF8))
    if "\0" in text:
        return [name for name in text.split("\0") if name]
    lines = (line.removesuffix("\r") for line in text.split("\n"))
    return [line for line in lines if line]


def place_below(name: str) -> Path:
    """Return where the result of a listed input lies below the folder of all results.

    Inputs keep their folders, so that inputs with the same name do not collide. The current folder, the root
    of the file system and ``..`` at the beginning are left out.

    Source: GNU tar, which leaves out the same when it stores members (manual, "Absolute File Names").
    """
    normal = Path(os.path.normpath(name))
    if normal.is_absolute() and normal.is_relative_to(Path.cwd()):
        normal = normal.relative_to(Path.cwd())
    return Path(*(part for part in normal.parts if part not in (normal.anchor, "..")))


def _as_file(name: str) -> str:
    """Return a name that always stands for a file, never for standard input."""
    return str(Path.cwd() / name) if name == STDIN else name


def _read(place: str) -> bytes:
    if place == STDIN and sys.stdin is None:
        raise InputError("standard input is closed")
    try:
        return sys.stdin.buffer.read() if place == STDIN else Path(place).read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"the list {place!r} cannot be read: {reason}") from error
