"""The chunks of PNGs: their checksums, and those of metadata that Pillow does not fully read and write."""

import io
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, cast

from PIL.PngImagePlugin import PngImageFile, iTXt

from esc_cli.media.metadata.exif import EXIF_MARK
from esc_cli.media.metadata.kinds import METERS_AN_INCH

_PIXELS = (b"IDAT", b"fdAT")
"""The chunks with the pixels of a still, and of an animation's later frames."""

_OF_FRAMES = (b"acTL", b"fcTL", b"fdAT")
"""Chunks of animations, which are called metadata so that other programs ignore them."""

_SIGNATURE_BYTES = 8

# Source: PNG 11.3.2 to 11.3.4.
_SIZES = {b"pHYs": 9, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4}
_WITH_KEYWORD = (b"iCCP", b"zTXt", b"iTXt")

_IGNORED = b"esCp"
"""A name for chunks of our own. Source: PNG 5.4, for the meaning of its cases."""

# Source: PNG 11.3.2 and 11.3.3; XMP specification part 3, 1.1.5 (the keyword, and that it is not compressed);
# ImageMagick's coders/png.c and ExifTool's PNG.pm (raw profiles).
_XMP_KEYWORD = b"XML:com.adobe.xmp"
RAW_PROFILE = b"Raw profile type "
_METADATA_KEYWORDS = (_XMP_KEYWORD, RAW_PROFILE)
_RAW_PROFILE_TEXT = re.compile(r"(?:[^\n]*\n){0,3}?[ \t]*(\d{1,9})[ \t\r]*\n([\s0-9A-Fa-f]*)")
"""The kind, the size, and the content in hexadecimal digits on many lines."""
_REPEATING = (b"exif:", b"icc:")
"""Prefixes of keywords under which ImageMagick repeats, tag by tag, metadata that other chunks hold."""
_TEXT_CHUNKS = (b"iTXt", b"zTXt", b"tEXt")
_COLOR_CHUNKS = frozenset((b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP"))
_BYTES_A_LINE = 36

_PER_METER = 1


@dataclass(frozen=True)
class Chunk:
    """A chunk of a PNG.

    Attributes:
        name: Type of the chunk, four letters.
        data: Content of the chunk.
    """

    name: bytes
    data: bytes

    def encoded(self) -> bytes:
        """Return the chunk as it is stored in a file. Source: PNG 5.3."""
        checksum = zlib.crc32(self.data, zlib.crc32(self.name))
        return struct.pack(">I", len(self.data)) + self.name + self.data + struct.pack(">I", checksum)


def icc_chunk(profile: bytes) -> Chunk:
    """Return a chunk with a color profile."""
    return Chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile))


def exif_block_chunk(exif: bytes) -> Chunk:
    """Return a chunk with EXIF, which does not begin with "Exif" in a PNG."""
    return Chunk(b"eXIf", exif.removeprefix(EXIF_MARK))


def xmp_chunk(packet: bytes) -> Chunk:
    """Return a chunk with XMP."""
    return Chunk(b"iTXt", _XMP_KEYWORD + bytes(5) + packet)


def resolution_chunk(dpi: tuple[float, float]) -> Chunk:
    """Return a chunk with a horizontal and a vertical resolution, given in dots per inch."""
    across, down = (round(value / METERS_AN_INCH) for value in dpi)
    return Chunk(b"pHYs", struct.pack(">IIB", across, down, _PER_METER))


def raw_profile_chunk(kind: str, content: bytes) -> Chunk:
    """Return a chunk with metadata for which PNG has no chunk type.

    The metadata is stored as ImageMagick does it, as hexadecimal text under a keyword.

    Args:
        kind: Kind of the metadata, such as "iptc".
        content: The metadata; any bytes are allowed.
    """
    lines = (content[at : at + _BYTES_A_LINE].hex().encode() for at in range(0, len(content), _BYTES_A_LINE))
    text = b"\n%s\n%8d\n%s\n" % (kind.encode(), len(content), b"\n".join(lines))
    return Chunk(b"zTXt", RAW_PROFILE + kind.encode() + b"\0\0" + zlib.compress(text))


