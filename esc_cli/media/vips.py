"""Decode and encode pictures of more than 8 bits per channel with libvips; Pillow reduces color to 8 bits.

libvips is loaded on first use: loading takes 25 ms and 20 MB, which 8-bit pictures do not need to spend.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from esc_cli.errors import DamageError, InputError, OutputError
from esc_cli.media.damage import keeps_damaged

Array = npt.NDArray[Any]

_FIELDS = {"icc_profile": "icc-profile-data", "exif": "exif-data", "xmp": "xmp-data"}


def decode(
    source: Path | bytes, loader: str, name: str, *, fail_on: Sequence[str] = ("error",), **options: Any
) -> Array:
    """Decode a picture as it is stored, not turned or scaled, but with colors that are not premultiplied.

    Args:
        source: A path, or the content of a file.
        loader: The libvips operation that reads the file's format, such as "pngload_buffer".
        name: Name of the file in messages.
        fail_on: The libvips levels of errors at which decoding fails. The next level is tried if
            decoding fails without a description. What can be read of a damaged picture is returned in any
            case inside `keeping_damaged`.
        options: Options of the loader.

    Returns:
        Array of shape (H, W, C) with the file's own type and number of channels, which may be more than four.

    Raises:
        DamageError: The file is damaged, incomplete or of a kind that libvips does not read.
    """
    # From memory: libvips takes names as UTF-8 and looks for options in them, but a file may have any name.
    content = source if isinstance(source, bytes) else source.read_bytes()
    load = getattr(libvips().Image, loader)
    fail_on = ("none",) if keeps_damaged() else fail_on
    for number, level in enumerate(fail_on, start=1):
        try:
            pixels: Array = load(content, access="sequential", fail_on=level, **options).numpy()
            return np.atleast_3d(pixels)
        except libvips().Error as error:
            if number < len(fail_on) and not error.detail.strip():
                continue
            # The message of libvips would not help: "Read error at row 4294967295".
            raise DamageError(f"{name} is damaged, incomplete, or of an unsupported kind") from error
    raise ValueError("fail_on must not be empty")


@dataclass(frozen=True)
class Header:
    """What libvips knows of a picture before it decodes it.

    Attributes:
        height: Height in pixels, as `decode` returns it.
        width: Width in pixels, as `decode` returns it.
        channels: Number of channels that `decode` returns.
        metadata: Metadata blocks, under any of the keys "icc_profile", "exif" and "xmp".
    """

    height: int
    width: int
    channels: int
    metadata: Mapping[str, bytes]


def header(content: bytes, loader: str) -> Header:
    """Read the header of a picture.

    Args:
        content: Content of a file.
        loader: The libvips operation that reads the file's format.

    Raises:
        ValueError: The file is damaged or of a kind that libvips does not read.
    """
    try:
        image = getattr(libvips().Image, loader)(content, access="sequential")
    except libvips().Error as error:
        raise ValueError("libvips does not read the header") from error
    fields = {part: field for part, field in _FIELDS.items() if image.get_typeof(field)}
    metadata = {part: image.get(field) for part, field in fields.items()}
    return Header(image.height, image.width, image.bands, metadata)


def warning(content: bytes, loader: str, texts: Sequence[str], **options: Any) -> bool:
    """Return whether libvips warns of one of some texts when it decodes a picture, without its pixels.

    Args:
        content: Content of the file.
        loader: The libvips operation that reads the file's format.
        texts: Parts of the warnings that count. A decoder reports only its first warning.
        options: Options of the loader.
    """
    try:
        getattr(libvips().Image, loader)(content, access="sequential", fail_on="warning", **options).avg()
    except libvips().Error as error:
        return any(text in error.detail for text in texts)
    return False


def encode(
    pixels: Array,
    saver: str,
    options: Mapping[str, Any],
    format_name: str,
    metadata: Mapping[str, bytes] | None = None,
) -> bytes:
    """Encode a picture of more than 8 bits.

    Args:
        pixels: Array of shape (H, W, C), uint16 or float32, with 1 to 4 channels, not premultiplied by alpha.
        saver: The libvips operation that writes the format, such as "pngsave_buffer".
        options: Options of the saver.
        format_name: Name of the format in messages.
        metadata: Metadata blocks under any of the keys "icc_profile", "exif" and "xmp".

    Raises:
        OutputError: The picture cannot be encoded.
    """
    with translated(OutputError, f"the picture cannot be written as {format_name}"):
        image = _image(pixels)
        for part, content in (metadata or {}).items():
            image.set_type(libvips().GValue.blob_type, _FIELDS[part], content)
        kept = [{"icc_profile": "icc"}.get(part, part) for part in metadata or ()]
        encoded: bytes = getattr(image, saver)(**options, keep=":".join(kept) or "none")
    return encoded


def _image(pixels: Array) -> Any:
    """Make a libvips image that shares the array's memory."""
    height, width, channels = pixels.shape
    type = "float" if pixels.dtype.kind == "f" else "ushort"
    if type == "float":
        space = "b-w" if channels <= 2 else "scrgb"
    else:
        space = "grey16" if channels <= 2 else "rgb16"
    data = np.ascontiguousarray(pixels).data
    return libvips().Image.new_from_memory(data, width, height, channels, type).copy(interpretation=space)


@contextmanager
def translated(error_class: type[InputError] | type[OutputError], message: str) -> Iterator[None]:
    """Translate libvips errors into this program's errors.

    Args:
        error_class: Class of the error to raise.
        message: Description of what has failed.

    Raises:
        InputError, OutputError: libvips has raised an error.
    """
    try:
        yield
    except libvips().Error as error:
        raise error_class(message) from error


@cache
def libvips() -> ModuleType:
    """Return the library, with settings that suit a program that opens thousands of files once each.

    Its warnings go to Python's logger "pyvips" and are not shown unless somebody handles them.
    """
    theirs = "pyvips" in sys.modules  # a program that imports this one may use libvips in its own way
    import pyvips

    if not theirs:
        pyvips.cache_set_max(0)  # the cache would hold the files and pixels of recent operations
        # Otherwise, one thread per CPU core would start for each picture, without any gain: the codecs of PNG
        # and TIFF process one strip after the other, and the codec of AVIF has its own threads.
        pyvips.vips_lib.vips_concurrency_set(1)
    module: ModuleType = pyvips
    return module
