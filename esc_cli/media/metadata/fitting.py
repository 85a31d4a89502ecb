"""Metadata: read so that it can be written as it is, whatever the format, and fitted to a result."""

import math
from collections.abc import Iterator, Set
from dataclasses import replace

from PIL import Image

from esc_cli.errors import UsageError
from esc_cli.media.formats.base import ALL_METADATA, Held, PictureFormat
from esc_cli.media.formats.registry import format_of
from esc_cli.media.metadata.blocks import Blocks, blocks_of_pillow
from esc_cli.media.metadata.exif import exif_dpi, exif_of_block, fitted_exif
from esc_cli.media.metadata.xmp import fitted_xmp, upright_xmp
from esc_cli.media.picture import Metadata

_NAMES: dict[Held, str] = {
    "icc_profile": "a color profile",
    "exif": "EXIF",
    "xmp": "XMP",
    "iptc": "IPTC captions",
    "dpi": "the resolution in dots an inch",
    "text": "a PNG's text",
    "comment": "a comment",
}

_LISTED: dict[str, Held] = {
    "exif": "exif",
    "icc": "icc_profile",
    "xmp": "xmp",
    "iptc": "iptc",
    "dpi": "dpi",
    "text": "text",
    "comment": "comment",
}
"""What the parts are called by a user, as cwebp calls them."""

_GRAY_MODES = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_METERS_AN_INCH = 0.0254


def parse_metadata_list(text: str) -> frozenset[Held]:
    """Read which parts of the metadata a user wants: "all", "none", or names such as "exif,icc".

    Raises:
        UsageError: A part is unknown.
    """
    names = [name.strip().lower() for name in text.split(",")]
    if names == ["all"]:
        return ALL_METADATA
    if names == ["none"]:
        return frozenset()
    for name in names:
        if name not in _LISTED:
            raise UsageError(
                f"'{name}' is no part of a picture's metadata",
                hint=f"say all, none, or some of {','.join(_LISTED)}",
            )
    return frozenset(_LISTED[name] for name in names)


def read_metadata(image: Image.Image, gray: bool, header: bytes = b"") -> Metadata:
    """Gather the metadata of a picture.

    Args:
        image: As it was read, before any conversion; it need not be decoded.
        gray: Whether its pixels go on as gray.
        header: The first 64 KiB of its file, where what Pillow does not tell about colors is looked up.
    """
    blocks, format = _blocks_of(image), format_of(image)
    implied = None if format is None else format.signalled_profile(image, header)
    exif = _clean_exif(blocks.exif)
    return Metadata(
        icc_profile=_fitting(implied or blocks.icc_profile, gray),
        exif=exif,
        xmp=upright_xmp(blocks.xmp.rstrip(b"\0")) or None if blocks.xmp else None,
        dpi=_sensible(blocks.dpi or (exif_dpi(exif) if exif else None)),
        iptc=blocks.iptc,
        text=blocks.text,
        comment=blocks.comment,
    )


def parts_of(image: Image.Image, header: bytes = b"") -> frozenset[Held]:
    """Tell which parts of metadata a picture has that was opened, and need not be decoded.

    Args:
        image: As it was opened.
        header: The first 64 KiB of its file.
    """
    metadata = read_metadata(image, image.mode in _GRAY_MODES, header)
    return frozenset(part for part in ALL_METADATA if getattr(metadata, part) is not None)


def fitted(
    metadata: Metadata,
    format: PictureFormat,
    height: int,
    width: int,
    keep: Set[Held] = ALL_METADATA,
    provenance: str | None = None,
) -> Metadata:
    """Give the metadata that will be written.

    A format that has no place for a resolution gets it in EXIF.

    Args:
        metadata: Of the source.
        format: Of the result.
        height: Of the result, pixels.
        width: Of the result, pixels.
        keep: The parts that are wanted; without EXIF, there is no provenance either.
        provenance: What made the picture; EXIF is made for it if need be, where the format has EXIF.
    """
    wanted = {part: getattr(metadata, part) for part in _NAMES if part in keep}
    exif = _fitted_exif(Metadata(**wanted), format, height, width, provenance) if "exif" in keep else None
    xmp = fitted_xmp(metadata.xmp, height, width) if metadata.xmp and "xmp" in keep else None
    result = Metadata(**{**wanted, "exif": exif, "xmp": xmp})
    unheld = [part for part in _NAMES if not holds(format, part, result)]
    return replace(result, **dict.fromkeys(unheld))


