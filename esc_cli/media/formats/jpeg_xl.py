"""JPEG XL: header facts that its Pillow plugin does not report, and the options of the plugin's encoder.

The plugin decodes the whole picture when it opens a file, so a few bytes could exhaust the memory. It returns
colors in 8 bits whatever the depth of the file, only the last frame of an animation, and no XMP. It writes no
color profile.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from PIL import Image
from PIL.ImageFile import ImageFile

from esc_cli.errors import InputError
from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.iso_boxes import Box, boxes_of
from esc_cli.media.metadata.companions import GAIN_MAP
from esc_cli.media.pillow import Opened, check_pixels, exif_orientation

if TYPE_CHECKING:
    from esc_cli.media.picture import Picture

_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_CODESTREAM = b"\xff\x0a"
_HEADER_BYTES = 512  # names of channels are in the header

# Source: ISO 18181-1, image header, as libjxl reads it (lib/jxl/headers.cc, image_metadata.cc). Two bits
# select one of four pairs: how many bits of a number follow, and what is added to the number.
_Choices = tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]
_SIDE: _Choices = ((9, 1), (13, 1), (18, 1), (30, 1))
_INTEGER_DEPTH: _Choices = ((0, 8), (0, 10), (0, 12), (6, 1))
_FLOAT_DEPTH: _Choices = ((0, 32), (0, 16), (0, 24), (6, 1))
_EXTRA_CHANNELS: _Choices = ((0, 0), (0, 1), (4, 2), (12, 1))
_ENUM: _Choices = ((0, 0), (0, 1), (4, 2), (6, 18))
_DIMENSION_SHIFT: _Choices = ((0, 0), (0, 3), (0, 4), (3, 1))
_NAME_BYTES: _Choices = ((0, 0), (4, 0), (5, 16), (10, 48))
_CFA_CHANNEL: _Choices = ((0, 1), (2, 0), (4, 3), (8, 19))
_ALPHA, _SPOT_COLOR, _BLACK, _CFA = 0, 2, 4, 5  # kinds of channels besides the colors
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))

# On 2.8 MP of upscaled photo, this effort takes 0.19 s/MP for 1.15 MB. The next effort takes 0.45 s/MP for
# 1.12 MB, and PNG needs 2.07 MB.
_LOSSLESS_EFFORT = 3
# At quality 90, this effort takes 0.29 s/MP for 47.2 dB at 177 kB. The effort below reaches 45.1 dB at
# 235 kB, and the efforts above take twice the time for 47.2 dB at 182 kB. AVIF reaches 45.7 dB at 225 kB.
_LOSSY_EFFORT = 5


class JpegXl(PictureFormat):
    """JPEG XL.

    Source: ISO 18181-2 for the signatures; level 5 of the Main profile, ISO 18181-1, annex M, for the limits.
    """

    name = "JPEG XL"
    pillow_name = "JXL"
    extensions = (".jxl",)
    signature = rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"
    largest_side_px = 2**18
    largest_px = 2**28
    lossy = True
    quality = 90
    holds = frozenset(("exif", "xmp"))
    extra = "jxl"
    module = "pillow_jxl"
    bytes_a_value = 0.2
    reading_memory = 8.0
    writing_memory = 22.0

    def load_plugin(self) -> None:
        """Import the plugin, which registers itself."""
        import pillow_jxl  # noqa: F401

    def open(self, file: IO[bytes], name: str, largest_px: int) -> ImageFile:
        """Check the header before the plugin opens the file, because the plugin decodes the whole file."""
        announced = announcement(file)
        check_pixels(announced.height * announced.width, name, largest_px)
        if announced.animated:  # the plugin would return only the last frame
            raise InputError(
                f"{name} is an animated JPEG XL, which is not supported", hint="convert it to PNG or GIF"
            )
        if announced.black:  # the plugin would return the other inks as red, green and blue
            raise InputError(
                f"{name} is a CMYK JPEG XL, whose black channel cannot be read", hint="convert it to TIFF"
            )
        xmp = xmp_of(file)
        image = super().open(file, name, largest_px)
        if xmp is not None:
            image.info["xmp"] = xmp
        if announced.premultiplied and image.mode in _PREMULTIPLIED:
            _say_premultiplied(image)
        return image

    def depth_bits(self, opened: Opened) -> int:
        """Read the bit depth from the file."""
        try:
            return announcement(io.BytesIO(opened.header)).depth_bits or 8
        except ValueError:
            return 8  # something else fills the first 64 KiB

    def orientation(self, image: Image.Image) -> int:
        """Return the EXIF orientation of a transcoded JPEG; the plugin returns other pictures upright."""
        return exif_orientation(image) if getattr(image, "jpeg", False) else 1

    def companions(self, opened: Opened) -> Iterator[str]:
        """Add gain maps. Source: ISO 18181-2, jhgm."""
        yield from super().companions(opened)
        if any(box.kind == b"jhgm" for box in _boxes(io.BytesIO(opened.header))):
            yield GAIN_MAP

    def keeps_hidden_colors(self, quality: int | None) -> bool:
        """Return whether the result is lossless, because libjxl blurs colors under alpha 0 otherwise."""
        return quality is None

    def pixel_options(self, picture: "Picture", quality: int | None) -> dict[str, Any]:
        """Return lossless options if there is no quality."""
        return pixel_options(quality)


_PREMULTIPLIED = {"RGBA": ("RGBA", "RGBa"), "LA": ("La", "La")}
"""Mode of an image, and mode of the data in it, for which Pillow divides the colors by alpha."""


def _say_premultiplied(image: Any) -> None:
    """Correct what the plugin says of its data: it does not know whether alpha is associated."""
    image._mode, image.rawmode = _PREMULTIPLIED[image.mode]


@dataclass(frozen=True)
class Announcement:
    """Facts from the header of a JPEG XL.

    Attributes:
        height: Stored height, in pixels, before the orientation is applied.
        width: Stored width, in pixels, before the orientation is applied.
        depth_bits: Bits per channel; None if a preview or the fields of an animation come before it.
        animated: Whether the file is an animation; False if the field is not found.
        premultiplied: Whether the colors are multiplied by alpha; False if the field is not found.
        black: Whether there is a channel of black ink; False if the field is not found.
    """

    height: int
    width: int
    depth_bits: int | None
    animated: bool
    premultiplied: bool = False
    black: bool = False


def announcement(file: IO[bytes]) -> Announcement:
    """Read the header of a JPEG XL.

    Raises:
        ValueError: There is no header, because the file is damaged.
    """
    codestream = next(_codestreams(file), b"")
    if not codestream.startswith(_CODESTREAM):
        raise ValueError("it contains no picture")
    bits = _Bits(codestream[len(_CODESTREAM) :])
    height, width = _size(bits)
    depth_bits, animated = _depth_and_animation(bits)
    if depth_bits is None:
        return Announcement(height, width, depth_bits, animated)
    return Announcement(height, width, depth_bits, animated, *_premultiplied_and_black(bits))


def xmp_of(file: IO[bytes]) -> bytes | None:
    """Return the XMP of a JPEG XL; compressed XMP (`brob`) is not read."""
    return next((file.read(box.content_bytes) for box in _boxes(file) if box.kind == b"xml "), None)


def pixel_options(quality: int | None) -> dict[str, Any]:
    """Return the options of the plugin's encoder.

    Args:
        quality: 1 to 100; None and 100 mean lossless.
    """
    if quality is None or quality == 100:  # the plugin fails in lossy mode at 100
        return {"lossless": True, "effort": _LOSSLESS_EFFORT}
    return {"quality": quality, "effort": _LOSSY_EFFORT}


# Boxes


def _codestreams(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the beginning of each part of the codestream; only the first part has the header."""
    file.seek(0)
    if not _is_container(file):
        file.seek(0)
        yield file.read(_HEADER_BYTES)
    for box in _boxes(file):
        if box.kind == b"jxlp":
            file.seek(4, 1)  # the number of the part
        if box.kind in (b"jxlc", b"jxlp"):
            yield file.read(_HEADER_BYTES)


