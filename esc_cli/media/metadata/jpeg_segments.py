"""Segments of JPEGs, which hold metadata."""

import struct

LARGEST_CONTENT_BYTES = 65_533
"""Size of the largest content of a segment.

Source: JPEG T.81 B.1.1.4: a segment's length has 16 bits and includes the length field itself.
"""


def segment(marker: bytes, content: bytes) -> bytes:
    """Return a segment.

    Args:
        marker: The two bytes of its marker.
        content: At most ``LARGEST_CONTENT_BYTES``.

    Source:
        JPEG T.81 B.1.1.3 and B.1.1.4.
    """
    return marker + struct.pack(">H", len(content) + 2) + content
