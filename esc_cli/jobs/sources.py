"""Find the pictures and clips that the user named, and divide them into shards."""

import glob
import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from esc_cli.errors import EscError, InputError, UsageError
from esc_cli.jobs.file_lists import place_below
from esc_cli.jobs.record import size_and_time
from esc_cli.jobs.streams import STDIN, read_stdin, stdin_frames
from esc_cli.media.archives import ARCHIVE_EXTENSIONS, FOUND_IN_FOLDERS, looks_like_archive
from esc_cli.media.formats.registry import PICTURE_EXTENSIONS
from esc_cli.media.probe import is_picture
from esc_cli.media.video.containers import CLIP_EXTENSIONS
from esc_cli.media.video.sequence_names import is_sequence, sequence_names
from esc_cli.storage.whole_files import folder_mode_of, make_folder, mode_of

_EXTENSIONS = PICTURE_EXTENSIONS | CLIP_EXTENSIONS | ARCHIVE_EXTENSIONS


@dataclass(frozen=True)
class Shard:
    """One of several equal parts of the work.

    Attributes:
        number: The number of the shard, starting at 1.
        count: The number of all shards.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Parse a shard such as ``2/8``.

        Raises:
            UsageError: The text is not a valid shard.
        """
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(f"{text!r} is not a valid shard", hint="write the second of eight as 2/8")
        return cls(int(match[1]), int(match[2]))

    def has(self, stem: Path) -> bool:
        """Return whether an input belongs to this shard.

        The shard depends only on the name of the input, so files may be added and removed. It does not depend
        on the extension, the case or the Unicode form of the name. Therefore, inputs whose results could
        collide are in one shard, where the collision is noticed.

        Args:
            stem: The path of the input relative to the folder that was named, without its extension.
        """
        key = unicodedata.normalize("NFC", stem.as_posix()).casefold()
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1


@dataclass(frozen=True)
class Source:
    """One picture or clip to read.

    Attributes:
        content: A path, the bytes from standard input, or standard input itself if it holds raw frames.
            If a clip comes through standard input, the path is that of a temporary copy.
        relative: The path relative to ``folder``, or the bare name of a file that was named directly.
        folder: The named folder in which the file was found. None if the file was named directly.
        is_stdin: Whether the source came through standard input.
        listed: For an input of a list, the place of its result below a folder for all results.
    """

    content: Path | bytes | BufferedReader
    relative: Path
    folder: Path | None = None
    is_stdin: bool = False
    listed: Path | None = None

    @property
    def below_output(self) -> Path:
        """The place of its result below a folder for all results, with its own extension."""
        return self.relative if self.listed is None else self.listed

    @property
    def name(self) -> str:
        """The name of the source in messages."""
        return STDIN if self.is_stdin else str(self.content)

    @property
    def mode(self) -> int:
        """The permission bits of its files, which a result gets, too."""
        return mode_of(self.files)

    @property
    def is_sequence(self) -> bool:
        """Whether the source is an image sequence, whose content is the pattern of its files."""
        return isinstance(self.content, Path) and is_sequence(str(self.content))

    @property
    def files(self) -> list[Path]:
        """The files of the source.

        A clip from standard input has its temporary copy, and other streams have none. An image sequence may
        have none, too, or gaps; see ``SequenceNames.files``.
        """
        if not isinstance(self.content, Path):
            return []
        return sequence_names(str(self.content)).found() if self.is_sequence else [self.content]

    def make_folder_of_result(self, folder: Path) -> None:
        """Create the folder of a result, and those above it, with the permissions of the source's folders.

        Args:
            folder: The folder of the result. It lies as deep in the folder of all results as the source lies
                in the folder that was named.

        Raises:
            OutputError: A folder cannot be created.
            DiskFullError: There is no space left for a folder.
        """
        if self.folder is None:
            make_folder(folder)
            return
        below = self.relative.parent
        for inner in reversed((below, *below.parents)):
            outside = len(below.parts) - len(inner.parts)
            result = (folder, *folder.parents)[outside]
            make_folder(result, folder_mode_of(self.folder / inner))

    @property
    def modified_ns(self) -> int | None:
        """The time of last modification of its files, of which the latest counts; None for a stream."""
        files = [] if self.is_stdin else self.files
        return max((status[1] for file in files if (status := size_and_time(file))), default=None)


@dataclass(frozen=True)
class Failure:
    """An input that failed, and its error."""

    name: str
    error: EscError


@dataclass(frozen=True)
class Sources:
    """The pictures and clips that were found.

    Attributes:
        pictures: Pictures and clips, in the order in which they were named. The files of a folder are sorted
            by name. A file that was named directly is included whatever it holds.
        failures: Folders that have no pictures and no clips or cannot be read, and an empty standard input.
        passed_over: Number of files in folders that are neither pictures nor clips.
    """

    pictures: tuple[Source, ...]
    failures: tuple[Failure, ...] = ()
    passed_over: int = 0


def expand(names: Sequence[str]) -> tuple[str, ...]:
    """Expand patterns that the shell did not expand, because they were quoted or the system is Windows.

    Args:
        names: Files, folders, patterns such as ``*.png``, or ``-``.

    Returns:
        Each name once. The name of an existing file is not a pattern, nor is that of an existing folder at
        the beginning of a pattern. If a pattern matches nothing, its brackets are taken as plain characters.
        A pattern that still matches nothing is kept.

    Raises:
        UsageError: A name is empty. It would stand for the current folder.
    """
    if "" in names:
        raise UsageError("an input has an empty name")
    return tuple(dict.fromkeys(match for name in names for match in _matches(name)))


