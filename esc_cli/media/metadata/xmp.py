"""XMP: keep what is still true for new pixels, and correct the rest.

Packets are changed as text, not as XML. So their bytes stay as they were written, and a packet that is not
quite well-formed is not lost. The prefixes are those that the standard and all programs use.
"""

import re

# Source: XMP specification part 2, 8.4 (tiff:) and 8.5 (exif:).
_HEIGHTS = ("tiff:ImageLength", "exif:PixelYDimension")
_WIDTHS = ("tiff:ImageWidth", "exif:PixelXDimension")

# Properties that describe other data in the file, none of which is written again: thumbnails, gain maps,
# depth maps, videos, and the name of XMP's extension in a JPEG.
# Source: XMP specification part 2, 8.4 (Thumbnails) and part 3, 1.1.3.1 (HasExtendedXMP); Ultra HDR image
# format 1.1 (hdrgm, Container); Motion Photo format 1.0 (GCamera); Apple's HDRGainMap.
_OF_OTHER_PICTURES = (
    rb"(?:xmp|xap):Thumbnails",
    rb"xmpNote:HasExtendedXMP",
    rb"hdrgm:\w+",
    rb"Container:Directory",
    rb"GContainer:Directory",
    rb"G?Camera:MicroVideo\w*",
    rb"G?Camera:MotionPhoto\w*",
    rb"HDRGainMap:\w+",
)


def upright_xmp(packet: bytes) -> bytes:
    """Return a packet that says that its picture is upright, and nothing about other pictures in its file."""
    for name in _OF_OTHER_PICTURES:
        packet = re.sub(rb"""\s%b\s*=\s*(?:"[^"]*"|'[^']*')""" % name, b"", packet)
        packet = _without_elements(packet, name)
    return _with_number(packet, "tiff:Orientation", 1)


def fitted_xmp(packet: bytes, height: int, width: int) -> bytes:
    """Correct the picture's size wherever a packet states it.

    Args:
        packet: XMP packet.
        height: Height of the picture, in pixels.
        width: Width of the picture, in pixels.
    """
    for names, size in ((_HEIGHTS, height), (_WIDTHS, width)):
        for name in names:
            packet = _with_number(packet, name, size)
    return packet


def _with_number(packet: bytes, name: str, number: int) -> bytes:
    """Set the value of a property, which may be an attribute or an element."""
    pattern = rf"""((?<=\s){name}\s*=\s*["']|<{name}>)\s*\d+\s*(?=["']|</{name}>)"""
    return re.sub(pattern.encode(), rb"\g<1>%d" % number, packet)


def _without_elements(packet: bytes, name: bytes) -> bytes:
    """Remove elements with their content. An element that is never closed stays, with all that follows."""
    kept, at = [], 0
    for opening in re.finditer(rb"<(%b)\b[^<>]*>" % name, packet):
        closing = b"" if opening[0].endswith(b"/>") else b"</%b>" % opening[1]
        end = packet.find(closing, opening.end())
        if end < 0:
            break
        if opening.start() >= at:
            kept.append(packet[at : opening.start()])
            at = end + len(closing)
    return b"".join((*kept, packet[at:]))
