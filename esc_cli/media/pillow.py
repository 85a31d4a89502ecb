"""How this room opens files with Pillow: quietly, within our own limit, and with our own errors."""

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from PIL import Image, ImageFile, UnidentifiedImageError

from esc_cli.errors import InputError, OutOfMemoryError
from esc_cli.media.formats import READ_FORMATS, sniff

LARGEST_INPUT_PX = 500_000_000
"""Larger pictures are refused before they are decoded: a file of 44 bytes can claim four gigapixels."""

# What Pillow's plug-ins raise on damaged files. They document no list: these were seen when bytes of good
# files were changed at random, and the last five belong to the same kinds of mistake.
PILLOW_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    RuntimeError,
    struct.error,
    AttributeError,
    ArithmeticError,
    EOFError,
    BufferError,
    zlib.error,
)

_HEADER_BYTES = 65_536


@dataclass(frozen=True)
class Opened:
    """A picture whose header has been read and whose pixels have not.

    Attributes:
        image: Pillow's handle; it may decode only inside `translated_errors`.
        header: The first bytes of the file, at most 64 KiB.
        name: What to call the file in messages.
    """

    image: ImageFile.ImageFile
    header: bytes
    name: str


@contextmanager
def opened(source: Path | bytes) -> Iterator[Opened]:
    """Open a picture for as long as the context lasts.

    Args:
        source: A path, or a file's content.

    Raises:
        InputError: There is no such file, or it is no picture that this program reads.
    """
    name = "the data" if isinstance(source, bytes) else str(source)
    with quiet_pillow(), _stream(source, name) as file:
        with translated_errors(name):
            header = file.read(_HEADER_BYTES)
            format = _readable_format(header, name)
            image = Image.open(file, formats=(format,))
        yield Opened(image, header, name)


@contextmanager
def translated_errors(name: str) -> Iterator[None]:
    """Turn what Pillow raises inside into our own errors.

    Raises:
        InputError: The file is damaged, too large, or cannot be read.
        OutOfMemoryError: Its pixels do not fit in memory.
    """
    try:
        yield
    except Image.DecompressionBombError as error:
        limit = LARGEST_INPUT_PX // 10**6
        raise InputError(f"{name} has more than {limit} megapixels, the most that is read") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{name} is damaged, or of a rare kind that is not read") from error
    except MemoryError as error:
        raise OutOfMemoryError(f"{name} does not fit in memory") from error
    except PILLOW_ERRORS as error:
        raise InputError(_damage(name, error)) from error


def _damage(name: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{name} cannot be read: {error.strerror}"
    return f"{name} is damaged or incomplete ({error})"


def _stream(source: Path | bytes, name: str) -> AbstractContextManager[IO[bytes]]:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    try:
        _check_kind(source, name)
        return source.open("rb")
    except FileNotFoundError as error:
        raise InputError(f"{name}: there is no such file") from error
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from error


def _check_kind(source: Path, name: str) -> None:
    if source.is_dir():
        raise InputError(f"{name} is a folder")
    if source.exists() and not source.is_file():
        # A FIFO would be waited for, and could be read once only, but size and pixels are read one by one.
        raise InputError(f"{name} is not an ordinary file", hint="pipes are read from - (stdin)")


def _readable_format(header: bytes, name: str) -> str:
    if not header:
        raise InputError(f"{name} is empty")
    format = sniff(header)
    if format is None:
        raise InputError(f"{name} is not a picture that this program reads")
    if format not in READ_FORMATS:
        raise InputError(f"{name} is a {format} picture, which is not read yet", hint="convert it to PNG")
    return format


class _Readers:
    """How many threads are inside `quiet_pillow`, and what the last one has to undo."""

    lock = threading.Lock()
    count = 0
    undo = ExitStack()


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Silence Pillow's warnings and replaces its limit on pixels, as long as anybody reads.

    Both are settings of the process, and pictures are read in several threads. So the first reader sets them
    and the last one restores them; `warnings.catch_warnings` in each thread would restore them out of order.
    """
    with _Readers.lock:
        if _Readers.count == 0:
            _apply_settings(_Readers.undo)
        _Readers.count += 1
    try:
        yield
    finally:
        with _Readers.lock:
            _Readers.count -= 1
            if _Readers.count == 0:
                _Readers.undo.close()


def _apply_settings(undo: ExitStack) -> None:
    undo.enter_context(warnings.catch_warnings())
    warnings.filterwarnings("ignore", module=r"PIL\.")
    undo.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    Image.MAX_IMAGE_PIXELS = LARGEST_INPUT_PX // 2  # Pillow warns above it and refuses above its double
