"""From what the user named to single pictures."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from esc_cli.errors import EscError, InputError, UsageError
from esc_cli.jobs.shard import Shard
from esc_cli.jobs.streams import STDIN, read_stdin, stdin_frames
from esc_cli.media.formats.registry import PICTURE_EXTENSIONS
from esc_cli.media.probe import is_picture
from esc_cli.media.video.containers import CLIP_EXTENSIONS


@dataclass(frozen=True)
class Source:
    """One picture or clip to read.

    Attributes:
        content: A path, the bytes that came through standard input, or that itself if it holds frames.
        relative: Its path below ``folder``; a bare name for a file that was named itself.
        folder: The folder that was named, if it was found in one.
    """

    content: Path | bytes | BufferedReader
    relative: Path
    folder: Path | None = None

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return str(self.content) if isinstance(self.content, Path) else STDIN


@dataclass(frozen=True)
class Failure:
    """An input that came to nothing."""

    name: str
    error: EscError


@dataclass(frozen=True)
class Sources:
    """All that was found.

    Attributes:
        pictures: And clips, in the order in which they were named; those of a folder by name. A file that was
            named itself is here whatever it is.
        failures: Folders without pictures and clips or that cannot be read, and an empty standard input.
        passed_over: Files in folders that are neither.
    """

    pictures: tuple[Source, ...]
    failures: tuple[Failure, ...] = ()
    passed_over: int = 0


def expand(names: Sequence[str]) -> tuple[str, ...]:
    """Expand patterns that the shell left alone: quoted, or on Windows.

    Args:
        names: Files, folders, patterns such as ``*.png``, or ``-``.

    Returns:
        Each name once. What is there under the very name is no pattern; a pattern that matches nothing stays.

    Raises:
        UsageError: A name is empty: it would stand for the current folder.
    """
    if "" in names:
        raise UsageError("an input has an empty name")
    return tuple(dict.fromkeys(match for name in names for match in _matches(name)))


def find_sources(
    names: Sequence[str], *, recursive: bool, never: Iterable[Path] = (), shard: Shard | None = None
) -> Sources:
    """Find the pictures and clips that the user named.

    Args:
        names: Files, folders, or ``-`` for standard input, which is read here.
        recursive: Look into the sub-folders of folders, too.
        never: Folders not to look into: those that results go to.
        shard: Which share of the pictures to keep; None: all.
    """
    finder = _Finder(recursive, never)
    for name in names:
        finder.add(name)
    pictures = dict.fromkeys(finder.pictures)
    share = (
        picture for picture in pictures if shard is None or shard.has(without_extension(picture.relative))
    )
    return Sources(tuple(share), tuple(finder.failures), finder.passed_over)


def without_extension(path: Path) -> Path:
    """Take off a picture's or a clip's ending; any other belongs to the name."""
    return path.with_suffix("") if path.suffix.lower() in PICTURE_EXTENSIONS | CLIP_EXTENSIONS else path


class _Finder:
    """Collects what ``find_sources`` gives."""

    def __init__(self, recursive: bool, never: Iterable[Path]) -> None:
        self.pictures: list[Source] = []
        self.failures: list[Failure] = []
        self.passed_over = 0
        self._recursive = recursive
        self._never = frozenset(os.path.realpath(folder) for folder in never)

    def add(self, name: str) -> None:
        path = Path(name)
        if name == STDIN:
            self._add_stdin()
        elif os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises on names that are too long
            self._add_folder(path)
        else:
            self.pictures.append(Source(path, Path(path.name)))

    def _add_stdin(self) -> None:
        try:
            self.pictures.append(Source(stdin_frames() or read_stdin(), Path("stdin")))
        except InputError as error:
            self.failures.append(Failure(STDIN, error))

    def _add_folder(self, folder: Path) -> None:
        found_before = len(self.pictures) + len(self.failures)
        for file in self._walk(folder):
            if is_picture(file) or file.suffix.lower() in CLIP_EXTENSIONS:
                self.pictures.append(Source(file, file.relative_to(folder), folder))
            else:
                self.passed_over += 1
        if len(self.pictures) + len(self.failures) == found_before:
            hint = None if self._recursive else "-r looks into its sub-folders, too"
            error = InputError(f"there are no pictures and no clips in the folder {str(folder)!r}", hint)
            self.failures.append(Failure(str(folder), error))

    def _walk(self, folder: Path) -> Iterator[Path]:
        """List a folder's files by name, hidden ones left out, without following links to folders."""
        try:
            entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        except OSError as error:
            reason = InputError(f"the folder {str(folder)!r} cannot be read: {error.strerror}")
            self.failures.append(Failure(str(folder), reason))
            return
        for path in entries:
            if not os.path.isdir(path):  # noqa: PTH112 - as above
                yield path
            elif self._recursive and not path.is_symlink() and os.path.realpath(path) not in self._never:
                yield from self._walk(path)


def _matches(name: str) -> Sequence[str]:
    if name == STDIN or not glob.has_magic(name) or os.path.lexists(name):
        return (name,)
    # Not Path.glob: a pattern may be absolute, and may begin with `~` as a plain character.
    return sorted(glob.glob(name, recursive=True)) or (name,)  # noqa: PTH207
