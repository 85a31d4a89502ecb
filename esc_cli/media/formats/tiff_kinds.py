"""Decide which library reads each kind of TIFF, and apply the meaning of its samples.

Pillow reads every header, and it decodes the usual kinds of 8 bits. This module registers more kinds in
Pillow. libvips decodes them, and those that Pillow would reduce or read wrongly. Where both are wrong, which
includes all pages with one plane for each channel, libvips gets a copy of the page that declares plain gray
samples, and this module applies their meaning.
"""

import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from PIL import Image, TiffImagePlugin
from PIL.ExifTags import Base as Tag
from PIL.TiffImagePlugin import TiffImageFile

from esc_cli.errors import InputError
from esc_cli.media.damage import keeps_damaged
from esc_cli.media.formats.tiff_copies import plain_pages
from esc_cli.media.formats.tiff_pages import TiffContents, contents_of
from esc_cli.media.metadata.no_data import no_data_of
from esc_cli.media.pillow import PILLOW_ERRORS

if TYPE_CHECKING:
    from esc_cli.media.pixels.depth import Array, Pixels

# Source: TIFF 6.0, sections 8 (compression, planes), 18 and 19 (samples), 16 to 18, 21 and 23 (colors).
_PLACES = frozenset((Tag.StripOffsets, Tag.TileOffsets))
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _CIELAB, _ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
_UNSIGNED, _SIGNED, _FLOATING = 1, 2, 3
_SEPARATE_PLANES = 2
_UNKNOWN, _ASSOCIATED, _UNASSOCIATED = 0, 1, 2
_DEFAULT_SUBSAMPLING = (2, 2)
_LARGEST_SHORT = 65_535
_RAW, _WEBP = 1, 50_001
_LZMA, _ZSTANDARD = 34_925, 50_000
_ONLY_PILLOW = (_LZMA, _ZSTANDARD)
"""Compressions that the libtiff of libvips lacks."""

_COLORS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _CMYK: 4, _YCBCR: 3, _CIELAB: 3, _ICCLAB: 3}
"""Number of color channels by PhotometricInterpretation."""
_CONVERTED = {_CMYK: "CMYK", _CIELAB: "LAB", _ICCLAB: "LAB"}
"""Color spaces that are converted to sRGB, as Pillow's modes."""