def metadata_notes(image: Image.Image, metadata: Metadata) -> Iterator[str]:
    """Yield a sentence on each thing in a file that the metadata read from it does not have."""
    blocks = _blocks_of(image)
    if blocks.icc_profile and metadata.icc_profile is None and image.mode not in ("CMYK", "LAB"):
        yield "a color profile that does not fit its pixels was left out"
    if blocks.exif and metadata.exif is None:
        yield "EXIF was left out, since it is damaged or empty"


def metadata_lost(
    metadata: Metadata, format: PictureFormat, keep: Set[Held] = ALL_METADATA
) -> tuple[str, ...]:
    """Say what a format cannot hold of a picture's metadata, one sentence each.

    Args:
        metadata: Of the picture.
        format: What it is to be written as.
        keep: The parts that are wanted; about others nothing is said.
    """
    wanted = [part for part in _NAMES if part in keep and getattr(metadata, part) is not None]
    lost = (
        part for part in wanted if part not in parts_held(format, keep) or _too_large(format, part, metadata)
    )
    return tuple(limitation_of(part, format) for part in lost)


def limitation_of(part: Held, format: PictureFormat) -> str:
    """Say that a format cannot hold a part of the metadata, and what becomes of the picture."""
    if part == "icc_profile":
        return f"the picture is converted to sRGB: {format.name} cannot hold {_NAMES[part]}"
    return f"{format.name} cannot hold {_NAMES[part]}"


def parts_held(format: PictureFormat, keep: Set[Held] = ALL_METADATA) -> frozenset[Held]:
    """The parts of metadata that a format has a place for, which for the resolution may be EXIF.

    Args:
        format: What is written.
        keep: The parts that are wanted.
    """
    in_exif: frozenset[Held] = frozenset(("dpi",)) if "exif" in format.holds & keep else frozenset()
    return (format.holds | in_exif) & keep


def holds(format: PictureFormat, part: Held, metadata: Metadata) -> bool:
    """Whether a format can hold this part of this metadata, and in a place of its own."""
    return part in format.holds and not _too_large(format, part, metadata)


def _blocks_of(image: Image.Image) -> Blocks:
    format = format_of(image)
    return blocks_of_pillow(image) if format is None else format.blocks(image)


def _too_large(format: PictureFormat, part: Held, metadata: Metadata) -> bool:
    size = len(getattr(metadata, part) or ())
    return size > format.largest_part_bytes.get(part, size)


def _fitted_exif(
    metadata: Metadata, format: PictureFormat, height: int, width: int, provenance: str | None
) -> bytes | None:
    """EXIF of a result; without what made it where there is no room for that."""
    is_needed = metadata.exif or provenance or "dpi" not in format.holds
    dpi = metadata.dpi if is_needed else None
    exif = fitted_exif(metadata.exif, height, width, dpi=dpi, provenance=provenance)
    if provenance and not holds(format, "exif", Metadata(exif=exif)):
        return fitted_exif(metadata.exif, height, width, dpi=dpi)
    return exif


def _fitting(profile: bytes | None, gray: bool) -> bytes | None:
    """A color profile, if it is of the space that the pixels go on in. Source: ICC.1:2022, 7.2.6."""
    space = b"GRAY" if gray else b"RGB "
    return profile if profile is not None and profile[16:20] == space else None


def _clean_exif(block: bytes | None) -> bytes | None:
    """EXIF without orientation, thumbnail and storage tags; None if there is none or it is broken."""
    try:
        return exif_of_block(block) if block else None
    except ValueError:
        return None


def _sensible(dpi: tuple[float, float] | None) -> tuple[float, float] | None:
    """A resolution, unless it is the 1 that stands for none; JPEG stores 16 bits."""
    across, down = (float(value) for value in dpi or (0, 0))
    possible = all(math.isfinite(value) and 1 < value < 65_536 for value in (across, down))
    return (_whole(across), _whole(down)) if possible else None


def _whole(dpi: float) -> float:
    """Undo the rounding of formats which count dots a meter: 300 an inch come back as 299.9994."""
    whole = float(round(dpi))
    return whole if round(whole / _METERS_AN_INCH) == round(dpi / _METERS_AN_INCH) else dpi
