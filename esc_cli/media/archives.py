"""Archives of pictures: ZIP, and CBZ, which is a ZIP of the pages of a comic.

Nothing is ever unpacked to the disk. An archive is checked as a whole before anything is read from it.
"""

import os
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path
from typing import BinaryIO, Self, cast

from esc_cli.errors import InputError
from esc_cli.media.formats.registry import PICTURE_EXTENSIONS, format_by_extension, sniff


@dataclass(frozen=True)
class ArchiveFormat:
    """A kind of archive that is read and written.

    Attributes:
        name: Name of the kind, in this program and in messages.
        extensions: File name extensions, with the dot. Results get the first one.
        is_for_pictures: Whether archives of this kind hold pictures, so that those in a folder are taken.
    """

    name: str
    extensions: tuple[str, ...]
    is_for_pictures: bool


CBZ = ArchiveFormat("CBZ", (".cbz",), is_for_pictures=True)
ZIP = ArchiveFormat("ZIP", (".zip",), is_for_pictures=False)

ARCHIVES = (CBZ, ZIP)

_REFUSED = (".cbr", ".rar", ".cb7", ".7z", ".cbt", ".tar")
_REFUSED_SIGNATURES = (b"Rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c")
"""Source: RAR 5.0 archive format, 7zFormat.txt."""

ARCHIVE_EXTENSIONS = frozenset(
    (*(extension for format in ARCHIVES for extension in format.extensions), *_REFUSED)
)
"""Extensions that mark a file as an archive, even if the program cannot read it."""

FOUND_IN_FOLDERS = frozenset(
    extension for format in ARCHIVES if format.is_for_pictures for extension in format.extensions
)
"""Extensions of the archives that are taken if they are found in a folder."""

LARGEST_ENTRY_BYTES = 2**31
"""An entry is unpacked in memory."""

MOST_GROWTH = 200
"""The most that an archive may grow when it is unpacked. Drawings in BMP grow by 20 to 100."""

_HARMLESS_BYTES = 2**28
"""Up to this size, an unpacked archive is no danger, however small the archive is."""

_HEAD_BYTES, _PART_BYTES = 80, 1 << 20
_KNOWN_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_ENCRYPTED, _COMPRESSION_OPTIONS, _NAME_IS_UTF_8 = 0x1, 0x6, 0x800
"""Flags of an entry. Source: PKWARE's APPNOTE.TXT, 4.4.4."""

_LOCAL_HEADER, _LOCAL_SIGNATURE = struct.Struct("<4s22xHH"), b"PK\3\4"
"""The header before the content of an entry, with the lengths of its name and its extra fields.

Source: APPNOTE.TXT, 4.3.7.
"""

_UNIX_TIME, _NTFS_TIME, _UNICODE_NAME = 0x5455, 0x000A, 0x7075
"""Extra fields that are kept. Source: APPNOTE.TXT, 4.5.5 and 4.6.9; Info-ZIP's extrafld.txt."""


def archive_named(name: str) -> ArchiveFormat | None:
    """Return the kind of archive of an extension, with or without the dot."""
    extension = "." + name.lower().lstrip(".")
    return next((format for format in ARCHIVES if extension in format.extensions), None)


def archive_like(path: Path) -> ArchiveFormat:
    """Return the kind of archive of a file by its name. Comics with a wrong extension become CBZ."""
    return archive_named(path.suffix) or CBZ


def is_archive(path: Path) -> bool:
    """Return whether a file is meant to be an archive, by its name or by its first bytes.

    An archive with another extension, such as a document of an office program, does not count, unless it is a
    RAR or 7z.
    """
    named = path.suffix.lower() in ARCHIVE_EXTENSIONS
    try:
        if not path.is_file():
            return named and not path.is_dir()
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return named
    return head.startswith(_REFUSED_SIGNATURES) or (named and sniff(head) is None)


def looks_like_archive(head: bytes) -> bool:
    """Return whether a file begins as a ZIP, RAR or 7z does."""
    return head.startswith((_LOCAL_SIGNATURE, *_REFUSED_SIGNATURES))


_READING_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, LZMAError, EOFError, struct.error),
    *(OSError, ValueError, RuntimeError),  # also where its header says other things than the directory
)
"""Errors of the library when an entry is read."""


