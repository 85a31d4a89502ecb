"""The kinds of metadata that pictures have. A new kind is one field of ``Metadata``.

A picture format says which kinds it holds, and reads and writes them (``PictureFormat``). The fields here
decide the rest: the names in ``--metadata``, sentences about lost metadata, and what is passed on unchanged.
"""

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from esc_cli.media.formats.png_chunks import Chunk
    from esc_cli.media.metadata.geo import Georeferencing

METERS_AN_INCH = 0.0254
"""Length of an inch in meters, for formats that state a resolution in dots per meter."""

Held = str
"""The name of a kind: that of its field in ``Metadata``."""


def _kind(option: str, title: str) -> dict[str, str]:
    """Describe a kind.

    Args:
        option: Name of the kind in ``--metadata``, the same as in cwebp.
        title: Name of the kind in sentences.
    """
    return {"option": option, "title": title}


@dataclass(frozen=True)
class Metadata:
    """The metadata of a picture, as it is stored in a file, or ready to be written unchanged.

    Attributes:
        icc_profile: Profile of the colors as they are in the file, or in memory (RGB or gray). None means
            sRGB or unknown.
        exif: EXIF block. Ready to be written, it begins with "Exif" and has no orientation and no thumbnail.
        xmp: XMP packet. Ready to be written, its orientation is 1.
        dpi: Resolution in dots per inch, horizontal and vertical.
        iptc: Captions, as an IPTC-IIM stream without padding (the content of Photoshop's resource 0x0404).
        text: Chunks of a PNG that hold text.
        comment: Comment of a JPEG or a GIF, in any encoding.
        geo: Where a GeoTIFF lies on the map.
    """

    icc_profile: bytes | None = field(default=None, metadata=_kind("icc", "a color profile"))
    exif: bytes | None = field(default=None, metadata=_kind("exif", "EXIF"))
    xmp: bytes | None = field(default=None, metadata=_kind("xmp", "XMP"))
    dpi: tuple[float, float] | None = field(
        default=None, metadata=_kind("dpi", "the resolution in dots per inch")
    )
    iptc: bytes | None = field(default=None, metadata=_kind("iptc", "IPTC captions"))
    text: "tuple[Chunk, ...] | None" = field(default=None, metadata=_kind("text", "a PNG's text"))
    comment: bytes | None = field(default=None, metadata=_kind("comment", "a comment"))
    geo: "Georeferencing | None" = field(default=None, metadata=_kind("geo", "georeferencing"))


def size_bytes(content: object) -> int:
    """Return the size of a part of metadata, or 0 if it is not stored as one block."""
    return len(content) if isinstance(content, bytes) else 0


TITLES: dict[Held, str] = {one.name: one.metadata["title"] for one in fields(Metadata)}
OPTIONS: dict[str, Held] = {one.metadata["option"]: one.name for one in fields(Metadata)}
"""The kinds by the names in ``--metadata``."""

ALL_METADATA: frozenset[Held] = frozenset(TITLES)
