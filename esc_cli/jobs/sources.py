"""From what the user named to single pictures."""

import glob
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from esc_cli.errors import InputError
from esc_cli.media.probe import is_picture

STDIN = "-"


@dataclass(frozen=True)
class Source:
    """One picture to read.

    Attributes:
        content: A path, or the bytes that came through standard input.
        relative: Its path below ``folder``; a bare name for a file that was named itself.
        folder: The folder that was named, if it was found in one.
    """

    content: Path | bytes
    relative: Path
    folder: Path | None = None

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return str(self.content) if isinstance(self.content, Path) else STDIN


@dataclass(frozen=True)
class Sources:
    """All that was found.

    Attributes:
        pictures: In the order in which they were named; those of a folder by name.
        missing: Names for which there is nothing, each with the reason.
        passed_over: Files in folders that are no pictures.
        named_one_file: Whether the user named a single file, rather than many or a folder.
    """

    pictures: tuple[Source, ...]
    missing: tuple[tuple[str, InputError], ...]
    passed_over: int
    named_one_file: bool


def find_sources(names: Sequence[str], *, recursive: bool, never: Iterable[Path] = ()) -> Sources:
    """Find the pictures that the user named.

    Args:
        names: Files, folders, patterns such as ``*.png``, or ``-`` for standard input.
        recursive: Look into the sub-folders of folders, too.
        never: Folders not to look into: those that results go to.

    Raises:
        InputError: Standard input is empty.
    """
    pictures: list[Source] = []
    missing: list[tuple[str, InputError]] = []
    passed_over = 0
    for name in _expanded(names):
        path = Path(name)
        if name == STDIN:
            pictures.append(_read_stdin())
        elif path.is_dir():
            found = list(_walk(path, recursive, [folder.resolve() for folder in never]))
            pictures += (Source(file, file.relative_to(path), path) for file in found if is_picture(file))
            passed_over += sum(not is_picture(file) for file in found)
        elif path.exists():
            pictures.append(Source(path, Path(path.name)))
        else:
            missing.append((name, InputError(f"there is no file {name!r}")))
    one = len(pictures) + len(missing) == 1 and not any(picture.folder for picture in pictures)
    return Sources(tuple(pictures), tuple(missing), passed_over, named_one_file=one)


def _expanded(names: Sequence[str]) -> Iterator[str]:
    """Expand patterns that the shell left alone (quoted, or on Windows); a file of that very name comes first."""
    for name in names:
        if name == STDIN or Path(name).exists() or not glob.has_magic(name):
            yield name
        else:
            yield from sorted(glob.glob(name, recursive=True)) or [name]


def _walk(folder: Path, recursive: bool, never: list[Path]) -> Iterator[Path]:
    """List a folder's files by name, hidden ones left out, without following links to folders."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if recursive and not path.is_symlink() and path.resolve() not in never:
                yield from _walk(path, recursive, never)
        else:
            yield path


def _read_stdin() -> Source:
    content = sys.stdin.buffer.read()
    if not content:
        raise InputError("there is nothing on standard input")
    return Source(content, Path("stdin"))
