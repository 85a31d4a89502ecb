"""HEIC, decoded by pillow-heif with all 8, 10 or 12 bits per channel; its plugin for Pillow returns only 8.

pillow-heif applies the file's rotation and mirroring (irot, imir) and sets orientation 1 in EXIF and XMP.
HEIF requires this: the EXIF orientation only records what the camera had and must not be applied.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from esc_cli.errors import OutOfMemoryError, OutputError
from esc_cli.media.formats.base import ICC_EXIF_XMP, PictureFormat
from esc_cli.media.metadata.companions import companions_of_heif
from esc_cli.media.pillow import PILLOW_ERRORS, Opened, translated_errors

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from esc_cli.media.metadata.kinds import Metadata
    from esc_cli.media.picture import AnimationTiming, Picture
    from esc_cli.media.pixels.depth import Pixels

SIGNATURE = rb"....ftyp(?:(?:mif1|msf1).{4}(?:.{4}){0,15}?)?(?:heic|heix|heim|heis|hevc|hevx)"
"""Source: HEIF (ISO 23008-12), brands. "mif1" only means "HEIF family"; the compatible brands decide."""

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


class HeifFormat(PictureFormat):
    """The base class of HEIC and AVIF, which are different codecs in the same container."""

    lossy = True
    quality = 90
    holds = ICC_EXIF_XMP
    depths_bits = (8, 10, 12)

    def signalled_profile(self, image: Image.Image, header: bytes) -> bytes | None:
        """Make a color profile from nclx. Source: HEIF (ISO 23008-12), 6.5.5."""
        from esc_cli.media.color.signalling import profile_of_nclx

        return profile_of_nclx(image, header)

    def companions(self, opened: Opened) -> Iterator[str]:
        """Add gain maps, which are items of the file."""
        return iter(dict.fromkeys((*super().companions(opened), *companions_of_heif(opened.header))))


class Heic(HeifFormat):
    """HEIC.

    Source: the size limits are libheif's security limits, MAX_IMAGE_WIDTH and MAX_IMAGE_HEIGHT. They exceed
    all levels of H.265, which end at 16888 pixels per side and 36 megapixels (table A.8), but decoders
    accept larger files.
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
    reading_memory = 8.0
    writing_memory = 16.0

    def load_plugin(self) -> None:
        """Register the Pillow plugin of pillow-heif."""
        from pillow_heif import register_heif_opener

        register_heif_opener()

    def depth_bits(self, opened: Opened) -> int:
        """Return the bit depth that the plugin reports."""
        return int(opened.image.info.get("bit_depth", 8))

    def is_too_deep_for_pillow(self, opened: Opened) -> bool:
        """Return whether the picture has more than 8 bits.

        Pillow reduces all pictures to 8 bits. This includes gray, which the plugin puts in the lower bits.
        """
        return self.depth_bits(opened) > 8

    def decode_deep(self, opened: Opened, source: Path | bytes, page: int) -> "Pixels":
        """Decode the picture with pillow-heif, without Pillow."""
        from esc_cli.media.pixels.bits import depth_class
        from esc_cli.media.pixels.depth import Pixels

        return Pixels(deep_pixels(source, opened.name), depth_class(self.depth_bits(opened)))

    def missing_share(self, opened: Opened, content: bytes) -> float | None:
        """Return 1: pillow-heif decodes nothing of a damaged picture, and returns a black one if asked to."""
        return 1.0

    def encode_pixels(
        self,
        pictures: "Sequence[Picture]",
        timing: "AnimationTiming | None",
        metadata: "Metadata",
        quality: int | None,
    ) -> bytes:
        """Encode the single picture with its metadata."""
        from esc_cli.media.formats.encoding import metadata_blocks, values_of

        first = pictures[0]
        blocks = metadata_blocks(metadata)
        return encode_heif(values_of(first), first.depth_bits, quality or self.quality, blocks)


def deep_pixels(content: Path | bytes, name: str) -> "npt.NDArray[np.uint16]":
    """Decode the main picture of a HEIC with more than 8 bits per channel; the result is upright.

    Args:
        content: Path or content of the file.
        name: Name of the file in messages.

    Returns:
        Pixels of shape (H, W, C): gray, gray and alpha, RGB, or RGB and alpha. The values use the full range
        of uint16, and colors are not premultiplied by alpha.

    Raises:
        InputError: The file is damaged or incomplete.
        OutOfMemoryError: The pixels do not fit in memory.
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
    """Encode a HEIC with full chroma resolution (4:4:4).

    Args:
        pixels: Pixels of shape (H, W, C) with 1 to 4 channels: uint8 for a depth of 8 bits, otherwise uint16
            over its full range.
        depth_bits: 8, 10 or 12.
        quality: 1 to 100; all values from 95 on give the same result.
        metadata: Any of "icc_profile", "exif" and "xmp"; their orientation must be 1.

    Raises:
        OutputError: The picture cannot be encoded, for example if it is a few pixels high and very wide.
        OutOfMemoryError: There is not enough memory to encode the picture.
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
        raise OutputError(
            "the picture cannot be written as HEIC", hint="choose another format with -f"
        ) from error
    return content.getvalue()


def _samples(pixels: "npt.NDArray[Any]", depth_bits: int) -> bytes:
    """Return the bytes of the pixels.

    More than 8 bits are rounded to the depth and put in the upper bits of 16; pillow-heif would truncate.
    """
    from esc_cli.media.pixels.depth import quantized

    if depth_bits == 8:
        return pixels.tobytes()
    return (quantized(pixels, depth_bits) << (16 - depth_bits)).astype("<u2").tobytes()
