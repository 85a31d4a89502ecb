"""Use Pillow without its warnings, with this program's limit on pixels, and with this program's errors.

Functions that ask Pillow about an image, such as whether it is gray, are here, too.
"""

import errno
import logging
import math
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from PIL import ExifTags, Image, ImageFile, PngImagePlugin, UnidentifiedImageError

from esc_cli.errors import DamageError, InputError, OutOfMemoryError
from esc_cli.media.damage import WhileKeeping
from esc_cli.media.libtiff import quiet_libtiff

if TYPE_CHECKING:
    from esc_cli.media.formats.base import PictureFormat

WIDE_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's modes of more than 8 bits per channel. All of them are gray."""

LARGEST_INPUT_PX = 500_000_000
"""Larger pictures are refused before they are decoded: a file of 44 bytes can claim four gigapixels."""

# Exceptions that Pillow's plug-ins raise on damaged files. No list is documented: these were observed when
# bytes of good files were changed at random, and some were added because they are of the same kind.
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


_ERRORS_OF_DAMAGE = (errno.EINVAL, errno.EOVERFLOW)
"""Errors of the system that follow from impossible positions in a file."""

_UNSUPPORTED = re.compile(r"unsupported|not (?:supported|implemented)|unknown", re.IGNORECASE)


def is_gray(image: Image.Image) -> bool:
    """Return whether the mode of an image is gray, of any depth and with or without alpha."""
    return Image.getmodebase(image.mode) == "L"


@dataclass(frozen=True)
class Opened:
    """A picture whose header has been read, but whose pixels have not.

    Attributes:
        image: Pillow's image. It may be decoded only inside `translated_errors`.
        format: The file's format.
        header: The first bytes of the file, at most 64 KiB.
        name: Name of the file in messages.
        largest_px: Maximum number of pixels of one picture in the file.
    """

    image: ImageFile.ImageFile
    format: "PictureFormat"
    header: bytes
    name: str
    largest_px: int = LARGEST_INPUT_PX


def converted_mode(image: Image.Image) -> str | None:
    """Return the mode of an image whose colors are converted to sRGB, otherwise None."""
    return image.mode if image.mode in ("CMYK", "LAB") else None


def is_deep_color_still(opened: Opened, depth_bits: int) -> bool:
    """Return whether a file is a still whose bits Pillow would drop.

    Pillow keeps the bits of gray stills. Animations are left to Pillow, which composes their frames.
    """
    image = opened.image
    animated = getattr(image, "n_frames", 1) > 1
    return image.mode not in WIDE_MODES and depth_bits > 8 and not animated


