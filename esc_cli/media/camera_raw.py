"""Detect camera raw files that are TIFFs. Pillow sees only a thumbnail in them, not the photo."""

from PIL import Image, TiffImagePlugin

EXTENSIONS = frozenset(
    (
        ".3fr",
        ".arw",
        ".cr2",
        ".dcr",
        ".dng",
        ".erf",
        ".iiq",
        ".kdc",
        ".mef",
        ".mos",
        ".nef",
        ".nrw",
        ".pef",
        ".sr2",
        ".srf",
        ".srw",
    )
)
"""File name extensions of camera raw files."""

# Source: DNG 1.7 (DNGVersion); TIFF 6.0 (NewSubfileType, whose bit 0 is "reduced resolution"); TIFF technical
# note 1 (SubIFDs).
_DNG_VERSION, _NEW_SUBFILE_TYPE, _SUB_DIRECTORIES = 50706, 254, 330
_REDUCED = 1

_MARKS_OFFSET = 8
_MARKS = (b"CR\2\0", b"CR\3\0", b"IIII", b"MMMM")
"""Bytes that follow the TIFF header in files by Canon and Phase One."""


def is_camera_raw(image: Image.Image, header: bytes) -> bool:
    """Return whether an opened file holds a camera's sensor data besides the thumbnail that Pillow has found.

    Args:
        image: The image as it was opened.
        header: The first bytes of the file.
    """
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    tags = image.tag_v2
    is_thumbnail = bool(int(tags.get(_NEW_SUBFILE_TYPE, 0)) & _REDUCED) and _SUB_DIRECTORIES in tags
    return _DNG_VERSION in tags or is_thumbnail or header.startswith(_MARKS, _MARKS_OFFSET)
