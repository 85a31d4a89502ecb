"""Read metadata in a form that any format can store unchanged, and fit it to a result."""

import math
from collections.abc import Iterator, Set
from dataclasses import replace

from PIL import Image

from esc_cli.errors import UsageError
from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.formats.registry import format_of
from esc_cli.media.metadata.exif import exif_dpi, exif_of_block, fitted_exif
from esc_cli.media.metadata.geo import fitted_geo, is_usable
from esc_cli.media.metadata.kinds import (
    ALL_METADATA,
    METERS_AN_INCH,
    OPTIONS,
    TITLES,
    Held,
    Metadata,
    size_bytes,
)
from esc_cli.media.metadata.pillow_metadata import metadata_of_pillow
from esc_cli.media.metadata.xmp import fitted_xmp, upright_xmp
from esc_cli.media.pillow import converted_mode, is_gray


def parse_metadata_list(text: str) -> frozenset[Held]:
    """Parse the parts of metadata that a user wants: "all", "none", or names such as "exif,icc".

    Raises:
        UsageError: A name is unknown.
    """
    names = [name.strip().lower() for name in text.split(",")]
    if names == ["all"]:
        return ALL_METADATA
    if names == ["none"]:
        return frozenset()
    for name in names:
        if name not in OPTIONS:
            raise UsageError(
                f"'{name}' is not a part of a picture's metadata",
                hint=f"choose all, none, or some of {','.join(OPTIONS)}",
            )
    return frozenset(OPTIONS[name] for name in names)


def read_metadata(image: Image.Image, gray: bool, header: bytes = b"") -> Metadata:
    """Gather the metadata of a picture.

    Args:
        image: The image as it was read, before any conversion. It need not be decoded.
        gray: Whether the pixels are kept as gray.
        header: The first 64 KiB of the file, which may hold color information that
            Pillow does not report.
    """
    stored, format = _stored_metadata(image), format_of(image)
    signalled = None if format is None else format.signalled_profile(image, header)
    profile = None if _converted_space(image) else signalled or stored.icc_profile
    exif = _clean_exif(stored.exif)
    return replace(
        stored,
        icc_profile=_fitting(profile, gray),
        exif=exif,
        xmp=upright_xmp(stored.xmp.rstrip(b"\0")) or None if stored.xmp else None,
        dpi=_sensible(stored.dpi or (exif_dpi(exif) if exif else None)),
        geo=stored.geo if stored.geo and is_usable(stored.geo) else None,
    )


def metadata_of_header(image: Image.Image, header: bytes = b"") -> Metadata:
    """Gather the metadata of a picture that need not be decoded.

    Args:
        image: The image as it was opened.
        header: The first 64 KiB of the file.
    """
    return read_metadata(image, is_gray(image), header)


def part_sizes(metadata: Metadata) -> dict[Held, int]:
    """Return the parts that are there, with their sizes in bytes; 0 for those that are not one block."""
    return {part: size_bytes(content) for part in TITLES if (content := getattr(metadata, part)) is not None}


def fitted(
    metadata: Metadata,
    format: PictureFormat,
    height: int,
    width: int,
    keep: Set[Held] = ALL_METADATA,
    provenance: str | None = None,
) -> Metadata:
    """Return the metadata that will be written.

    If the format has no place for a resolution, EXIF holds it.

    Args:
        metadata: Metadata of the source.
        format: Format of the result.
        height: Height of the result, in pixels.
        width: Width of the result, in pixels.
        keep: The parts that are wanted. Without EXIF, there is no provenance either.
        provenance: The program, model and settings that made the picture. If necessary, EXIF is created for
            them, provided that the format holds EXIF.
    """
    wanted = {part: getattr(metadata, part) for part in TITLES if part in keep}
    exif = _fitted_exif(Metadata(**wanted), format, height, width, provenance) if "exif" in keep else None
    xmp = fitted_xmp(metadata.xmp, height, width) if metadata.xmp and "xmp" in keep else None
    geo = fitted_geo(metadata.geo, height, width) if metadata.geo and "geo" in keep else None
    result = Metadata(**{**wanted, "exif": exif, "xmp": xmp, "geo": geo})
    unheld = [part for part in TITLES if not holds(format, part, result)]
    return replace(result, **dict.fromkeys(unheld))


def metadata_notes(image: Image.Image, metadata: Metadata) -> Iterator[str]:
    """Yield a sentence for each part of a file's metadata that was left out when it was read."""
    stored = _stored_metadata(image)
    if stored.icc_profile and metadata.icc_profile is None and _converted_space(image) is None:
        yield "a color profile that does not fit its pixels was left out"
    if image.info.get("icc_profile", b"") is None and _converted_space(image) is None:
        yield "a color profile was left out, since it is damaged"  # this is how Pillow says it
    if stored.exif and metadata.exif is None and _is_damaged(stored.exif):
        yield "EXIF was left out, since it is damaged"
    if stored.geo is not None and not is_usable(stored.geo):
        yield "georeferencing was left out, since it is damaged or the picture was stored turned"