def _boxes(file: IO[bytes]) -> Iterator[Box]:
    """Return the boxes of a container. A bare codestream has none. Source: ISO 18181-2, 9."""
    file.seek(0)
    return boxes_of(file) if _is_container(file) else iter(())


def _is_container(file: IO[bytes]) -> bool:
    return file.read(len(_CONTAINER)) == _CONTAINER


# The image header


class _Bits:
    """A reader of numbers in a codestream. The first bit of a byte is its lowest; zeros follow the end."""

    def __init__(self, content: bytes) -> None:
        self._value = int.from_bytes(content, "little")

    def take(self, count: int) -> int:
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        return value

    def clear(self) -> None:
        """Let zeros follow."""
        self._value = 0

    def choose(self, choices: _Choices) -> int:
        count, added = choices[self.take(2)]
        return self.take(count) + added


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.take(1) == 1
    height = _side(bits, small)
    ratio = bits.take(3)
    if ratio == 0:
        return height, _side(bits, small)
    across, down = _RATIOS[ratio - 1]
    return height, height * across // down


def _side(bits: _Bits, small: bool) -> int:
    return (bits.take(5) + 1) * 8 if small else bits.choose(_SIDE)


def _depth_and_animation(bits: _Bits) -> tuple[int | None, bool]:
    if bits.take(1):  # all fields have their defaults
        bits.clear()
        return 8, False
    if bits.take(1):  # more fields
        bits.take(3)  # the orientation
        if bits.take(1):
            _size(bits)  # the size at which the picture should be shown
        if bits.take(1):
            return None, False  # a preview
        if bits.take(1):
            return None, True
    return _depth(bits), False


def _depth(bits: _Bits) -> int:
    if not bits.take(1):
        return bits.choose(_INTEGER_DEPTH)
    depth_bits = bits.choose(_FLOAT_DEPTH)
    bits.take(4)  # the bits of the exponent
    return depth_bits


def _premultiplied_and_black(bits: _Bits) -> tuple[bool, bool]:
    bits.take(1)  # whether 16 bits are enough for the decoder
    channels = [_extra_channel(bits) for _ in range(bits.choose(_EXTRA_CHANNELS))]
    return (_ALPHA, True) in channels, (_BLACK, False) in channels


def _extra_channel(bits: _Bits) -> tuple[int, bool]:
    """Return the kind of a channel besides the colors, and whether it is alpha that is associated."""
    if bits.take(1):
        return _ALPHA, False
    kind = bits.choose(_ENUM)
    _depth(bits)
    bits.choose(_DIMENSION_SHIFT)
    bits.take(8 * bits.choose(_NAME_BYTES))
    if kind == _SPOT_COLOR:
        bits.take(4 * 16)
    if kind == _CFA:
        bits.choose(_CFA_CHANNEL)
    return kind, kind == _ALPHA and bits.take(1) == 1
