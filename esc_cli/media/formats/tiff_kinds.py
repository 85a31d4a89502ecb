"""Decide which library reads each kind of TIFF.

Pillow reads every header, and it decodes the usual kinds of 8 bits. This module registers more kinds in
Pillow. libvips decodes them, and those that Pillow would reduce or read wrongly (``tiff_decoding``).
"""

import os
from collections.abc import Iterator, Mapping
from enum import IntEnum
from functools import cache
from typing import IO, Any, cast

from PIL import Image, TiffImagePlugin
from PIL.ExifTags import Base as Tag
from PIL.TiffImagePlugin import TiffImageFile

from esc_cli.errors import InputError
from esc_cli.media.damage import keeps_damaged
from esc_cli.media.formats.tiff_pages import TiffContents, contents_of
from esc_cli.media.pillow import PILLOW_ERRORS

# Source: TIFF 6.0, sections 8 (compression, planes), 18 and 19 (samples), 16 to 18, 21 and 23 (colors).
_PLACES = frozenset((Tag.StripOffsets, Tag.TileOffsets))
_UNSIGNED, _SIGNED, _FLOATING = 1, 2, 3
_SEPARATE_PLANES = 2
_UNKNOWN, _ASSOCIATED, _UNASSOCIATED = 0, 1, 2
_DEFAULT_SUBSAMPLING = (2, 2)
_RAW, _WEBP = 1, 50_001
_LZMA, _ZSTANDARD = 34_925, 50_000
_ONLY_PILLOW = (_LZMA, _ZSTANDARD)
"""Compressions that the libtiff of libvips lacks."""


class Photometric(IntEnum):
    """What samples mean.

    Source: TIFF 6.0, PhotometricInterpretation; TIFF technical note 4 for ICCLab.
    """

    WHITE_IS_ZERO = 0
    BLACK_IS_ZERO = 1
    RGB = 2
    PALETTE = 3
    CMYK = 5
    YCBCR = 6
    CIELAB = 8
    ICCLAB = 9


ALPHA_MODES = ("LA", "La", "RGBA")
"""Pillow's modes of pages with alpha, apart from palettes."""

COLORS: dict[int, int] = {
    Photometric.WHITE_IS_ZERO: 1,
    Photometric.BLACK_IS_ZERO: 1,
    Photometric.RGB: 3,
    Photometric.CMYK: 4,
    Photometric.YCBCR: 3,
    Photometric.CIELAB: 3,
    Photometric.ICCLAB: 3,
}
"""Number of color channels by PhotometricInterpretation."""

CONVERTED: dict[int, str] = {
    Photometric.CMYK: "CMYK",
    Photometric.CIELAB: "LAB",
    Photometric.ICCLAB: "LAB",
}
"""Color spaces that are converted to sRGB, as Pillow's modes."""

_NAMES: dict[int, str] = {
    Photometric.WHITE_IS_ZERO: "gray",
    Photometric.BLACK_IS_ZERO: "gray",
    Photometric.RGB: "RGB",
    Photometric.PALETTE: "a palette",
    4: "a mask",
    Photometric.CMYK: "CMYK",
    Photometric.YCBCR: "YCbCr",
    Photometric.CIELAB: "Lab",
    Photometric.ICCLAB: "Lab",
    10: "Lab (ITU)",
    32_844: "LogL",
    32_845: "LogLuv",
}
_COMPRESSIONS = {
    _LZMA: "LZMA",
    _ZSTANDARD: "Zstandard",
    33_003: "JPEG 2000",
    33_005: "JPEG 2000",
    34_712: "JPEG 2000",
    34_887: "LERC",
    50_002: "JPEG XL",
    52_546: "JPEG XL",
}
_TYPES = {_SIGNED: " with a sign", _FLOATING: " (floats)", 5: " (complex)", 6: " (complex)"}


