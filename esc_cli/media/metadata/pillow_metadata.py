"""Metadata as Pillow and its plug-ins have found it in a file."""

from PIL import Image

from esc_cli.media.metadata.iptc import IPTC_RESOURCE, iptc_of_stream
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.pillow import PILLOW_ERRORS


def metadata_of_pillow(image: Image.Image, *, has_dpi: bool = True) -> Metadata:
    """Gather the metadata that Pillow and its plug-ins have found.

    Args:
        image: The image as it was opened, decoded or not.
        has_dpi: Whether the resolution that they report is really in the file.
    """
    info, photoshop = image.info, image.info.get("photoshop")
    stream = photoshop.get(IPTC_RESOURCE) if isinstance(photoshop, dict) else None
    return Metadata(
        icc_profile=bytes_or_none(info.get("icc_profile")),
        exif=bytes_or_none(info.get("exif")) or _kept_exif(image),
        xmp=bytes_or_none(info.get("xmp")),
        dpi=info.get("dpi") if has_dpi else None,
        iptc=iptc_of_stream(stream) if isinstance(stream, bytes) else None,
        comment=bytes_or_none(info.get("comment")),
    )


def _kept_exif(image: Image.Image) -> bytes | None:
    """Return EXIF that was set on an image in memory, or that Pillow keeps of a closed TIFF."""
    try:
        tags = image.getexif()
        return tags.tobytes() if tags else None
    except PILLOW_ERRORS:
        return None


def bytes_or_none(value: object) -> bytes | None:
    """Return a value if it is bytes and not empty, otherwise None."""
    return value if isinstance(value, bytes) and value else None