def find_sources(
    names: Sequence[str],
    *,
    listed: Sequence[str] = (),
    recursive: bool,
    never: Iterable[Path] = (),
    shard: Shard | None = None,
    only: frozenset[Path] | None = None,
) -> Sources:
    """Find the pictures and clips that the user named.

    Args:
        names: Files, folders, or ``-`` for standard input. Standard input is read here.
        listed: Files and folders that a list names. Below a folder for all results, they keep their folders.
        recursive: Whether to search the subfolders of folders, too, and those that are linked there.
        never: Folders that are not searched, because results go there.
        shard: The shard of the pictures to keep. None means all.
        only: The files of the folders that are taken. None means all.
    """
    finder = _Finder(recursive, never, only)
    for name in names:
        finder.add(name)
    for name in listed:
        finder.add(name, place_below(name))
    pictures = dict.fromkeys(finder.pictures)
    share = (
        picture for picture in pictures if shard is None or shard.has(without_extension(picture.relative))
    )
    return Sources(tuple(share), tuple(finder.failures), finder.passed_over)


def without_extension(path: Path) -> Path:
    """Return a path without the extension of a format. Any other suffix is part of the name."""
    return path.with_suffix("") if path.suffix.lower() in _EXTENSIONS else path


def files_in(folder: Path, *, recursive: bool, never: Iterable[Path] = ()) -> list[Path]:
    """Return the files of a folder by name, without hidden ones.

    Args:
        folder: The folder.
        recursive: Whether to search its subfolders, too.
        never: Folders that are not searched.
    """
    return _Finder(recursive, never).files_in(folder)


class _Finder:
    """Collects the results of ``find_sources``."""

    def __init__(self, recursive: bool, never: Iterable[Path], only: frozenset[Path] | None = None) -> None:
        self._only = only
        self.pictures: list[Source] = []
        self.failures: list[Failure] = []
        self.passed_over = 0
        self._recursive = recursive
        self._never = frozenset(os.path.realpath(folder) for folder in never)

    def add(self, name: str, listed: Path | None = None) -> None:
        path = Path(name)
        if name == STDIN:
            self._add_stdin()
        elif os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises on names that are too long
            self._add_folder(path, listed)
        else:
            self.pictures.append(Source(path, Path(path.name), listed=listed))

    def _add_stdin(self) -> None:
        try:
            content = stdin_frames() or read_stdin()
            if isinstance(content, bytes) and looks_like_archive(content):
                raise InputError("an archive cannot come through standard input", hint="name it as a file")
            self.pictures.append(Source(content, Path("stdin"), is_stdin=True))
        except EscError as error:
            self.failures.append(Failure(STDIN, error))

    def _add_folder(self, folder: Path, listed: Path | None) -> None:
        found_before = len(self.pictures) + len(self.failures)
        for file in self.files_in(folder):
            if self._only is not None and file not in self._only:
                continue
            if is_picture(file) or file.suffix.lower() in CLIP_EXTENSIONS | FOUND_IN_FOLDERS:
                relative = file.relative_to(folder)
                below = None if listed is None else listed / relative
                self.pictures.append(Source(file, relative, folder, listed=below))
            else:
                self.passed_over += 1
        if self._only is None and len(self.pictures) + len(self.failures) == found_before:
            hint = None if self._recursive else "use -r to search its subfolders, too"
            error = InputError(f"there are no pictures or clips in the folder {str(folder)!r}", hint)
            self.failures.append(Failure(str(folder), error))

    def files_in(self, folder: Path) -> list[Path]:
        """Return the files of a folder by name, without hidden ones.

        A folder that is linked is searched, too, unless it is searched under its own name or through another
        link. So nothing is found twice, and links cannot form a loop.
        """
        files: list[Path] = []
        seen: set[str] = set()
        waiting, links = [folder], list[Path]()
        while waiting or links:
            found = waiting.pop() if waiting else links.pop(0)
            place = os.path.realpath(found)
            if place not in seen | self._never or found == folder:
                seen.add(place)
                for path in self._entries(found):
                    if not os.path.isdir(path):  # noqa: PTH112 - as above
                        files.append(path)
                    elif self._recursive:
                        (links if path.is_symlink() else waiting).append(path)
        return sorted(files)

    def _entries(self, folder: Path) -> list[Path]:
        try:
            return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        except OSError as error:
            reason = InputError(f"the folder {str(folder)!r} cannot be read: {error.strerror}")
            self.failures.append(Failure(str(folder), reason))
            return []


def _matches(name: str) -> Sequence[str]:
    if name == STDIN or not glob.has_magic(name) or os.path.lexists(name):
        return (name,)
    # Path.glob does not fit: a pattern may be absolute, and may begin with `~` as a plain character.
    for pattern in (_with_plain_folder(name), name.replace("[", "[[]")):
        if found := sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207
            return found
    return (name,)


def _with_plain_folder(pattern: str) -> str:
    """Return a pattern in which brackets in the name of a folder that exists stand for themselves."""
    folder = os.path.dirname(pattern)  # noqa: PTH120 - Path changes the spelling
    while glob.has_magic(folder):
        if os.path.isdir(folder):  # noqa: PTH112 - as above
            return glob.escape(folder) + pattern[len(folder) :]
        folder = os.path.dirname(folder)  # noqa: PTH120 - as above
    return pattern
