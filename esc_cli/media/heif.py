"""HEIC through pillow-heif: all of its 8, 10 or 12 bits a channel, where the plug-in for Pillow gives 8.

pillow-heif applies the file's turns and mirrorings (irot, imir) and sets orientation 1 in EXIF and XMP, which
is what HEIF wants: EXIF's orientation only tells what a camera had, and is not to be applied.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from esc_cli.errors import OutOfMemoryError, OutputError
from esc_cli.media.depth import from_integers, quantized, unpremultiplied
from esc_cli.media.pillow import PILLOW_ERRORS, translated_errors

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def deep_pixels(content: Path | bytes, name: str) -> npt.NDArray[np.uint16]:
    """Decode the main picture of a HEIC of more than 8 bits a channel, upright.

    Args:
        content: A path, or a file's content.
        name: What to call the file in messages.

    Returns:
        (H, W, C): gray, gray and alpha, RGB, or RGB and alpha, which colors are not multiplied by; over the
        whole range of uint16.

    Raises:
        InputError: The file is damaged or incomplete.
        OutOfMemoryError: Its pixels do not fit in memory.
    """
    import pillow_heif

    with translated_errors(name):
        source = io.BytesIO(content) if isinstance(content, bytes) else content
        file = pillow_heif.open_heif(source, convert_hdr_to_8bit=False, hdr_to_16bit=False)
        image = file[file.primary_index]
        values = np.atleast_3d(np.asarray(image))
        bits: Any = image.info["bit_depth"]
        pixels = from_integers(values, bits).values
        return unpremultiplied(pixels) if image.premultiplied_alpha else pixels


def encode_heif(
    pixels: npt.NDArray[Any], depth_bits: int, quality: int, metadata: Mapping[str, bytes]
) -> bytes:
    """Encode a HEIC with full color resolution (4:4:4).

    Args:
        pixels: (H, W, C), C from 1 to 4: uint8 for a depth of 8 bits, else uint16 over its whole range.
        depth_bits: 8, 10 or 12.
        quality: 1 to 100; from 95 on they are the same.
        metadata: Any of "icc_profile", "exif" and "xmp"; their orientation has to be 1.

    Raises:
        OutputError: It cannot be encoded, such as a picture of a few pixels in height and many in width.
        OutOfMemoryError: There is not enough memory to encode it.
    """
    import pillow_heif

    height, width, channels = pixels.shape
    mode = _MODES[channels] + ("" if depth_bits == 8 else ";16")
    content = io.BytesIO()
    try:
        pillow_heif.encode(
            mode,
            (width, height),
            _samples(pixels, depth_bits),
            content,
            quality=quality,
            chroma=444,
            bit_depth=depth_bits,
            **metadata,
        )
    except MemoryError as error:
        raise OutOfMemoryError("there is not enough memory to write HEIC") from error
    except PILLOW_ERRORS as error:
        raise OutputError(f"the picture cannot be written as HEIC ({error})") from error
    return content.getvalue()


def _samples(pixels: npt.NDArray[Any], depth_bits: int) -> bytes:
    """Bytes of the pixels; the upper bits of 16 hold the nearest of fewer, where pillow-heif just cuts."""
    if depth_bits == 8:
        return pixels.tobytes()
    return (quantized(pixels, depth_bits) << (16 - depth_bits)).astype("<u2").tobytes()
