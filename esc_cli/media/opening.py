"""Open pictures: the format is detected from the content, and Pillow reads the header."""

import io
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Self

from esc_cli.errors import InputError
from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.formats.registry import check_installed, detect
from esc_cli.media.pillow import LARGEST_INPUT_PX, Opened, check_size, quiet_pillow, translated_errors

_HEADER_BYTES = 65_536


class NamedBytes(bytes):
    """The content of a file that has no path of its own, with a name for messages.

    Attributes:
        name: The name in messages.
    """

    name: str

    def __new__(cls, content: bytes, name: str) -> Self:
        """Return the content with its name."""
        made = super().__new__(cls, content)
        made.name = name
        return made


@contextmanager
def opened(source: Path | bytes, largest_px: int = LARGEST_INPUT_PX) -> Iterator[Opened]:
    """Open a picture for as long as the context lasts.

    Args:
        source: A path, or the content of a file.
        largest_px: Maximum number of pixels. Larger pictures are refused before they are decoded.

    Raises:
        InputError: The file does not exist, is not a picture that this program reads, or is too large.
    """
    name = str(getattr(source, "name", "the data")) if isinstance(source, bytes) else str(source)
    with quiet_pillow(largest_px), _stream(source, name) as file:
        with translated_errors(name):
            header = file.read(_HEADER_BYTES)
            format = _readable_format(file, header, name)
            image = format.open(file, name, largest_px)
        picture = Opened(image, format, header, name, largest_px)
        check_size(picture)
        yield picture


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
        # Reading a FIFO would block, and works only once, but the size and the pixels are read separately.
        raise InputError(f"{name} is not a regular file", hint="to read from a pipe, use - (stdin)")


def _readable_format(file: IO[bytes], header: bytes, name: str) -> PictureFormat:
    if not header:
        raise InputError(f"{name} is empty")
    format = detect(file, header)
    if format is None:
        raise InputError(f"{name} is not a picture that this program reads")
    check_installed(format, InputError, f"{name} is a {format.name} picture")
    return format
