"""Pictures of more than 8 bits a channel, decoded and encoded by libvips: Pillow cuts their colors to 8.

libvips is loaded on first use: that takes 25 ms and 20 MB, which pictures of 8 bits need not pay.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from esc_cli.errors import InputError, OutputError

Array = npt.NDArray[Any]

_FIELDS = {"icc_profile": "icc-profile-data", "exif": "exif-data", "xmp": "xmp-data"}


def decode(
    source: Path | bytes, loader: str, name: str, *, fail_on: Sequence[str] = ("error",), **options: Any
) -> Array:
    """Decode a picture as it is stored, not turned or scaled, but with colors that alpha does not multiply.

    Args:
        source: A path, or a file's content.
        loader: The operation of libvips that reads the file's format, such as "pngload_buffer".
        name: What to call the file in messages.
        fail_on: What it fails at. If it fails without a description, it is tried with the next one.
        options: Of the loader.

    Returns:
        (H, W, C), of the file's own type and number of channels, which may be more than four.

    Raises:
        InputError: The file is damaged, incomplete or of a kind that libvips does not read.
    """
    # In memory: libvips takes names as UTF-8 and looks for options in them, but a file may have any name.
    content = source if isinstance(source, bytes) else source.read_bytes()
    load = getattr(libvips().Image, loader)
    for number, level in enumerate(fail_on, start=1):
        try:
            pixels: Array = load(content, access="sequential", fail_on=level, **options).numpy()
            return np.atleast_3d(pixels)
        except libvips().Error as error:
            if number < len(fail_on) and not error.detail.strip():
                continue
            # Its own words would not help: "Read error at row 4294967295".
            raise InputError(f"{name} is damaged, incomplete, or of a rare kind that is not read") from error
    raise ValueError("nothing to fail on")


def encode(
    pixels: Array,
    saver: str,
    options: Mapping[str, Any],
    format_name: str,
    metadata: Mapping[str, bytes] | None = None,
) -> bytes:
    """Encode a picture of more than 8 bits.

    Args:
        pixels: (H, W, C), uint16 or float32 of 1 to 4 channels; alpha is unassociated.
        saver: The operation of libvips that writes the format, such as "pngsave_buffer".
        options: Of the saver.
        format_name: Of the format, for messages.
        metadata: Any of "icc_profile", "exif" and "xmp".

    Raises:
        OutputError: It cannot be encoded.
    """
    with translated(OutputError, f"the picture cannot be written as {format_name}"):
        image = _image(pixels)
        for part, content in (metadata or {}).items():
            image.set_type(libvips().GValue.blob_type, _FIELDS[part], content)
        kept = [{"icc_profile": "icc"}.get(part, part) for part in metadata or ()]
        encoded: bytes = getattr(image, saver)(**options, keep=":".join(kept) or "none")
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