class TiffPages(TiffImageFile):
    """Pillow's TIFF, with four differences.

    Pillow takes planes apart while it opens a page, and fails where it does not expect them. libvips decodes
    planes, so Pillow does not see that there are any. A page that nothing here reads is refused by its kind.
    Overviews and masks are not pages. A palette of 8 bits, as old programs write it, is not black.
    Source: libtiff's tif_getimage.c (checkcmap).

    Attributes:
        in_planes: Whether the current page has a plane for each channel; there may be only one.
        contents: The pages among the directories; None if the file is damaged.
    """

    in_planes = False
    contents: TiffContents | None = None

    def _seek(self, frame: int) -> None:
        if not self._frame_pos:
            self._leave_out_others()
        super()._seek(frame)

    def _leave_out_others(self) -> None:
        """If a file has more than pages, let Pillow know where the pages are, so that it seeks no others."""
        file = cast(IO[bytes], self._fp)
        size_bytes = file.seek(0, os.SEEK_END)
        try:
            self.contents = contents_of(file)
        except PILLOW_ERRORS:
            return  # Pillow reports the damage, or reads on in spite of it
        if not (self.contents.overviews or self.contents.masks):
            return
        self._frame_pos = list(self.contents.starts)
        self._tag_data_limits = [size_bytes] * len(self._frame_pos)
        self._n_frames = len(self._frame_pos)
        self.is_animated = self._n_frames > 1

    def directory_number(self, page: int) -> int:
        """Return the number of a page among all directories of the file."""
        return page if self.contents is None else self.contents.numbers[page]

    def _setup(self) -> None:
        self.in_planes = self.tag_v2.get(Tag.PlanarConfiguration, 1) == _SEPARATE_PLANES
        if Tag.PlanarConfiguration in self.tag_v2:
            self.tag_v2[Tag.PlanarConfiguration] = 1
        if max(self.tag_v2.get(Tag.ColorMap, (0,))) in range(1, 256):
            self.tag_v2[Tag.ColorMap] = tuple(257 * value for value in self.tag_v2[Tag.ColorMap])
        try:
            super()._setup()
        except (SyntaxError, LookupError) as error:
            if _PLACES.isdisjoint(self.tag_v2.keys()):
                raise
            raise self._unsupported() from error
        if _is_unreadable(self):
            raise self._unsupported()

    def _unsupported(self) -> InputError:
        return InputError(f"{os.fsdecode(self.filename)} is a TIFF of an unsupported kind: {_kind_of(self)}")


def _kind_of(image: TiffPages) -> str:
    tags = image.tag_v2
    photometric, compression = photometric_of(image), tags.get(Tag.Compression, _RAW)
    count, bits = tags.get(Tag.SamplesPerPixel, 1), max(tags.get(Tag.BitsPerSample, (1,)))
    channels = "1 channel" if count == 1 else f"{count} channels"
    planes = " in separate planes" if has_planes(image) else ""
    method = _COMPRESSIONS.get(compression, f"compression {int(compression)}")
    packed = "" if compression == _RAW else f", {method}"
    color = _NAMES.get(photometric, f"photometric interpretation {photometric}")
    kind = _TYPES.get(_sample_format(tags), "")
    return f"{color}, {channels} of {int(bits)} bits{kind}{planes}{packed}"


def _is_unreadable(image: TiffPages) -> bool:
    """Return whether a page that Pillow opens can be decoded by nobody.

    Pillow mixes up the bytes of compressed floats and numbers with a sign if they are big-endian.
    """
    tags, bits = image.tag_v2, depth_bits(image)
    compression, planes = tags.get(Tag.Compression, _RAW), has_planes(image)
    mixed_up = compression != _RAW and tags.prefix == b"MM" and _sample_format(tags) != _UNSIGNED
    if bits == 64:
        return mixed_up or planes
    if compression in _ONLY_PILLOW and (mixed_up or (bits > 16 if planes else _left_to_libvips(image))):
        return True
    if not planes:
        return False
    photometric, subsampling = photometric_of(image), tags.get(Tag.YCbCrSubSampling, _DEFAULT_SUBSAMPLING)
    return photometric not in COLORS or (photometric == Photometric.YCBCR and subsampling != (1, 1))


def tags_of(image: Image.Image) -> TiffImagePlugin.ImageFileDirectory_v2:
    """Return the tags of the current page."""
    return cast(TiffImageFile, image).tag_v2


