"""HEIC through pillow-heif: all of its 8, 10 or 12 bits a channel, where the plug-in for Pillow gives 8.

pillow-heif applies the file's turns and mirrorings (irot, imir) and sets orientation 1 in EXIF and XMP, which
is what HEIF wants: EXIF's orientation only tells what a camera had, and is not to be applied.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from esc_cli.errors import OutOfMemoryError, OutputError
from esc_cli.media.formats.base import ICC_EXIF_XMP, PictureFormat
from esc_cli.media.pillow import PILLOW_ERRORS, Opened, translated_errors

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from esc_cli.media.picture import AnimationTiming, Metadata, Picture
    from esc_cli.media.pixels.depth import Pixels

SIGNATURE = rb"....ftyp(?:(?:mif1|msf1).{4}(?:.{4}){0,15}?)?(?:heic|heix|heim|heis|hevc|hevx)"
"""Source: HEIF (ISO 23008-12), brands. "mif1" says only "HEIF family": what it is compatible with decides."""

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


class HeifFormat(PictureFormat):
    """What HEIC and AVIF have in common, which are codecs in one kind of file."""

    lossy = True
    quality = 90
    holds = ICC_EXIF_XMP
    depths_bits = (8, 10, 12)

    def signalled_profile(self, image: Image.Image, header: bytes) -> bytes | None:
        """Read nclx. Source: HEIF (ISO 23008-12), 6.5.5."""
        from esc_cli.media.color.signalling import profile_of_nclx

        return profile_of_nclx(image, header)


class Heic(HeifFormat):
    """HEIC.

    Source: the limits: libheif's security limit, MAX_IMAGE_WIDTH and _HEIGHT; larger than any level of H.265,
    which ends at 16888 a side and 36 megapixels (table A.8), but its decoders do not mind.
    """

    name = "HEIC"
    pillow_name = "HEIF"
    extensions = (".heic", ".heif")
    signature = SIGNATURE
    largest_side_px = 32_768
    largest_px = 32_768**2
    extra = "heic"
    module = "pillow_heif"
    bytes_a_value = 0.09

    def load_plugin(self) -> None:
        """Register pillow-heif."""
        from pillow_heif import register_heif_opener

        register_heif_opener()

    def depth_bits(self, opened: Opened) -> int:
        """Ask the plug-in."""
        return int(opened.image.info.get("bit_depth", 8))

    def is_too_deep_for_pillow(self, opened: Opened) -> bool:
        """Pillow cuts all, gray too, which the plug-in puts in the lower bits."""
        return self.depth_bits(opened) > 8

    def decode_deep(self, opened: Opened, source: Path | bytes, page: int) -> "Pixels":
        """Decode with pillow-heif, without Pillow."""
        from esc_cli.media.header import depth_class
        from esc_cli.media.pixels.depth import Pixels

        return Pixels(deep_pixels(source, opened.name), depth_class(self.depth_bits(opened)))

    def encode_pixels(
        self,
        pictures: "Sequence[Picture]",
        timing: "AnimationTiming | None",
        metadata: "Metadata",
        quality: int | None,
    ) -> bytes:
        """Encode the only picture, with its metadata."""
        from esc_cli.media.formats.encoding import metadata_blocks, values_of

        first = pictures[0]
        blocks = metadata_blocks(metadata)
        return encode_heif(values_of(first), first.depth_bits, quality or self.quality, blocks)


def deep_pixels(content: Path | bytes, name: str) -> "npt.NDArray[np.uint16]":
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
    import numpy as np
    import pillow_heif

    from esc_cli.media.pixels.depth import from_integers, unpremultiplied

    with translated_errors(name):
        source = io.BytesIO(content) if isinstance(content, bytes) else content
        file = pillow_heif.open_heif(source, convert_hdr_to_8bit=False, hdr_to_16bit=False)
        image = file[file.primary_index]
        values = np.atleast_3d(np.asarray(image))
        bits: Any = image.info["bit_depth"]
        pixels = from_integers(values, bits).values
        return unpremultiplied(pixels) if image.premultiplied_alpha else pixels


def encode_heif(
    pixels: "npt.NDArray[Any]", depth_bits: int, quality: int, metadata: Mapping[str, bytes]
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


def _samples(pixels: "npt.NDArray[Any]", depth_bits: int) -> bytes:
    """Bytes of the pixels; the upper bits of 16 hold the nearest of fewer, where pillow-heif just cuts."""
    from esc_cli.media.pixels.depth import quantized

    if depth_bits == 8:
        return pixels.tobytes()
    return (quantized(pixels, depth_bits) << (16 - depth_bits)).astype("<u2").tobytes()