def raw_profile(text: object) -> bytes:
    """Return the content of a raw profile's text; empty if the text is not a raw profile.

    White space may differ from what ImageMagick writes, and the content may be shorter or longer than stated.
    """
    found = _RAW_PROFILE_TEXT.match(text) if isinstance(text, str) else None
    if found is None:
        return b""
    digits = "".join(found[2].split())
    return bytes.fromhex(digits[: min(2 * int(found[1]), len(digits) // 2 * 2)])


def comment_chunk(comment: bytes) -> Chunk:
    """Return a text chunk with a comment. Source: PNG 11.3.3.1 (keywords), 11.3.3.2 and 11.3.3.4."""
    text = comment.replace(b"\0", b"")
    try:
        text.decode()
    except UnicodeDecodeError:
        return Chunk(b"tEXt", b"Comment\0" + text)
    return Chunk(b"iTXt", b"Comment" + bytes(5) + text)


def with_metadata_chunks(png: bytes, chunks: Sequence[Chunk]) -> bytes:
    """Insert chunks before the pixels of a PNG and remove the metadata that its encoder wrote.

    Args:
        png: Content of a finished file, still or animated.
        chunks: The chunks to insert, in any order. All of them may come before the palette and the pixels.
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
        return bytes(content[: len(RAW_PROFILE)]).startswith(_METADATA_KEYWORDS)
    return name in (b"iCCP", b"eXIf", b"pHYs")


def exif_chunk(file: IO[bytes]) -> bytes | None:
    """Return the EXIF of a PNG, wherever it is stored, and restore the file position."""
    here = file.tell()
    try:
        return next((file.read(length) for name, length in _chunks(file) if name == b"eXIf"), None)
    finally:
        file.seek(here)


def text_chunks(image: PngImageFile) -> tuple[Chunk, ...]:
    """Return the text of a PNG, except text that holds metadata of another kind.

    Text after the pixels is included only if the pixels have been decoded. If several texts have the same
    keyword, the last one is returned.

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


class Mended(io.BytesIO):
    """A PNG whose metadata was corrected.

    Attributes:
        wrong_checksums: Names of the chunks whose checksums were corrected.
        malformed: Names of the chunks that were hidden, because they cannot be read.
    """

    wrong_checksums: tuple[str, ...] = ()
    malformed: tuple[str, ...] = ()


def with_metadata_mended(file: IO[bytes]) -> IO[bytes]:
    """Return a PNG without the faults in its metadata for which Pillow refuses a file.

    Only chunks that programs may ignore are changed. The names of the others begin with an upper-case letter
    (source: PNG 5.4). A chunk that cannot be read is hidden: it gets a name that readers ignore. Of any other
    chunk, a wrong checksum is corrected.

    Args:
        file: The file. It is returned, positioned at its beginning, if nothing is to be corrected.
    """
    wrong: list[bytes] = []
    malformed: list[bytes] = []
    places: list[tuple[int, int, bool]] = []
    for name, length in _chunks(file):
        if not name[:1].islower() or name in _OF_FRAMES:
            continue
        start = file.tell() - len(name)
        intact, fits = _is_intact(file, name, length), _can_be_read(file, name, start + len(name), length)
        if not (intact and fits):
            (wrong if fits else malformed).append(name)
            places.append((start, start + len(name) + length, fits))
    file.seek(0)
    if not places:
        return file
    content = bytearray(file.read())
    for start, end, fits in places:
        if not fits:
            content[start : start + 4] = _IGNORED
        content[end : end + 4] = zlib.crc32(content[start:end]).to_bytes(4, "big")
    mended = Mended(content)
    mended.wrong_checksums, mended.malformed = (
        tuple(dict.fromkeys(name.decode("ascii", "replace") for name in names))
        for names in (wrong, malformed)
    )
    return mended


def _can_be_read(file: IO[bytes], name: bytes, start: int, length: int) -> bool:
    """Return whether a chunk has the size that PNG states, or a keyword and the only compression of PNG."""
    if name not in _WITH_KEYWORD:
        return length == _SIZES.get(name, length)
    file.seek(start)
    _, _, rest = file.read(length).partition(b"\0")
    if name == b"iTXt":  # a flag, the compression, a language and the translated keyword precede the text
        return rest[:2] in (b"\0\0", b"\1\0") and rest.count(b"\0", 2) >= 2
    return rest[:1] == b"\0"


def pixels_are_intact(file: IO[bytes]) -> bool:
    """Return whether the checksums of a PNG's pixels match.

    Pillow reads the checksums but ignores them. Without this check, a picture with damaged pixels would be
    accepted. The file position is restored.
    """
    here = file.tell()
    try:
        return all(_is_intact(file, name, length) for name, length in _chunks(file) if name in _PIXELS)
    finally:
        file.seek(here)


def _is_intact(file: IO[bytes], name: bytes, length: int) -> bool:
    """Return whether the CRC matches the chunk's name and data. Source: PNG 5.5."""
    computed = zlib.crc32(file.read(length), zlib.crc32(name)).to_bytes(4, "big")
    return file.read(4) in (computed, b"")  # Pillow reports a file that ends here as incomplete


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yield each chunk's name and length, with the file positioned at its data. Source: PNG 5.3."""
    position = _SIGNATURE_BYTES
    file.seek(position)
    while len(head := file.read(8)) == 8:
        length, name = cast(tuple[int, bytes], struct.unpack(">I4s", head))
        yield name, length
        position += length + 12
        file.seek(position)
