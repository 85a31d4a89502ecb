"""Detection of clips by the first bytes of a file."""

_STILL_BRANDS = frozenset(b"avif avis heic heix heim heis hevc hevx mif1 msf1 miaf jxl jp2 jpx crx".split())
"""Brands of picture formats that use the boxes of MP4. Source: ISO/IEC 23008-12, AVIF 1.1, section 6."""

_MOV_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
"""First boxes of old QuickTime files, which have no brands. Source: QuickTime File Format, 2012."""

_MPEG_TS_SYNC, _MPEG_TS_PACKETS_BYTES = 0x47, (188, 192, 204)

_SIGNATURES = (
    b"\x1aE\xdf\xa3",  # EBML: Matroska, WebM
    b"YUV4MPEG2 ",
    b"FLV\x01",
    b"OggS",
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG-1/2 video
    b"0&\xb2u\x8ef\xcf\x11",  # ASF: WMV
    b"nut/multimedia container\x00",
    b"\x06\x0e+4\x02\x05\x01\x01",  # MXF
    b".RMF",
    b"DKIF",  # IVF
)
"""Signatures of the other containers. Source: their specifications, and FFmpeg's libavformat."""


def looks_like_clip(head: bytes) -> bool:
    """Return whether a file may contain video.

    AVIF and HEIC count as pictures, including their sequences. Only ``probe_clip`` knows whether there is
    video.

    Args:
        head: The first bytes of the file; 1000 bytes are enough for every kind.
    """
    return (
        head.startswith(_SIGNATURES)
        or _is_iso_media(head)
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
        or _is_mpeg_ts(head)
    )


def is_webm(head: bytes) -> bool:
    """Return whether the document type in the header is WebM, not Matroska. Source: RFC 8794, 11.2.7."""
    at = head.find(b"\x42\x82")
    return head.startswith(b"\x1aE\xdf\xa3") and at > 0 and head[at + 3 : at + 7] == b"webm"


def _is_iso_media(head: bytes) -> bool:
    if head[4:8] == b"ftyp":
        return head[8:12].strip() not in _STILL_BRANDS
    return head[4:8] in _MOV_BOXES


def _is_mpeg_ts(head: bytes) -> bool:
    """Return whether a file begins with five packets; in M2TS, four bytes precede each packet."""
    for size_bytes in _MPEG_TS_PACKETS_BYTES:
        first = 4 if size_bytes == 192 else 0
        sync = head[first : first + 4 * size_bytes + 1 : size_bytes]
        if len(sync) == 5 and set(sync) == {_MPEG_TS_SYNC}:
            return True
    return False
