"""JPEG XL: what its plug-in for Pillow does not tell, read from the file, and how it is made to write.

The plug-in decodes all of a picture when it opens it, so that a few bytes could take all memory there is. It
gives colors in 8 bits, whatever the file has, the last frame of an animation, and no XMP; and it writes no
color profile.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from PIL import Image
from PIL.ImageFile import ImageFile

from esc_cli.errors import InputError
from esc_cli.media.formats.base import PictureFormat, exif_orientation
from esc_cli.media.pillow import Opened, check_pixels

if TYPE_CHECKING:
    from esc_cli.media.picture import Picture

_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_CODESTREAM = b"\xff\x0a"
_HEADER_BYTES = 64

# Source: ISO 18181-1, image header, as libjxl reads it (lib/jxl/headers.cc, image_metadata.cc). A choice of
# two bits each: how many bits of a number follow, and what is added to it.
_Choices = tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]
_SIDE: _Choices = ((9, 1), (13, 1), (18, 1), (30, 1))
_INTEGER_DEPTH: _Choices = ((0, 8), (0, 10), (0, 12), (6, 1))
_FLOAT_DEPTH: _Choices = ((0, 32), (0, 16), (0, 24), (6, 1))
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))

# On 2.8 MP of upscaled photo: 0.19 s/MP for 1.15 MB; the next effort takes 0.45 for 1.12, PNG has 2.07.
_LOSSLESS_EFFORT = 3
# 0.29 s/MP for 47.2 dB at 177 kB and quality 90; the effort below has 45.1 dB at 235 kB, those above take
# twice the time for 47.2 dB at 182 kB. AVIF: 45.7 dB at 225 kB.
_LOSSY_EFFORT = 5


class JpegXl(PictureFormat):
    """JPEG XL.

    Source: the signatures: ISO 18181-2; the limits: level 5 of the Main profile, ISO 18181-1, annex M.
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

    def load_plugin(self) -> None:
        """Import it, by which it registers itself."""
        import pillow_jxl  # noqa: F401

    def open(self, file: IO[bytes], name: str, largest_px: int) -> ImageFile:
        """Look at the file before its plug-in does, which decodes all of it at once."""
        announced = announcement(file)
        check_pixels(announced.height * announced.width, name, largest_px)
        if announced.animated:  # the plug-in would give its last frame for all of it
            raise InputError(
                f"{name} is an animated JPEG XL, which is not read", hint="convert it to PNG or GIF"
            )
        xmp = xmp_of(file)
        image = super().open(file, name, largest_px)
        if xmp is not None:
            image.info["xmp"] = xmp
        return image

    def depth_bits(self, opened: Opened) -> int:
        """Read it from the file."""
        try:
            return announcement(io.BytesIO(opened.header)).depth_bits or 8
        except ValueError:
            return 8  # something else fills the first 64 KiB

    def orientation(self, image: Image.Image) -> int:
        """Count EXIF in a repacked JPEG only: others come upright, as their codestream says."""
        return exif_orientation(image) if getattr(image, "jpeg", False) else 1

    def pixel_options(self, picture: "Picture", quality: int | None) -> dict[str, Any]:
        """Choose lossless, unless a quality is asked for or the source has lost something already."""
        from esc_cli.media.formats.encoding import is_lossy

        return pixel_options((quality or self.quality) if is_lossy(picture, quality) else None)


@dataclass(frozen=True)
class Announcement:
    """What the beginning of a JPEG XL says.

    Attributes:
        height: In pixels, as they are stored: the picture may yet have to be turned.
        width: In pixels, likewise.
        depth_bits: Bits a channel; None where it is not found (a preview comes before).
        animated: Whether it is an animation; False where that is not found.
    """

    height: int
    width: int
    depth_bits: int | None
    animated: bool


def announcement(file: IO[bytes]) -> Announcement:
    """Read what is said before the pixels.

    Raises:
        ValueError: Nothing is said, since the file is damaged.
    """
    codestream = next(_codestreams(file), b"")
    if not codestream.startswith(_CODESTREAM):
        raise ValueError("it holds no picture")
    bits = _Bits(codestream[len(_CODESTREAM) :])
    height, width = _size(bits)
    return Announcement(height, width, *_depth_and_animation(bits))


def xmp_of(file: IO[bytes]) -> bytes | None:
    """The XMP of a JPEG XL; one that is compressed (`brob`) is not read."""
    return next((file.read(length) for name, length in _boxes(file) if name == b"xml "), None)


def pixel_options(quality: int | None) -> dict[str, Any]:
    """Options of the plug-in.

    Args:
        quality: 1 to 100; None, like 100, keeps every pixel as it is.
    """
    if quality is None or quality == 100:  # the plug-in fails at a lossy 100
        return {"lossless": True, "effort": _LOSSLESS_EFFORT}
    return {"quality": quality, "effort": _LOSSY_EFFORT}


# Boxes


def _codestreams(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the beginning of each part of the picture; only the first part begins it."""
    file.seek(0)
    if not _is_container(file):
        file.seek(0)
        yield file.read(_HEADER_BYTES)
    for name, _ in _boxes(file):
        if name == b"jxlp":
            file.seek(4, 1)  # the number of the part
        if name in (b"jxlc", b"jxlp"):
            yield file.read(_HEADER_BYTES)


def _boxes(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Names and lengths of a container's boxes, the file standing at each one's data; -1: to the end.

    Source: ISO 18181-2, 9; ISO 14496-12, 4.2 (a length of 1: it follows in 64 bits; of 0: to the end).
    """
    file.seek(0)
    position = len(_CONTAINER) if _is_container(file) else None
    while position is not None:
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            return
        length, start = int.from_bytes(head[:4]), position + 8
        if length == 1:
            length, start = int.from_bytes(file.read(8)), position + 16
        to_the_end = length < start - position
        yield head[4:], -1 if to_the_end else position + length - start
        position = None if to_the_end else position + length


def _is_container(file: IO[bytes]) -> bool:
    return file.read(len(_CONTAINER)) == _CONTAINER


# The image header


class _Bits:
    """Numbers of a codestream, whose first bit is the lowest of a byte; zeros follow its end."""

    def __init__(self, content: bytes) -> None:
        self._value = int.from_bytes(content, "little")

    def take(self, count: int) -> int:
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        return value

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
    if bits.take(1):  # all is as usual
        return 8, False
    if bits.take(1):  # more fields
        bits.take(3)  # the orientation
        if bits.take(1):
            _size(bits)  # the size it should be shown in
        if bits.take(1):
            return None, False  # a preview
        if bits.take(1):
            return None, True
    floating = bits.take(1)
    return bits.choose(_FLOAT_DEPTH if floating else _INTEGER_DEPTH), False
