"""Pictures of more than 8 bits a channel, decoded and encoded by libvips: Pillow cuts their colors to 8.

libvips is loaded on first use: that takes 25 ms and 20 MB, which pictures of 8 bits need not pay.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from esc_cli.errors import InputError, OutputError
from esc_cli.media.avif import with_exif

Array = npt.NDArray[Any]

Decoded = Literal["PNG", "TIFF", "AVIF"]
"""The formats that this module decodes and encodes."""

# Two thirds of the time of zlib's level 6 for as many bytes, with the plainest filter that helps: on 3 MP of
# upscaled photo in 16 bits 0.075 s/MP and 58.3 % of raw, against 0.044 and 74.1 at level 1 without a filter,
# and 0.120 and 56.5 with all filters tried.
_PNG = {"compression": 4, "filter": "sub"}
# Deflate and differences: 0.079 s/MP and 57 % of raw on the same photo; LZW takes 0.082 for 79 %. Floats:
# 0.147 s/MP and 44 %; LZW takes 0.137 for 54 %.
_TIFF = {"compression": "deflate"}
# Effort 3: 0.35 s/MP at 58 kB on a page of text; effort 4 takes 1.7 s for 54 kB, and Pillow's encoder, in 8
# bits, 0.29 s for 56 kB.
_AVIF = {"compression": "av1", "effort": 3, "subsample_mode": "off"}

_NO_TAGS = b"Exif\0\0II*\0\x08\0\0\0" + bytes(6)
"""The smallest EXIF, which only holds a place."""

_FIELDS = {"icc_profile": "icc-profile-data", "exif": "exif-data", "xmp": "xmp-data"}


def decode(source: Path | bytes, format: Decoded, name: str, page: int = 0) -> Array:
    """Decode a picture as it is stored, not turned or scaled, but with colors that alpha does not multiply.

    Args:
        source: A path, or a file's content.
        format: Of the file; no other is tried.
        name: What to call the file in messages.
        page: Of a TIFF, from 0.

    Returns:
        (H, W, C), of the file's own type and number of channels, which may be more than four. 10 and 12 bits
        of AVIF are the upper ones of 16.

    Raises:
        InputError: The file is damaged, incomplete or of a kind that libvips does not read.
    """
    # In memory: libvips takes names as UTF-8 and looks for options in them, but a file may have any name.
    content = source if isinstance(source, bytes) else source.read_bytes()
    try:
        pixels = _decode_tiff(content, page) if format == "TIFF" else _decode(content, format, "error")
    except libvips().Error as error:
        # Its own words would not help: "Read error at row 4294967295".
        raise InputError(f"{name} is damaged, incomplete, or of a rare kind that is not read") from error
    return np.atleast_3d(pixels)


def _decode_tiff(content: bytes, page: int) -> Array:
    """Decode a page, or fail at a tile that is damaged or not there.

    To libvips such a tile is only worth a warning, and black. But so are oddities that do no harm, which it
    does not describe when it fails.
    """
    try:
        return _decode(content, "TIFF", "warning", page=page)
    except libvips().Error as error:
        if error.detail.strip():
            raise
        return _decode(content, "TIFF", "error", page=page)


def _decode(content: bytes, format: Decoded, fail_on: str, **options: int) -> Array:
    load = getattr(libvips().Image, _LOADERS[format])
    pixels: Array = load(content, access="sequential", fail_on=fail_on, **options).numpy()
    return pixels


def encode_png(pixels: Array) -> bytes:
    """Encode (H, W, C) uint16 of 1 to 4 channels as a PNG of 16 bits, without metadata.

    Raises:
        OutputError: It cannot be encoded.
    """
    return _encode(pixels, "PNG", _PNG)


def encode_tiff(pixels: Array, large: bool = False) -> bytes:
    """Encode a TIFF, without metadata; alpha is marked as unassociated.

    Args:
        pixels: (H, W, C), uint16 or float32 of 1 to 4 channels.
        large: Write a BigTIFF, which may exceed 4 GiB.

    Raises:
        OutputError: It cannot be encoded.
    """
    predictor = "float" if pixels.dtype.kind == "f" else "horizontal"
    return _encode(pixels, "TIFF", {**_TIFF, "predictor": predictor, "bigtiff": large})


def encode_avif(pixels: Array, bits: int, quality: int, metadata: Mapping[str, bytes]) -> bytes:
    """Encode an AVIF with full color resolution (4:4:4); gray becomes equal colors.

    Args:
        pixels: (H, W, C), uint16 over its whole range.
        bits: 10 or 12; of each number the upper ones are taken.
        quality: 1 to 100.
        metadata: Any of "icc_profile", "exif" and "xmp".

    Raises:
        OutputError: It cannot be encoded.
    """
    options = {**_AVIF, "bitdepth": bits, "Q": quality}
    exif = metadata.get("exif")
    if exif is None:
        return _encode(pixels, "AVIF", options, metadata)
    return with_exif(_encode(pixels, "AVIF", options, {**metadata, "exif": _NO_TAGS}), exif)


_LOADERS = {"PNG": "pngload_buffer", "TIFF": "tiffload_buffer", "AVIF": "heifload_buffer"}
_SAVERS = {"PNG": "pngsave_buffer", "TIFF": "tiffsave_buffer", "AVIF": "heifsave_buffer"}


def _encode(
    pixels: Array, format: Decoded, options: Mapping[str, Any], metadata: Mapping[str, bytes] | None = None
) -> bytes:
    with translated(OutputError, f"the picture cannot be written as {format}"):
        image = _image(pixels)
        for part, content in (metadata or {}).items():
            image.set_type(libvips().GValue.blob_type, _FIELDS[part], content)
        kept = [{"icc_profile": "icc"}.get(part, part) for part in metadata or ()]
        encoded: bytes = getattr(image, _SAVERS[format])(**options, keep=":".join(kept) or "none")
    return encoded


def _image(pixels: Array) -> Any:
    """A libvips image over the same memory."""
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
    """Turn libvips's errors into ours: of the lines of a libvips error, the last one says most.

    Args:
        error_class: Of our error.
        message: What has failed.

    Raises:
        InputError, OutputError: Something has failed.
    """
    try:
        yield
    except libvips().Error as error:
        lines = [line.strip() for line in str(error.detail).splitlines() if line.strip()]
        reason = f" ({lines[-1].rstrip('.')})" if lines else ""
        raise error_class(f"{message}{reason}") from error


@cache
def libvips() -> ModuleType:
    """Give the library, with settings that suit a program which opens thousands of files once each.

    Its warnings go to Python's logger "pyvips", which nobody hears who does not listen.
    """
    theirs = "pyvips" in sys.modules  # whoever imports this program may use libvips in its own way
    import pyvips

    if not theirs:
        pyvips.cache_set_max(0)  # it would hold the files and pixels of the last operations
        # As many threads as the machine has cores would start for each picture, to no gain: the codecs of PNG
        # and TIFF work on one strip after the other, and that of AVIF has its own threads.
        pyvips.vips_lib.vips_concurrency_set(1)
    module: ModuleType = pyvips
    return module