_NAMES = {
    _WHITE_IS_ZERO: "gray",
    _BLACK_IS_ZERO: "gray",
    _RGB: "RGB",
    _PALETTE: "a palette",
    4: "a mask",
    _CMYK: "CMYK",
    _YCBCR: "YCbCr",
    _CIELAB: "Lab",
    _ICCLAB: "Lab",
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
    """Pillow's TIFF, with three differences.

    Pillow takes planes apart while it opens a page, and fails where it does not expect them. libvips decodes
    planes, so Pillow does not see that there are any. A page that nothing here reads is refused by its kind.
    Overviews and masks are not pages.

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
    photometric, compression = _photometric(tags), tags.get(Tag.Compression, _RAW)
    count, bits = tags.get(Tag.SamplesPerPixel, 1), max(tags.get(Tag.BitsPerSample, (1,)))
    channels = "1 channel" if count == 1 else f"{count} channels"
    planes = " in separate planes" if _has_planes(image) else ""
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
    compression, planes = tags.get(Tag.Compression, _RAW), _has_planes(image)
    mixed_up = compression != _RAW and tags.prefix == b"MM" and _sample_format(tags) != _UNSIGNED
    if bits == 64:
        return mixed_up or planes
    if compression in _ONLY_PILLOW and (mixed_up or (bits > 16 if planes else _left_to_libvips(image))):
        return True
    if not planes:
        return False
    halved = _photometric(tags) == _YCBCR and tags.get(Tag.YCbCrSubSampling, _DEFAULT_SUBSAMPLING) != (1, 1)
    return halved or _photometric(tags) not in _COLORS


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
    if _photometric(tags) not in (_BLACK_IS_ZERO, _RGB) or bits not in (8, 16):
        return None
    return 2 ** (bits - 1) if kind == _SIGNED else 0


def converted_space(image: Image.Image) -> str | None:
    """Return "CMYK" or "LAB" if reading converts the current page to sRGB, otherwise None."""
    return _CONVERTED.get(_photometric(tags_of(image)))


def is_compressed(image: Image.Image) -> bool:
    """Return whether the current page is compressed."""
    return bool(tags_of(image).get(Tag.Compression, _RAW) != _RAW)


# Who decodes


def needs_libvips(image: Image.Image) -> bool:
    """Return whether Pillow would drop bits of the current page, or read it wrongly, or not at all.

    Of damaged pages, libvips returns more, because Pillow gives up at the first strip that is damaged.
    """
    tags = tags_of(image)
    compression, photometric = tags.get(Tag.Compression, _RAW), _photometric(tags)
    if _has_planes(image):
        return True
    if compression == _WEBP or _left_to_libvips(image):
        return True
    if photometric == _YCBCR:
        return bool(compression == _RAW and tags.get(Tag.YCbCrSubSampling, _DEFAULT_SUBSAMPLING) != (1, 1))
    samples = (_sample_format(tags), depth_bits(image))
    deep = samples in (*_DEEP_SAMPLES, *_SIGNED_SAMPLES)
    damaged = keeps_damaged() and samples == (_UNSIGNED, 8) and compression != _RAW
    plain = photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB)
    needed = deep or damaged or _is_associated(tags)
    return plain and needed and compression not in _ONLY_PILLOW


def _left_to_libvips(image: Image.Image) -> bool:
    tiles = cast(TiffImageFile, image).tile
    return any(_LEFT_TO_LIBVIPS in str(tile.args) for tile in tiles)


def _has_planes(image: Image.Image) -> bool:
    return isinstance(image, TiffPages) and image.in_planes and tags_of(image).get(Tag.SamplesPerPixel, 1) > 1


def _photometric(tags: Mapping[int, Any]) -> int:
    return int(tags.get(Tag.PhotometricInterpretation, _WHITE_IS_ZERO))


def _sample_format(tags: Mapping[int, Any]) -> int:
    return int(max(tags.get(Tag.SampleFormat, (_UNSIGNED,))))


# Decoding


def decoded(image: Image.Image, source: Path | bytes, page: int, name: str) -> "Pixels":
    """Decode the current page with libvips.

    Associated alpha is divided out. Channels that are neither color nor alpha are dropped.

    Args:
        image: The opened file.
        source: Path or content of the same file.
        page: Number of the page.
        name: Name of the file in messages.

    Returns:
        The pixels as they are stored, not turned.

    Raises:
        InputError: The page is damaged or incomplete.
    """
    if _means_what_libvips_reads(image):
        values = decode_page(source, page, name)
        _check_size(values, image, name)
        return _numbers(values[..., : len(image.getbands())], image)
    values = _plain_samples(source, page, name, image)
    _check_size(values, image, name)
    return _pixels_of_samples(values, image)


def _check_size(values: "Array", image: Image.Image, name: str) -> None:
    """Refuse a page with two entries of its width or height, of which libraries take one or the other."""
    tags = tags_of(image)
    if values.shape[:2] != (tags[Tag.ImageLength], tags[Tag.ImageWidth]):
        raise InputError(f"{name} is damaged: it states two sizes")


def _pixels_of_samples(values: "Array", image: Image.Image) -> "Pixels":
    """Apply the meaning of all samples of a page, of shape (H, W, C)."""
    tags, photometric = tags_of(image), _photometric(tags_of(image))
    values = _straight(values[..., : _COLORS[photometric] + (image.mode in _ALPHA_MODES)], tags)
    if photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        return _through_pillow(values, photometric, image)
    pixels = _numbers(values, image)
    if photometric == _WHITE_IS_ZERO:
        pixels.values[..., 0] = _white_of(pixels.values) - pixels.values[..., 0]
    return pixels


def decode_page(source: Path | bytes, page: int, name: str) -> "Array":
    """Decode a page as it is stored, or fail if a tile is damaged or missing.

    libvips only warns of such a tile and makes it black, so the first attempt fails on warnings. Harmless
    oddities cause warnings, too, but without a description. In this case, a second attempt fails on errors.

    Returns:
        Pixels of shape (H, W, C), with the data type and channels of the file.

    Raises:
        InputError: The file is damaged, incomplete or of a kind that libvips does not read.
    """
    from esc_cli.media import vips

    return vips.decode(source, "tiffload_buffer", name, fail_on=("warning", "error"), page=page)


def _means_what_libvips_reads(image: Image.Image) -> bool:
    """Return whether libvips applies the meaning of the samples itself, and rightly.

    libvips 8.18 reads gray planes with alpha wrongly, no tiles in planes, no Lab of 8 bits, and floats
    with white at 0 as if black were there. Where it divides by alpha, it rounds down, as Pillow does.
    """
    tags = tags_of(image)
    if tags.get(Tag.Compression, _RAW) == _WEBP:
        return True
    in_planes = cast(TiffPages, image).in_planes
    plain = _photometric(tags) in (_BLACK_IS_ZERO, _RGB, _YCBCR)
    return plain and not in_planes and not _is_associated(tags)


def _plain_samples(source: Path | bytes, page: int, name: str, image: Image.Image) -> "Array":
    """Return all samples of a page as they are stored, of shape (H, W, C)."""
    import numpy as np

    content = plain_pages(source if isinstance(source, bytes) else source.read_bytes(), page)
    tags = tags_of(image)
    planes = tags.get(Tag.SamplesPerPixel, 1) if _has_planes(image) else 1
    decode = _page_of_pillow if tags.get(Tag.Compression, _RAW) in _ONLY_PILLOW else decode_page
    return np.concatenate([decode(content, plane, name) for plane in range(planes)], axis=2)


def _page_of_pillow(content: bytes, page: int, name: str) -> "Array":
    import numpy as np

    with Image.open(io.BytesIO(content), formats=("TIFF",)) as image:
        image.seek(page)
        values = np.atleast_3d(np.array(image))
    return values.astype(values.dtype.newbyteorder("="))


def _straight(values: "Array", tags: Mapping[int, Any]) -> "Array":
    from esc_cli.media.pixels.depth import unpremultiplied

    return unpremultiplied(values) if _is_associated(tags) else values


def _is_associated(tags: Mapping[int, Any]) -> bool:
    """Return whether colors are multiplied by alpha."""
    return bool(tags.get(Tag.ExtraSamples, ())[:1] == (_ASSOCIATED,))


def _white_of(values: "Array") -> Any:
    import numpy as np

    return values.dtype.type(1 if values.dtype.kind == "f" else np.iinfo(values.dtype).max)


def _numbers(values: "Array", image: Image.Image) -> "Pixels":
    """Scale gray or RGB, with or without alpha, to the types of pixels in memory.

    Of 32-bit integers, the largest is white in RGB and opaque in alpha, as TIFF 6.0 says, unless all of them
    are so small that they were meant for fewer bits. White in gray alone is not stated.
    """
    import numpy as np

    from esc_cli.media.pixels.depth import (
        Pixels,
        from_floats,
        from_integers,
        from_signed_integers,
        from_wide_integers,
    )

    if values.dtype.kind == "f":
        return from_floats(values, no_data_of(image))
    if values.dtype.itemsize == 1:
        return from_signed_integers(values, 8) if values.dtype.kind == "i" else Pixels(values)
    if values.dtype.itemsize == 2:
        return from_signed_integers(values) if values.dtype.kind == "i" else from_integers(values, 16)
    pixels = from_wide_integers(values)
    if values.shape[2] > 1 and values.max() > _LARGEST_SHORT:
        return replace(pixels, values=(values >> 16).astype(np.uint16))
    return pixels


def _through_pillow(values: "Array", photometric: int, image: Image.Image) -> "Pixels":
    """Convert CMYK, Lab or YCbCr, with or without alpha, to sRGB of 8 bits."""
    import numpy as np

    from esc_cli.media.pixels.modes import pixels_of

    file_bits, colors = 8 * values.dtype.itemsize, _COLORS[photometric]
    narrow = _eight_bits(values, photometric)
    picture = Image.fromarray(
        np.ascontiguousarray(narrow[..., :colors]), _CONVERTED.get(photometric, "YCbCr")
    )
    picture.info["icc_profile"] = image.info.get("icc_profile")
    pixels = pixels_of(picture, file_bits)
    return replace(pixels, values=np.concatenate((pixels.values, narrow[..., colors:]), axis=2))


def _eight_bits(values: "Array", photometric: int) -> "Array":
    import numpy as np

    if photometric in (_CIELAB, _ICCLAB):
        return _lab_of_pillow(values, icc=photometric == _ICCLAB)
    return values if values.dtype.itemsize == 1 else (values / np.float32(257)).round().astype(np.uint8)


def _lab_of_pillow(values: "Array", icc: bool) -> "Array":
    """Encode Lab of 8 or 16 bits as Pillow does: a and b have a sign, and an L of 100 is 255.

    Source: TIFF 6.0, section 23 (the same in 8 bits); TIFF technical note 4, ICCLab: 0 lies in the middle of
    a and b, and in 16 bits, an L of 100 is 0xFF00.
    """
    import numpy as np

    step, full = (1, 1) if values.dtype.itemsize == 1 else (256, 257)
    light = values[..., :1] / np.float32(step if icc else full)
    signed = np.dtype(f"i{values.dtype.itemsize}")
    hues = values[..., 1:3].astype(np.int32) - 128 * step if icc else values[..., 1:3].view(signed)
    hues = (hues / np.float32(step)).round().clip(-128, 127).astype(np.int8).view(np.uint8)
    others = (values[..., 3:] / np.float32(full)).round().astype(np.uint8)
    return np.concatenate((light.round().clip(0, 255).astype(np.uint8), hues, others), axis=2)


# Kinds that are registered in Pillow, so that it reads their headers


_SIGNED_SAMPLES = ((_SIGNED, 8), (_SIGNED, 16), (_SIGNED, 32))
_DEEP_SAMPLES = ((_UNSIGNED, 16), (_UNSIGNED, 32), (_FLOATING, 16), (_FLOATING, 32))
_EXTRAS = tuple(
    (*alpha, *(_UNKNOWN,) * others) for alpha in ((), (_ASSOCIATED,), (_UNASSOCIATED,)) for others in range(3)
)
"""The meanings of the channels behind the colors: perhaps alpha, and up to two others."""
_ALPHA_MODES = ("LA", "La", "RGBA")

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
        for gray in (_WHITE_IS_ZERO, _BLACK_IS_ZERO):  # libvips reads no floats of 64 bits
            table.setdefault((order, gray, (_FLOATING,), 1, (64,), ()), ("F", f"F;64{letter}F"))
            table.setdefault((order, gray, (_UNSIGNED,), 1, (12,), ()), ("I;16", "I;12"))
        for kind, mode in _kinds(order):
            table.setdefault(kind, (mode, _LEFT_TO_LIBVIPS))


def _kinds(order: bytes) -> Iterator[tuple[_Kind, str]]:
    """Yield kinds of unsigned integers and of floats, each with the Pillow mode that has its channels."""
    for photometric, colors in _COLORS.items():
        for format, bits in _samples_of(photometric):
            for extra in _EXTRAS:
                channels = colors + len(extra)
                if photometric == _RGB and extra == (_UNASSOCIATED,):  # ExtraSamples may be missing
                    yield (order, photometric, (format,), 1, (bits,) * channels, ()), "RGBA"
                mode = _mode(photometric, format, bits, extra)
                yield (order, photometric, (format,), 1, (bits,) * channels, extra), mode


def _samples_of(photometric: int) -> tuple[tuple[int, int], ...]:
    if photometric == _YCBCR:
        return ()
    integers = ((_UNSIGNED, 8), (_UNSIGNED, 16))
    return integers if photometric in _CONVERTED else (*integers, *_DEEP_SAMPLES)


def _mode(photometric: int, format: int, bits: int, extra: tuple[int, ...]) -> str:
    has_alpha, gray = extra[:1] not in ((), (_UNKNOWN,)), _COLORS[photometric] == 1
    if has_alpha:
        return "LA" if gray else "RGBA"
    if gray and not extra and bits > 8:
        return {_FLOATING: "F"}.get(format, "I;16" if bits == 16 else "I")
    return "L" if gray else _CONVERTED.get(photometric, "RGB")
