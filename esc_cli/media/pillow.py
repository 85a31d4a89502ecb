"""How this room opens files with Pillow: quietly, within our own limit, and with our own errors."""

import io
import logging
import math
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar

from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError

from esc_cli.errors import InputError, OutOfMemoryError
from esc_cli.media.camera_raw import is_camera_raw
from esc_cli.media.formats import READ_FORMATS, check_installed, sniff

LARGEST_INPUT_PX = 500_000_000
"""Larger pictures are refused before they are decoded: a file of 44 bytes can claim four gigapixels."""

# Where Pillow's plug-ins call a format otherwise than this program.
_PILLOW_NAMES = {"HEIC": "HEIF", "JPEG XL": "JXL"}
_OWN_NAMES = {**{theirs: own for own, theirs in _PILLOW_NAMES.items()}, "MPO": "JPEG"}

# What Pillow's plug-ins raise on damaged files. They document no list: these were seen when bytes of good
# files were changed at random, and some belong to the same kinds of mistake.
PILLOW_ERRORS = (
    AssertionError,
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
        largest_px: The most pixels that one picture in the file may have.
    """

    image: ImageFile.ImageFile
    header: bytes
    name: str
    largest_px: int = LARGEST_INPUT_PX


@contextmanager
def opened(source: Path | bytes, largest_px: int = LARGEST_INPUT_PX) -> Iterator[Opened]:
    """Open a picture for as long as the context lasts.

    Args:
        source: A path, or a file's content.
        largest_px: Pictures of more pixels are refused before they are decoded.

    Raises:
        InputError: There is no such file, it is no picture that this program reads, or too large.
    """
    name = "the data" if isinstance(source, bytes) else str(source)
    with quiet_pillow(largest_px), _stream(source, name) as file:
        with translated_errors(name):
            header = file.read(_HEADER_BYTES)
            format = _readable_format(header, name)
            image = _jxl(file, name, largest_px) if format == "JPEG XL" else _image(file, format)
        if is_camera_raw(image, header):
            raise InputError(
                f"{name} is a camera raw file, of which only the thumbnail could be read",
                hint="develop it first, and enlarge the TIFF or JPEG that comes out",
            )
        picture = Opened(image, header, name, largest_px)
        check_size(picture)
        yield picture


def check_size(file: Opened) -> None:
    """Refuse a picture, or the frame or page which Pillow stands at, that has too many pixels.

    Raises:
        InputError: It has.
    """
    check_pixels(file.image.height * file.image.width, file.name, file.largest_px)


def check_pixels(count_px: int, name: str, largest_px: int) -> None:
    """Refuse a file that decodes to more pixels than are allowed.

    Raises:
        InputError: It does.
    """
    if count_px > largest_px:
        raise _too_large(name, count_px)


def pillow_name(format: str) -> str:
    """What Pillow calls a format; its plug-in is loaded if it is one from another package.

    Args:
        format: The name it has in `FORMATS`.
    """
    _load_plugin(format)
    return _PILLOW_NAMES.get(format, format)


def own_name(image: Image.Image) -> str:
    """What this program calls a file's format; an MPO (several JPEGs in one) is a JPEG to anybody else."""
    return _OWN_NAMES.get(str(image.format), str(image.format))


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
        pixels = re.search(r"(\d+) pixels", str(error))
        raise _too_large(name, int(pixels[1]) if pixels else LARGEST_INPUT_PX) from error
    except UnidentifiedImageError as error:
        raise InputError(f"{name} is damaged, or of a rare kind that is not read") from error
    except MemoryError as error:
        raise OutOfMemoryError(f"{name} does not fit in memory") from error
    except PILLOW_ERRORS as error:
        raise InputError(_damage(name, error)) from error


def _damage(name: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{name} cannot be read: {error.strerror}"
    reason = " ".join(str(error).split())  # some have several lines
    if "MAX_TEXT" in reason:
        return f"{name} holds more than {PngImagePlugin.MAX_TEXT_MEMORY >> 20} MB of text or profile"
    return f"{name} is damaged or incomplete ({reason})" if reason else f"{name} is damaged or incomplete"


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
        raise InputError(f"{name} is a {format} picture, which is not read", hint="convert it to PNG")
    check_installed(format, InputError, f"{name} is a {format} picture")
    return format


def _image(file: IO[bytes], format: str) -> ImageFile.ImageFile:
    return Image.open(file, formats=(pillow_name(format),))


def _jxl(file: IO[bytes], name: str, largest_px: int) -> ImageFile.ImageFile:
    """Open a JPEG XL, having looked at it before its plug-in does, which decodes all of it at once."""
    from esc_cli.media.jxl import announcement, xmp_of

    announced = announcement(file)
    check_pixels(announced.height * announced.width, name, largest_px)
    if announced.animated:  # the plug-in would give its last frame for all of it
        raise InputError(f"{name} is an animated JPEG XL, which is not read", hint="convert it to PNG or GIF")
    xmp = xmp_of(file)
    image = _image(file, "JPEG XL")
    if xmp is not None:
        image.info["xmp"] = xmp
    return image


def _too_large(name: str, pixels: int) -> InputError:
    megapixels = math.ceil(pixels / 10**6)
    return InputError(
        f"{name} has {megapixels} megapixels, more than the limit",
        hint=f"if you trust it, allow them with --max-megapixels {megapixels}",
    )


def _load_plugin(format: str) -> None:
    """Register what reads and writes a format of an optional package; the second time costs nothing."""
    match format:
        case "HEIC":
            from pillow_heif import register_heif_opener

            register_heif_opener()
        case "JPEG XL":
            import pillow_jxl  # noqa: F401 - registers itself


class _Readers:
    """The limits of the threads inside `quiet_pillow`, and what the last one has to undo."""

    lock = threading.Lock()
    limits_px: ClassVar[list[int]] = []
    undo = ExitStack()


@contextmanager
def quiet_pillow(largest_px: int = LARGEST_INPUT_PX) -> Iterator[None]:
    """Silence Pillow's warnings and replace its limit on pixels, as long as anybody reads.

    Both are settings of the process, and pictures are read in several threads. So the first reader sets them
    and the last one restores them; `warnings.catch_warnings` in each thread would restore them out of order.

    Args:
        largest_px: A picture of more pixels is not to be decoded. With several readers Pillow's limit is the
            largest of theirs: it stands guard where Pillow reserves memory before anybody knows the size,
            and what is read within it is still held against each reader's own.
    """
    with _Readers.lock:
        if not _Readers.limits_px:
            _apply_settings(_Readers.undo)
        _Readers.limits_px.append(largest_px)
        _set_limit()
    try:
        yield
    finally:
        with _Readers.lock:
            _Readers.limits_px.remove(largest_px)
            if _Readers.limits_px:
                _set_limit()
            else:
                _Readers.undo.close()


def _apply_settings(undo: ExitStack) -> None:
    undo.enter_context(warnings.catch_warnings())
    warnings.filterwarnings("ignore", module=r"PIL\.|pillow_")
    # Pillow also logs what it warns of, and what nobody listens to goes to stderr.
    nobody = logging.NullHandler()
    logging.getLogger("PIL").addHandler(nobody)
    undo.callback(logging.getLogger("PIL").removeHandler, nobody)
    undo.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    # Workflows of AI pictures have more than the megabyte that Pillow allows; all text has a limit, too.
    undo.callback(setattr, PngImagePlugin, "MAX_TEXT_CHUNK", PngImagePlugin.MAX_TEXT_CHUNK)
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY


def _set_limit() -> None:
    Image.MAX_IMAGE_PIXELS = (max(_Readers.limits_px) + 1) // 2  # Pillow refuses above its double
