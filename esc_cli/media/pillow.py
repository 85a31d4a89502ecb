"""How this room uses Pillow: quietly, within our own limit, and with our own errors."""

import logging
import math
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError

from esc_cli.errors import InputError, OutOfMemoryError

if TYPE_CHECKING:
    from esc_cli.media.formats.base import PictureFormat

WIDE_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's modes of more than 8 bits: gray only."""

LARGEST_INPUT_PX = 500_000_000
"""Larger pictures are refused before they are decoded: a file of 44 bytes can claim four gigapixels."""

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


@dataclass(frozen=True)
class Opened:
    """A picture whose header has been read and whose pixels have not.

    Attributes:
        image: Pillow's handle; it may decode only inside `translated_errors`.
        format: The file's format.
        header: The first bytes of the file, at most 64 KiB.
        name: What to call the file in messages.
        largest_px: The most pixels that one picture in the file may have.
    """

    image: ImageFile.ImageFile
    format: "PictureFormat"
    header: bytes
    name: str
    largest_px: int = LARGEST_INPUT_PX


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


def _too_large(name: str, pixels: int) -> InputError:
    megapixels = math.ceil(pixels / 10**6)
    return InputError(
        f"{name} has {megapixels} megapixels, more than the limit",
        hint=f"if you trust it, allow them with --max-megapixels {megapixels}",
    )


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