def exif_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if it is missing or broken."""
    try:
        # PNG's own method would decode the whole picture to find EXIF after the pixels.
        value = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except PILLOW_ERRORS:
        return 1
    return value if value in range(1, 9) else 1


def check_size(file: Opened) -> None:
    """Refuse a picture that has too many pixels.

    If the file holds several frames or pages, the current one is checked.

    Raises:
        InputError: The picture has too many pixels.
    """
    check_pixels(file.image.height * file.image.width, file.name, file.largest_px)


def check_pixels(count_px: int, name: str, largest_px: int) -> None:
    """Refuse a file that decodes to more pixels than are allowed.

    Raises:
        InputError: The file decodes to more pixels.
    """
    if count_px > largest_px:
        raise _too_large(name, count_px)


@contextmanager
def translated_errors(name: str) -> Iterator[None]:
    """Translate exceptions that Pillow raises inside the context into this program's errors.

    Raises:
        InputError: The file is too large or cannot be read.
        DamageError: The file is damaged.
        OutOfMemoryError: The pixels do not fit in memory.
    """
    try:
        yield
    except Image.DecompressionBombError as error:
        pixels = re.search(r"(\d+) pixels", str(error))
        raise _too_large(name, int(pixels[1]) if pixels else LARGEST_INPUT_PX) from error
    except UnidentifiedImageError as error:
        raise InputError(f"{name} is damaged or of an unsupported kind") from error
    except MemoryError as error:
        raise OutOfMemoryError(f"{name} does not fit in memory") from error
    except PILLOW_ERRORS as error:
        raise _damage(name, error) from error


def _damage(name: str, error: Exception) -> InputError:
    """Describe an error in our own words: those of the libraries help nobody, or are wrong."""
    if isinstance(error, OSError) and error.strerror and error.errno not in _ERRORS_OF_DAMAGE:
        return InputError(f"{name} cannot be read: {error.strerror}")
    reason = str(error)
    if "MAX_TEXT" in reason:
        limit_mb = PngImagePlugin.MAX_TEXT_MEMORY >> 20
        return InputError(f"{name} holds more than {limit_mb} MB of text or color profile")
    if _UNSUPPORTED.search(reason):
        return DamageError(f"{name} is damaged or of an unsupported kind")
    return DamageError(f"{name} is damaged or incomplete")


def undecoded_share(images: Iterable[ImageFile.ImageFile]) -> float:
    """Decode a damaged picture over two colors, and return the share of pixels that stay as they were.

    Args:
        images: The same picture, opened twice. Pillow must decode it row by row.
    """
    import numpy as np

    decoded = []
    for image, color in zip(images, (0, 255), strict=True):
        bands = len(image.getbands())
        image.im = Image.new(image.mode, image.size, color if bands == 1 else (color,) * bands).im
        try:
            image.load()
        except PILLOW_ERRORS:
            image.tile = []  # so that Pillow does not begin again
        decoded.append(np.atleast_3d(np.asarray(image)))
    first, second = decoded
    return float((first != second).any(axis=2).mean())


def _too_large(name: str, pixels: int) -> InputError:
    megapixels = math.ceil(pixels / 10**6)
    return InputError(
        f"{name} has {megapixels} megapixels, more than the limit",
        hint=f"if you trust the file, raise the limit with --max-megapixels {megapixels}",
    )


class _Readers:
    """The limits of the threads inside `quiet_pillow`, and the settings that the last thread restores."""

    lock = threading.Lock()
    limits_px: ClassVar[list[int]] = []
    undo = ExitStack()


@contextmanager
def quiet_pillow(largest_px: int = LARGEST_INPUT_PX) -> Iterator[None]:
    """Silence Pillow's warnings and replace its limit on pixels while any thread reads.

    Both are settings of the process, and pictures are read in several threads. So the first reader changes
    them and the last one restores them; `warnings.catch_warnings` in each thread would restore them out of
    order.

    Args:
        largest_px: Maximum number of pixels of a picture that is decoded. With several readers, Pillow's
            limit is the largest of theirs. It guards the places where Pillow allocates memory before the size
            is known. Each reader still applies its own limit to the pictures that pass.
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
    # Pillow also logs its warnings, and log messages that nobody handles go to stderr.
    nobody = logging.NullHandler()
    logging.getLogger("PIL").addHandler(nobody)
    undo.callback(logging.getLogger("PIL").removeHandler, nobody)
    undo.enter_context(quiet_libtiff())
    undo.callback(setattr, ImageFile, "LOAD_TRUNCATED_IMAGES", ImageFile.LOAD_TRUNCATED_IMAGES)
    ImageFile.LOAD_TRUNCATED_IMAGES = WhileKeeping()  # type: ignore[assignment] # only asked whether it is true
    undo.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    # Workflows in AI pictures exceed the megabyte that Pillow allows per chunk. All text is still limited.
    undo.callback(setattr, PngImagePlugin, "MAX_TEXT_CHUNK", PngImagePlugin.MAX_TEXT_CHUNK)
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY


def _set_limit() -> None:
    Image.MAX_IMAGE_PIXELS = (max(_Readers.limits_px) + 1) // 2  # Pillow refuses more than twice this
