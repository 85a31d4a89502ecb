"""PNG's chunks: what Pillow leaves out when reading, and metadata put into a finished file."""

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, cast

from PIL.PngImagePlugin import PngImageFile, iTXt

_PIXELS = (b"IDAT", b"fdAT")
"""The chunks of a still, and of an animation's later frames."""

_SIGNATURE_BYTES = 8

# Source: PNG 11.3.2 and 11.3.3; XMP specification part 3, 1.1.5 (the keyword, and that it is not compressed);
# ImageMagick's coders/png.c and ExifTool's PNG.pm (raw profiles).
_XMP_KEYWORD = b"XML:com.adobe.xmp"
_RAW_PROFILE = b"Raw profile type "
_METADATA_KEYWORDS = (_XMP_KEYWORD, _RAW_PROFILE)
_REPEATING = (b"exif:", b"icc:")
"""What the keywords begin with under which ImageMagick repeats, tag by tag, what stands elsewhere, too."""
_TEXT_CHUNKS = (b"iTXt", b"zTXt", b"tEXt")
_COLOR_CHUNKS = frozenset((b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP"))
_BYTES_A_LINE = 36

_METERS_AN_INCH = 0.0254
_PER_METER = 1


@dataclass(frozen=True)
class Chunk:
    """A part of a PNG.

    Attributes:
        name: Its type, four letters.
        data: Its content.
    """

    name: bytes
    data: bytes

    def encoded(self) -> bytes:
        """The chunk as it stands in a file. Source: PNG 5.3."""
        checksum = zlib.crc32(self.data, zlib.crc32(self.name))
        return struct.pack(">I", len(self.data)) + self.name + self.data + struct.pack(">I", checksum)


def icc_chunk(profile: bytes) -> Chunk:
    """Hold a color profile."""
    return Chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile))


def exif_block_chunk(exif: bytes) -> Chunk:
    """Hold EXIF, which in PNG has no "Exif" at its beginning."""
    return Chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))


def xmp_chunk(packet: bytes) -> Chunk:
    """Hold XMP."""
    return Chunk(b"iTXt", _XMP_KEYWORD + bytes(5) + packet)


def resolution_chunk(dpi: tuple[float, float]) -> Chunk:
    """Hold a resolution, given in dots an inch, across and down."""
    across, down = (round(value / _METERS_AN_INCH) for value in dpi)
    return Chunk(b"pHYs", struct.pack(">IIB", across, down, _PER_METER))


def raw_profile_chunk(kind: str, content: bytes) -> Chunk:
    """Hold what PNG has no place for, as ImageMagick does: hexadecimal text under a keyword.

    Args:
        kind: What it is: "iptc".
        content: At will.
    """
    lines = (content[at : at + _BYTES_A_LINE].hex().encode() for at in range(0, len(content), _BYTES_A_LINE))
    text = b"\n%s\n%8d\n%s\n" % (kind.encode(), len(content), b"\n".join(lines))
    return Chunk(b"zTXt", _RAW_PROFILE + kind.encode() + b"\0\0" + zlib.compress(text))


def raw_profile(text: object) -> bytes:
    """Take the content out of a raw profile's text; empty if it is none."""
    if not isinstance(text, str):
        return b""
    _empty, *lines = text.split("\n", maxsplit=3)  # the kind, the size, and the content in many lines
    try:
        return bytes.fromhex(lines[2]) if len(lines) == 3 else b""
    except ValueError:
        return b""


def comment_chunk(comment: bytes) -> Chunk:
    """Hold another format's comment as text. Source: PNG 11.3.3.1 (keywords), 11.3.3.2 and 11.3.3.4."""
    text = comment.replace(b"\0", b"")
    try:
        text.decode()
    except UnicodeDecodeError:
        return Chunk(b"tEXt", b"Comment\0" + text)
    return Chunk(b"iTXt", b"Comment" + bytes(5) + text)


def with_metadata_chunks(png: bytes, chunks: Sequence[Chunk]) -> bytes:
    """Give a PNG these chunks before its pixels, instead of whatever metadata its encoder wrote.

    Args:
        png: A finished file; an animated one, too.
        chunks: Before the palette and the pixels, all may come in any order.
    """
    with io.BytesIO(png) as file:
        found = [(name, file.tell() - 8, length + 12) for name, length in _chunks(file)]
    has_profile = any(chunk.name == b"iCCP" for chunk in chunks)
    view = memoryview(png)
    pieces: list[bytes | memoryview] = [view[:_SIGNATURE_BYTES]]
    for name, start, size in found:
        content = view[start + 8 : start + size - 4]
        if not _is_metadata(name, content) and not (has_profile and name in _COLOR_CHUNKS):
            pieces.append(view[start : start + size])
        if name == b"IHDR":
            pieces += [chunk.encoded() for chunk in chunks]
    return b"".join(pieces)


def _is_metadata(name: bytes, content: memoryview) -> bool:
    if name in _TEXT_CHUNKS:
        return bytes(content[: len(_RAW_PROFILE)]).startswith(_METADATA_KEYWORDS)
    return name in (b"iCCP", b"eXIf", b"pHYs")


def exif_chunk(file: IO[bytes]) -> bytes | None:
    """The EXIF of a PNG, wherever it stands in the file, which is left where it was read."""
    here = file.tell()
    try:
        return next((file.read(length) for name, length in _chunks(file) if name == b"eXIf"), None)
    finally:
        file.seek(here)


def text_chunks(image: PngImageFile) -> tuple[Chunk, ...]:
    """The text of a PNG, but for what is metadata of another kind.

    What stands behind the pixels is there when they were decoded; of texts under one keyword the last is.

    Source: PNG 11.3.3.2 and 11.3.3.4.
    """
    stream = getattr(image, "png", None)  # neither a decoded nor a copied image has it
    texts = stream.im_text if stream is not None else getattr(image, "_text", None) or {}
    return tuple(
        _text_chunk(keyword, text)
        for keyword, text in texts.items()
        if not keyword.encode("latin-1").startswith((*_METADATA_KEYWORDS, *_REPEATING))
    )


def _text_chunk(keyword: str, text: str | iTXt) -> Chunk:
    name = keyword.encode("latin-1") + b"\0"
    if not isinstance(text, iTXt):
        return Chunk(b"tEXt", name + text.encode("latin-1"))
    language, translated_keyword = str(text.lang or ""), str(text.tkey or "")
    content = "\0".join((language, translated_keyword, text)).encode()
    return Chunk(b"iTXt", name + bytes(2) + content)  # not compressed


def pixels_are_intact(file: IO[bytes]) -> bool:
    """Whether the checksums of a PNG's pixels are right, which Pillow reads and throws away.

    Without this, a picture with a broken stretch in it would pass for a good one. The file is left where it
    was read.
    """
    here = file.tell()
    try:
        return all(_is_intact(file, name, length) for name, length in _chunks(file) if name in _PIXELS)
    finally:
        file.seek(here)


def _is_intact(file: IO[bytes], name: bytes, length: int) -> bool:
    """Source: PNG 5.5: the CRC is of the chunk's name and data."""
    computed = zlib.crc32(file.read(length), zlib.crc32(name)).to_bytes(4, "big")
    return file.read(4) in (computed, b"")  # a file which ends here is called incomplete by Pillow


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Names and lengths of a PNG's chunks, the file standing at each one's data. Source: PNG 5.3."""
    position = _SIGNATURE_BYTES
    file.seek(position)
    while len(head := file.read(8)) == 8:
        length, name = cast(tuple[int, bytes], struct.unpack(">I4s", head))
        yield name, length
        position += length + 12
        file.seek(position)