def metadata_lost(
    metadata: Metadata, format: PictureFormat, keep: Set[Held] = ALL_METADATA
) -> tuple[str, ...]:
    """Return a sentence for each part of a picture's metadata that a format cannot hold.

    Args:
        metadata: Metadata of the picture.
        format: Format of the result.
        keep: The parts that are wanted. Other parts are not mentioned.
    """
    wanted = [part for part in TITLES if part in keep and getattr(metadata, part) is not None]
    held = parts_held(format, keep)
    none = (limitation_of(part, format) for part in wanted if part not in held)
    large = (
        limitation_of(part, format, too_large=True)
        for part in wanted
        if part in format.holds and _too_large(format, part, metadata)
    )
    return (*none, *large)


def limitation_of(part: Held, format: PictureFormat, *, too_large: bool = False) -> str:
    """Return a sentence that says that a format cannot hold a part of the metadata, and the consequence.

    Args:
        part: The part that is lost.
        format: Format of the result.
        too_large: Whether the format holds such a part, but not one of this size.
    """
    if part == "icc_profile":
        return f"the picture is converted to sRGB: {format.name} cannot hold {TITLES[part]}"
    return f"{format.name} cannot hold {TITLES[part]}" + (" of this size" if too_large else "")


def parts_held(format: PictureFormat, keep: Set[Held] = ALL_METADATA) -> frozenset[Held]:
    """Return the parts of metadata that a format has a place for.

    The resolution may be stored in EXIF. Of a profile of light, the primaries are kept; other profiles are
    applied, which `PictureFormat.limitations` says.

    Args:
        format: Format of the result.
        keep: The parts that are wanted.
    """
    in_exif: frozenset[Held] = frozenset(("dpi",)) if "exif" in format.holds & keep else frozenset()
    in_primaries: frozenset[Held] = frozenset(("icc_profile",)) if format.scene_linear else frozenset()
    return (format.holds | in_exif | in_primaries) & keep


def holds(format: PictureFormat, part: Held, metadata: Metadata) -> bool:
    """Return whether a format can hold a part of this metadata in a place of its own."""
    return part in format.holds and not _too_large(format, part, metadata)


def _converted_space(image: Image.Image) -> str | None:
    format = format_of(image)
    return converted_mode(image) if format is None else format.converted_space(image)


def _stored_metadata(image: Image.Image) -> Metadata:
    format = format_of(image)
    return metadata_of_pillow(image) if format is None else format.stored_metadata(image)


def _too_large(format: PictureFormat, part: Held, metadata: Metadata) -> bool:
    content = getattr(metadata, part)
    return content is not None and not format.can_write(part, content)


def _fitted_exif(
    metadata: Metadata, format: PictureFormat, height: int, width: int, provenance: str | None
) -> bytes | None:
    """Return the EXIF of a result. Additions are left out if there is no room for them."""
    is_needed = metadata.exif or provenance or "dpi" not in format.holds
    dpi = metadata.dpi if is_needed else None
    blocks = (
        fitted_exif(metadata.exif, height, width, dpi=dots, provenance=made_by)
        for dots, made_by in ((dpi, provenance), (dpi, None), (None, None))
    )
    first = next(blocks)
    return next((block for block in (first, *blocks) if holds(format, "exif", Metadata(exif=block))), first)


def _fitting(profile: bytes | None, gray: bool) -> bytes | None:
    """Return a color profile if it is for the color space of the pixels, otherwise None.

    Source: ICC.1:2022, 7.2.6.
    """
    space = b"GRAY" if gray else b"RGB "
    return profile if profile is not None and profile[16:20] == space else None


def _clean_exif(block: bytes | None) -> bytes | None:
    """Return EXIF without orientation, thumbnail and storage tags; None if that leaves nothing to keep."""
    try:
        return exif_of_block(block) if block else None
    except ValueError:
        return None


def _is_damaged(block: bytes) -> bool:
    try:
        exif_of_block(block)
    except ValueError:
        return True
    return False


def _sensible(dpi: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return a resolution; None if it is missing, 1 (which means unknown), or beyond the 16 bits of JPEG."""
    across, down = (float(value) for value in dpi or (0, 0))
    possible = all(math.isfinite(value) and 1 < value < 65_536 for value in (across, down))
    return (_whole(across), _whole(down)) if possible else None


def _whole(dpi: float) -> float:
    """Undo the rounding of formats that count dots per meter: 300 dots per inch come back as 299.9994."""
    whole = float(round(dpi))
    return whole if round(whole / METERS_AN_INCH) == round(dpi / METERS_AN_INCH) else dpi