class ArchiveReader:
    """A context manager that reads the entries of an archive. Several threads may read at the same time.

    Attributes:
        names: The names of all entries, in order. Names of folders end with a slash.

    Args:
        path: The archive.

    Raises:
        InputError: The file does not exist, is not a ZIP archive, is encrypted, has links, two entries of
            one name or entries that overlap, leads outside of itself, or would become dangerously large.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._name = path, str(path)
        self._zip = _opened(path)
        try:
            _check(self._zip.infolist(), path.stat().st_size, self._name)
        except BaseException:
            self._zip.close()
            raise
        self._entries = self._zip.infolist()
        self.names = tuple(entry.filename for entry in self._entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def read(self, number: int) -> bytes:
        """Return the content of an entry.

        Raises:
            InputError: The entry is damaged.
        """
        with self._reading(number):
            return self._zip.read(self._entries[number])

    def is_picture(self, number: int) -> bool:
        """Return whether an entry is meant to be a picture, by the rule for files in a folder.

        Raises:
            InputError: The entry is damaged.
        """
        entry = self._entries[number]
        name = Path(entry.filename)
        if entry.is_dir() or name.name.startswith("."):
            return False
        format = format_by_extension(name) if name.suffix else None
        if format is not None and not format.counts_in_folders():
            return False
        if name.suffix.lower() in PICTURE_EXTENSIONS:
            return True
        with self._reading(number), self._zip.open(entry) as file:
            return sniff(file.read(_HEAD_BYTES)) is not None

    def rewrite(self, target: Path, replacement: Callable[[int], tuple[str, bytes] | None]) -> None:
        """Write the archive anew. Entries keep their order, times, permissions, comments and compression.

        Args:
            target: The file to write.
            replacement: Function that returns the new name and the new content of an entry, by its number.
                None means that the entry is copied.

        Raises:
            InputError: An entry is not where the archive says.
            OSError: The file cannot be written.
        """
        with _NewZip(target, "w") as written:
            written.comment = self._zip.comment
            for number, entry in enumerate(self._entries):
                replaced = replacement(number)
                copy = _Entry(entry, None if replaced is None else replaced[0])
                if replaced is not None:
                    written.writestr(copy, replaced[1])
                else:
                    self._copy(number, written, copy)
                copy.external_attr = entry.external_attr  # the library sets it if it is 0

    def _copy(self, number: int, target: "_NewZip", copy: "_Entry") -> None:
        """Copy an entry as it is stored, so a damaged one stays as it is, too."""
        entry = self._entries[number]
        copy.flag_bits = entry.flag_bits & _COMPRESSION_OPTIONS
        copy.CRC, copy.file_size, copy.compress_size = entry.CRC, entry.file_size, entry.compress_size
        with self._path.open("rb") as file:
            with self._reading(number):
                _seek_data(file, entry)
            target.add_stored(copy, self._stored(number, file))

    def _stored(self, number: int, file: BinaryIO) -> Iterator[bytes]:
        """Yield the stored bytes of an entry, in parts."""
        rest = self._entries[number].compress_size
        while rest:
            with self._reading(number):
                part = file.read(min(rest, _PART_BYTES))
                if not part:
                    raise EOFError
            rest -= len(part)
            yield part

    @contextmanager
    def _reading(self, number: int) -> Iterator[None]:
        """Translate the errors of reading an entry."""
        try:
            yield
        except _READING_ERRORS as error:
            raise InputError(f"{self.names[number]!r} in {self._name} is damaged") from error


class _Entry(zipfile.ZipInfo):
    """An entry of a new archive, with the properties of one that was read.

    A name that is not marked as UTF-8 is in the code page of the system that wrote it. Nobody knows which one
    that is, so its bytes are kept.
    """

    def __init__(self, entry: zipfile.ZipInfo, name: str | None) -> None:
        super().__init__(name or entry.filename, entry.date_time)
        self._is_utf_8 = bool(entry.flag_bits & _NAME_IS_UTF_8)
        self.compress_type, self.comment = entry.compress_type, entry.comment
        self.create_system, self.internal_attr = entry.create_system, entry.internal_attr
        self.external_attr = entry.external_attr
        self.extra = b"".join(_kept_fields(entry, is_renamed=self.filename != entry.filename))

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 - the library calls it
        """Return the bytes of the name, and the flags."""
        flags = self.flag_bits & ~_NAME_IS_UTF_8
        if not self._is_utf_8:
            return self.filename.encode("cp437"), flags  # the library decoded it so, whatever it was
        return self.filename.encode(), flags | _NAME_IS_UTF_8


class _NewZip(zipfile.ZipFile):
    """A new archive, to which entries can also be added as they are stored in another one.

    The library has no method for this, so it is told about the entry as its own methods tell it.
    """

    def add_stored(self, entry: zipfile.ZipInfo, parts: Iterator[bytes]) -> None:
        """Add an entry with its checksum, its sizes and its compressed content."""
        file = cast(BinaryIO, self.fp)
        file.seek(self.start_dir)
        entry.header_offset = file.tell()
        file.write(entry.FileHeader())
        for part in parts:
            file.write(part)
        self.filelist.append(entry)
        self.NameToInfo[entry.filename] = entry
        self.start_dir, self._didModify = file.tell(), True


def _seek_data(file: BinaryIO, entry: zipfile.ZipInfo) -> None:
    """Go to the content of an entry, behind its header.

    Raises:
        BadZipFile: There is no header.
    """
    file.seek(entry.header_offset)
    signature, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    if signature != _LOCAL_SIGNATURE:
        raise zipfile.BadZipFile
    file.seek(name_bytes + extra_bytes, os.SEEK_CUR)


def _kept_fields(entry: zipfile.ZipInfo, *, is_renamed: bool) -> Iterator[bytes]:
    """Yield the extra fields of an entry that a copy of it keeps: exact times, and the name in Unicode.

    The time of last modification is alone in the central directory, so it is alone in the copy.
    """
    rest = entry.extra
    while len(rest) >= 4:
        kind, size = struct.unpack_from("<HH", rest)
        content, rest = rest[4 : 4 + size], rest[4 + size :]
        if kind == _UNIX_TIME and len(content) >= 5 and content[0] & 1:
            yield struct.pack("<HHB", kind, 5, 1) + content[1:5]
        elif kind == _NTFS_TIME or (kind == _UNICODE_NAME and not is_renamed):
            yield struct.pack("<HH", kind, len(content)) + content


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if head.startswith(_REFUSED_SIGNATURES) or (head and path.suffix.lower() in (".cbt", ".tar")):
            raise InputError(
                f"{path} is an archive of a kind that this program cannot read",
                hint="pack the pictures as CBZ or ZIP",
            )
        return zipfile.ZipFile(path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} contains a name that is not valid UTF-8, but is marked as UTF-8") from error
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise InputError(f"{path} is not a complete ZIP archive") from error


def _check(entries: list[zipfile.ZipInfo], archive_bytes: int, name: str) -> None:
    """Refuse an archive that cannot be read, or that could do harm here or where its result is unpacked.

    Raises:
        InputError: The archive is refused.
    """
    for entry in entries:
        _check_kind(entry, name)
        if not _stays_inside(entry.orig_filename):
            raise InputError(f"{name} contains {entry.orig_filename!r}, a name that leads outside of it")
        if entry.file_size > LARGEST_ENTRY_BYTES:
            limit = f"{LARGEST_ENTRY_BYTES / 2**30:g} GiB"
            raise InputError(f"{entry.filename!r} in {name} is larger than {limit}")
    twice = next((one for one, count in Counter(e.filename for e in entries).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"{name} contains two entries with the name {twice!r}")
    if sum(entry.compress_size for entry in entries) > archive_bytes:
        raise InputError(f"{name} contains entries that overlap")
    unpacked_bytes = sum(entry.file_size for entry in entries)
    growth = unpacked_bytes / max(archive_bytes, 1)
    if unpacked_bytes > _HARMLESS_BYTES and growth > MOST_GROWTH:
        raise InputError(
            f"{name} would grow to {growth:,.0f} times its size, and at most {MOST_GROWTH} times is unpacked"
        )


def _check_kind(entry: zipfile.ZipInfo, name: str) -> None:
    if entry.flag_bits & _ENCRYPTED:
        raise InputError(f"{name} is encrypted", hint="decrypt it first")
    if entry.compress_type not in _KNOWN_METHODS:
        raise InputError(
            f"{entry.filename!r} in {name} is compressed in a way that this program cannot read",
            hint="pack the pictures as an ordinary ZIP",
        )
    kind = stat.S_IFMT(entry.external_attr >> 16)  # 0 on systems without such kinds
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a symbolic link" if kind == stat.S_IFLNK else "not a file"
        raise InputError(f"{entry.filename!r} in {name} is {what}")


def _stays_inside(name: str) -> bool:
    """Return whether a name, as it is stored, stays inside the folder to which it is unpacked."""
    parts = re.split(r"[/\\]", name)
    return bool(parts[0]) and not re.match("[A-Za-z]:", name) and ".." not in parts and "\0" not in name
