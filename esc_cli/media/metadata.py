"""Metadata: read so that it can be written as it is, whatever the format, and fitted to a result."""

import math
import re
from collections.abc import Iterator, Mapping, Set
from typing import Any

from PIL import ExifTags, Image

from esc_cli.media.formats import Held, PictureFormat
from esc_cli.media.picture import Metadata
from esc_cli.media.pillow import PILLOW_ERRORS

_NAMES: dict[Held, str] = {
    "icc_profile": "the color profile",
    "exif": "EXIF",
    "xmp": "XMP",
    "iptc": "IPTC captions",
    "dpi": "the resolution in dots an inch",
}

# Source: JPEG T.81 B.1.1.4: a segment's length has 16 bits and counts itself; XMP specification 3, 1.1.3.
_XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_LARGEST_IN_JPEG_BYTES: dict[Held, int] = {"exif": 65_533, "xmp": 65_533 - len(_XMP_IN_JPEG)}

# How the pixels of the source were stored, which is wrong for any other file, and what travels beside EXIF.
# Source: TIFF 6.0, appendix A (the tags' numbers); Exif 2.32, table 4; Photoshop TIFF technical notes.
_STORAGE_TAGS = frozenset(
    (
        *range(254, 267),  # subfile, size, bits, compression, photometric interpretation, order
        *(273, 274, 277, 278, 279, 280, 281, 284),  # strips, orientation, samples, planes
        *range(288, 294),  # free space, gray response, fax options
        *(297, 301, 317, 320, 321),  # page, transfer function, predictor, color map, halftones
        *range(322, 348),  # tiles, sub-pictures, inks, extra samples, sample format, JPEG tables
        *range(512, 533),  # old JPEG (the thumbnail), YCbCr
        *(700, 33723, 34377, 34675, 37724),  # XMP, IPTC, Photoshop's blocks, the profile, Photoshop's layers
    )
)

# Every TIFF has these; they are in `dpi`. Elsewhere they are part of a camera's EXIF.
_RESOLUTION_TAGS = frozenset((282, 283, 296))

_NESTED = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)

_IPTC_RESOURCE = 0x0404
_SRGB_GAMMA = 0.45455


def read_metadata(image: Image.Image, gray: bool) -> Metadata:
    """Gather the metadata of a decoded picture.

    Args:
        image: As it was read, before any conversion.
        gray: Whether its pixels go on as gray.
    """
    return Metadata(
        icc_profile=_profile_of(image, gray),
        exif=_exif_of(image),
        xmp=_xmp_of(image),
        dpi=_dpi_of(image),
    )


def metadata_notes(image: Image.Image, metadata: Metadata) -> Iterator[str]:
    """Yield a sentence on each thing in a file that the metadata read from it does not have."""
    if image.info.get("icc_profile") and metadata.icc_profile is None and image.mode not in ("CMYK", "LAB"):
        yield "a color profile that does not fit its pixels was left out"
    if image.info.get("exif") and metadata.exif is None:
        yield "EXIF was left out, since it is damaged or empty"
    if _has_iptc(image):
        yield "IPTC captions were left out"
    gamma = image.info.get("gamma")
    explained = metadata.icc_profile is not None or "srgb" in image.info
    if gamma and not explained and abs(gamma - _SRGB_GAMMA) > 0.01:
        yield f"a gamma of {gamma:g} in the file was not applied"


def metadata_lost(metadata: Metadata, format: PictureFormat) -> tuple[str, ...]:
    """Say what a format cannot hold of a picture's metadata, one sentence each."""
    present = (part for part in _NAMES if getattr(metadata, part) is not None)
    return tuple(
        f"{format.name} cannot hold {_NAMES[part]}" for part in present if not holds(format, part, metadata)
    )


def holds(format: PictureFormat, part: Held, metadata: Metadata) -> bool:
    """Whether a format can hold this part of this metadata."""
    size = len(getattr(metadata, part) or ())
    too_large = format.name == "JPEG" and size > _LARGEST_IN_JPEG_BYTES.get(part, size)
    return part in format.holds and not too_large


def exif_of_size(exif: bytes, height: int, width: int) -> bytes:
    """Correct the picture's size in an EXIF block, where it is given.

    Source: Exif 2.32, 4.6.5 C: PixelXDimension and PixelYDimension.
    """
    tags = exif_tags(exif)
    details = tags.get_ifd(ExifTags.IFD.Exif)
    if ExifTags.Base.ExifImageWidth not in details:
        return exif
    details[ExifTags.Base.ExifImageWidth] = width
    details[ExifTags.Base.ExifImageHeight] = height
    return tags.tobytes()


def exif_tags(exif: bytes) -> Image.Exif:
    """Parse an EXIF block so that its text can be written again as it was."""
    tags = Image.Exif()
    tags.load(exif)
    for directory in (tags, *(tags.get_ifd(number) for number in _NESTED if number in tags)):
        directory.update(_as_stored(directory))
    return tags


def _profile_of(image: Image.Image, gray: bool) -> bytes | None:
    """The color profile, if it is of the space that the pixels go on in. Source: ICC.1:2022, 7.2.6."""
    profile = image.info.get("icc_profile")
    space = b"GRAY" if gray else b"RGB "
    return profile if isinstance(profile, bytes) and profile[16:20] == space else None


def _exif_of(image: Image.Image) -> bytes | None:
    """EXIF without orientation, thumbnail and storage tags; None if there is none or it is broken."""
    dropped = _STORAGE_TAGS | (_RESOLUTION_TAGS if image.format == "TIFF" else frozenset())
    try:
        tags = image.getexif()
        return _copied(tags, dropped).tobytes() if set(tags) - dropped else None
    except PILLOW_ERRORS:
        return None


def _copied(source: Image.Exif, without: Set[int]) -> Image.Exif:
    """Some of an image's EXIF; the image may be somebody's, so its own stays as it is."""
    copy = Image.Exif()
    copy.endian = source.endian
    copy.update(_as_stored({tag: source[tag] for tag in source if tag not in {*without, *_NESTED}}))
    for directory in _NESTED:
        if directory in source:
            copy.get_ifd(directory).update(_as_stored(source.get_ifd(directory)))
    if ExifTags.IFD.Exif in source and ExifTags.IFD.Interop in source.get_ifd(ExifTags.IFD.Exif):
        copy.get_ifd(ExifTags.IFD.Exif)[ExifTags.IFD.Interop] = source.get_ifd(ExifTags.IFD.Interop)
    return copy


def _as_stored(tags: Mapping[int, Any]) -> dict[int, Any]:
    """Tags with text beyond ASCII as bytes: Pillow reads each byte as Latin-1, but writes "?"."""
    return {
        tag: value.encode("latin-1") if isinstance(value, str) and not value.isascii() else value
        for tag, value in tags.items()
    }


def _xmp_of(image: Image.Image) -> bytes | None:
    xmp = image.info.get("xmp")
    if not isinstance(xmp, bytes) or not xmp:
        return None
    return re.sub(rb"(tiff:Orientation\s*(?:=\s*[\"']|>))[2-8]", rb"\g<1>1", xmp)


def _dpi_of(image: Image.Image) -> tuple[float, float] | None:
    across, down = (float(value) for value in image.info.get("dpi", (0, 0)))
    # Pillow says 1 where a TIFF has none; JPEG stores 16 bits.
    sensible = all(math.isfinite(value) and 1 < value < 65_536 for value in (across, down))
    return (across, down) if sensible else None


def _has_iptc(image: Image.Image) -> bool:
    blocks = image.info.get("photoshop")
    return isinstance(blocks, dict) and _IPTC_RESOURCE in blocks