def depth_bits(image: Image.Image) -> int:
    """Return the bits per channel of the current page."""
    return int(max(tags_of(image).get(Tag.BitsPerSample, (1,))))


def is_floating(image: Image.Image) -> bool:
    """Return whether the current page stores floats."""
    return _sample_format(tags_of(image)) == _FLOATING


def is_signed(image: Image.Image) -> bool:
    """Return whether the current page stores integers of 8 or 16 bits with a sign, which are moved up."""
    return _sample_format(tags_of(image)) == _SIGNED and depth_bits(image) in (8, 16)


def shift_of_values(image: Image.Image) -> int | None:
    """Return what reading adds to each value of the current page; None if it changes them otherwise."""
    tags, bits = tags_of(image), depth_bits(image)
    kind = _sample_format(tags)
    if kind == _FLOATING:
        return 0
    if photometric_of(image) not in (Photometric.BLACK_IS_ZERO, Photometric.RGB) or bits not in (8, 16):
        return None
    return 2 ** (bits - 1) if kind == _SIGNED else 0


def converted_space(image: Image.Image) -> str | None:
    """Return "CMYK" or "LAB" if reading converts the current page to sRGB, otherwise None."""
    return CONVERTED.get(photometric_of(image))


def photometric_of(image: Image.Image) -> int:
    """Return what the samples of the current page mean; see ``Photometric``."""
    return int(tags_of(image).get(Tag.PhotometricInterpretation, Photometric.WHITE_IS_ZERO))


def is_associated(image: Image.Image) -> bool:
    """Return whether the colors of the current page are multiplied by alpha."""
    return bool(tags_of(image).get(Tag.ExtraSamples, ())[:1] == (_ASSOCIATED,))


def channels_left_out(image: Image.Image) -> int:
    """Return the number of channels of the current page that are neither color nor alpha."""
    kept = COLORS.get(photometric_of(image), 1) + (image.mode in (*ALPHA_MODES, "PA"))
    samples: int = tags_of(image).get(Tag.SamplesPerPixel, 1)
    return max(0, samples - kept)


def is_compressed(image: Image.Image) -> bool:
    """Return whether the current page is compressed."""
    return bool(tags_of(image).get(Tag.Compression, _RAW) != _RAW)


# Who decodes


def needs_libvips(image: Image.Image) -> bool:
    """Return whether Pillow would drop bits of the current page, or read it wrongly, or not at all.

    Of damaged pages, libvips returns more, because Pillow gives up at the first strip that is damaged.
    """
    tags = tags_of(image)
    compression, photometric = tags.get(Tag.Compression, _RAW), photometric_of(image)
    if has_planes(image):
        return True
    if compression == _WEBP or _left_to_libvips(image):
        return True
    if photometric == Photometric.YCBCR:
        return bool(compression == _RAW and tags.get(Tag.YCbCrSubSampling, _DEFAULT_SUBSAMPLING) != (1, 1))
    samples = (_sample_format(tags), depth_bits(image))
    deep = samples in (*_DEEP_SAMPLES, *_SIGNED_SAMPLES)
    damaged = keeps_damaged() and samples == (_UNSIGNED, 8) and compression != _RAW
    plain = photometric in (Photometric.WHITE_IS_ZERO, Photometric.BLACK_IS_ZERO, Photometric.RGB)
    needed = deep or damaged or is_associated(image)
    return plain and needed and compression not in _ONLY_PILLOW


def means_what_libvips_reads(image: Image.Image) -> bool:
    """Return whether libvips applies the meaning of the samples itself, and rightly.

    libvips 8.18 reads gray planes with alpha wrongly, no tiles in planes, no Lab of 8 bits, and floats
    with white at 0 as if black were there. Where it divides by alpha, it rounds down, as Pillow does.
    """
    tags = tags_of(image)
    if tags.get(Tag.Compression, _RAW) == _WEBP:
        return True
    in_planes = cast(TiffPages, image).in_planes
    plain = photometric_of(image) in (Photometric.BLACK_IS_ZERO, Photometric.RGB, Photometric.YCBCR)
    return plain and not in_planes and not is_associated(image)


