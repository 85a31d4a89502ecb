"""Blocks of metadata as they stand in a picture's file, wherever each format keeps them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from esc_cli.media.metadata.iptc import IPTC_RESOURCE, iptc_of_stream
from esc_cli.media.pillow import PILLOW_ERRORS

if TYPE_CHECKING:
    from esc_cli.media.formats.png import Chunk


@dataclass(frozen=True)
class Blocks:
    """What a file has of metadata, not looked into.

    Attributes:
        icc_profile: Of the colors as the file has them.
        exif: With or without "Exif" at its beginning, perhaps damaged.
        xmp: A packet.
        dpi: Dots an inch, across and down, if they stand anywhere but in EXIF.
        iptc: An IPTC-IIM stream, without padding.
        text: Chunks of a PNG.
        comment: Of a JPEG or a GIF.
    """

    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    iptc: bytes | None = None
    text: "tuple[Chunk, ...] | None" = None
    comment: bytes | None = None


def blocks_of_pillow(image: Image.Image, *, has_dpi: bool = True) -> Blocks:
    """Gather what Pillow and its plug-ins have found.

    Args:
        image: As it was opened, decoded or not.
        has_dpi: Whether the resolution that they tell is in the file.
    """
    info, photoshop = image.info, image.info.get("photoshop")
    stream = photoshop.get(IPTC_RESOURCE) if isinstance(photoshop, dict) else None
    return Blocks(
        icc_profile=bytes_or_none(info.get("icc_profile")),
        exif=bytes_or_none(info.get("exif")) or _kept_exif(image),
        xmp=bytes_or_none(info.get("xmp")),
        dpi=info.get("dpi") if has_dpi else None,
        iptc=iptc_of_stream(stream) if isinstance(stream, bytes) else None,
        comment=bytes_or_none(info.get("comment")),
    )


def _kept_exif(image: Image.Image) -> bytes | None:
    """EXIF that somebody gave to an image in memory, or that Pillow has of a TIFF which is closed."""
    try:
        tags = image.getexif()
        return tags.tobytes() if tags else None
    except PILLOW_ERRORS:
        return None


def bytes_or_none(value: object) -> bytes | None:
    """Give bytes; None for no bytes and for anything else."""
    return value if isinstance(value, bytes) and value else None