def only_pillow_decompresses(image: Image.Image) -> bool:
    """Return whether the libtiff of libvips lacks the compression of the current page."""
    return tags_of(image).get(Tag.Compression, _RAW) in _ONLY_PILLOW


def _left_to_libvips(image: Image.Image) -> bool:
    tiles = cast(TiffImageFile, image).tile
    return any(_LEFT_TO_LIBVIPS in str(tile.args) for tile in tiles)


def has_planes(image: Image.Image) -> bool:
    """Return whether the current page has several planes, one for each channel."""
    return isinstance(image, TiffPages) and image.in_planes and tags_of(image).get(Tag.SamplesPerPixel, 1) > 1


def _sample_format(tags: Mapping[int, Any]) -> int:
    return int(max(tags.get(Tag.SampleFormat, (_UNSIGNED,))))


# Kinds that are registered in Pillow, so that it reads their headers


_SIGNED_SAMPLES = ((_SIGNED, 8), (_SIGNED, 16), (_SIGNED, 32))
_DEEP_SAMPLES = ((_UNSIGNED, 16), (_UNSIGNED, 32), (_FLOATING, 16), (_FLOATING, 32))
_EXTRAS = tuple(
    (*alpha, *(_UNKNOWN,) * others) for alpha in ((), (_ASSOCIATED,), (_UNASSOCIATED,)) for others in range(3)
)
"""The meanings of the channels behind the colors: perhaps alpha, and up to two others."""

_Kind = tuple[bytes, int, tuple[int, ...], int, tuple[int, ...], tuple[int, ...]]

_LEFT_TO_LIBVIPS = "left to libvips"
"""A raw mode for Pillow's table. Pillow has no raw mode of this name, so it fails instead of decoding."""


@cache
def register_kinds() -> None:
    """Add kinds to Pillow's table of TIFFs, which could not be opened otherwise.

    Existing entries are not changed. Of the new kinds, Pillow decodes only gray floats of 64 bits and gray of
    12 bits, which is packed in the same way in both byte orders.
    """
    table = cast(dict[_Kind, tuple[str, str]], TiffImagePlugin.OPEN_INFO)
    for order, letter in ((b"II", ""), (b"MM", "B")):
        # libvips reads no floats of 64 bits.
        for gray in (Photometric.WHITE_IS_ZERO, Photometric.BLACK_IS_ZERO):
            table.setdefault((order, gray, (_FLOATING,), 1, (64,), ()), ("F", f"F;64{letter}F"))
            table.setdefault((order, gray, (_UNSIGNED,), 1, (12,), ()), ("I;16", "I;12"))
        for kind, mode in _kinds(order):
            table.setdefault(kind, (mode, _LEFT_TO_LIBVIPS))


def _kinds(order: bytes) -> Iterator[tuple[_Kind, str]]:
    """Yield kinds of unsigned integers and of floats, each with the Pillow mode that has its channels."""
    for photometric, colors in COLORS.items():
        for format, bits in _samples_of(photometric):
            for extra in _EXTRAS:
                channels = colors + len(extra)
                # ExtraSamples may be missing.
                if photometric == Photometric.RGB and extra == (_UNASSOCIATED,):
                    yield (order, photometric, (format,), 1, (bits,) * channels, ()), "RGBA"
                mode = _mode(photometric, format, bits, extra)
                yield (order, photometric, (format,), 1, (bits,) * channels, extra), mode


def _samples_of(photometric: int) -> tuple[tuple[int, int], ...]:
    if photometric == Photometric.YCBCR:
        return ()
    integers = ((_UNSIGNED, 8), (_UNSIGNED, 16))
    return integers if photometric in CONVERTED else (*integers, *_DEEP_SAMPLES)


def _mode(photometric: int, format: int, bits: int, extra: tuple[int, ...]) -> str:
    has_alpha, gray = extra[:1] not in ((), (_UNKNOWN,)), COLORS[photometric] == 1
    if has_alpha:
        return "LA" if gray else "RGBA"
    if gray and not extra and bits > 8:
        return {_FLOATING: "F"}.get(format, "I;16" if bits == 16 else "I")
    return "L" if gray else CONVERTED.get(photometric, "RGB")
