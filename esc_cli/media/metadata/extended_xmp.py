"""XMP that is larger than a JPEG segment: the rest lies in segments of its own.

Packets are joined and split as text, so that the bytes of each property stay as they were written.
"""

import hashlib
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from xml.parsers import expat

from esc_cli.media.metadata.jpeg_segments import LARGEST_CONTENT_BYTES, segment

XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
"""Prefix of XMP in a JPEG segment. Source: XMP specification part 3, 1.1.3."""

# Source: XMP specification part 3, 1.1.3.1: the prefix of an extension is followed by its digest, its whole
# size, and the offset of this part.
_EXTENSION_IN_JPEG = b"http://ns.adobe.com/xmp/extension/\0"
_EXTENSION_HEAD = struct.Struct(">32sII")
_NAME_OF_EXTENSION = re.compile(rb"""xmpNote:HasExtendedXMP\s*(?:=\s*["']|>)\s*(\w{32})""")
_NOTE = (
    b'<rdf:Description rdf:about="" xmlns:xmpNote="http://ns.adobe.com/xmp/note/"'
    b' xmpNote:HasExtendedXMP="%s"/>'
)

_APP1 = b"\xff\xe1"
_LARGEST_PACKET_BYTES = LARGEST_CONTENT_BYTES - len(XMP_IN_JPEG)
_LARGEST_PART_BYTES = LARGEST_CONTENT_BYTES - len(_EXTENSION_IN_JPEG) - _EXTENSION_HEAD.size

_RDF = re.compile(rb"<rdf:RDF\b[^<>]*>(.*)</rdf:RDF\s*>", re.DOTALL)
_NAMESPACE = re.compile(rb"""\s(xmlns:[\w.-]+)\s*=\s*(?:"[^"<]*"|'[^'<]*')""")
_END_OF_RDF = b"</rdf:RDF"


def xmp_of_segments(contents: Iterable[bytes]) -> tuple[bytes | None, bool]:
    """Return the XMP of a JPEG, with its extension joined to it.

    Args:
        contents: Contents of the file's APP1 segments.

    Returns:
        The packet, or None if there is none; and whether its extension is missing or damaged.
    """
    contents = list(contents)
    packets = (content for content in contents if content.startswith(XMP_IN_JPEG))
    packet = next(packets, b"").removeprefix(XMP_IN_JPEG)
    named = _NAME_OF_EXTENSION.search(packet)
    if named is None:
        return packet or None, False
    joined = _joined(packet, _extension(contents, named[1]))
    return joined or packet, joined is None


def xmp_segments(packet: bytes) -> bytes:
    """Return the JPEG segments that hold a packet of any size.

    Raises:
        ValueError: The packet is too large for one segment and is not well-formed, so it cannot be split.
    """
    if len(packet) <= _LARGEST_PACKET_BYTES:
        return segment(_APP1, XMP_IN_JPEG + packet)
    main, extension = _split(packet)
    digest = hashlib.md5(extension, usedforsecurity=False).hexdigest().upper().encode()
    parts = (
        _EXTENSION_IN_JPEG
        + _EXTENSION_HEAD.pack(digest, len(extension), at)
        + extension[at : at + _LARGEST_PART_BYTES]
        for at in range(0, len(extension), _LARGEST_PART_BYTES)
    )
    first = XMP_IN_JPEG + _with(main, _NOTE % digest)
    return b"".join(segment(_APP1, content) for content in (first, *parts))


def fits_in_jpeg(packet: bytes) -> bool:
    """Return whether a packet fits in one segment, or can be split."""
    try:
        return len(packet) <= _LARGEST_PACKET_BYTES or bool(_split(packet))
    except ValueError:
        return False


# Joining


def _extension(contents: Iterable[bytes], name: bytes) -> bytes:
    """Return the extension of this name, whose parts may come in any order; empty if parts are missing."""
    parts: dict[int, bytes] = {}
    size = 0
    for content in contents:
        start = len(_EXTENSION_IN_JPEG) + _EXTENSION_HEAD.size
        if content.startswith(_EXTENSION_IN_JPEG + name) and len(content) >= start:
            _name, size, offset = _EXTENSION_HEAD.unpack_from(content, len(_EXTENSION_IN_JPEG))
            parts[offset] = content[start:]
    whole = b"".join(data for _offset, data in sorted(parts.items()))
    return whole if len(whole) == size else b""


def _joined(packet: bytes, extension: bytes) -> bytes | None:
    """Return a packet with the properties of its extension, or None if one of them has no RDF."""
    rest, place = _RDF.search(extension), packet.find(b"<rdf:RDF")
    if rest is None or place < 0 or _END_OF_RDF not in packet:
        return None
    head = packet[: packet.find(b">", place)]
    declared = {found[1] for found in _NAMESPACE.finditer(head)}
    missing = [
        found[0] for found in _NAMESPACE.finditer(extension[: rest.start(1)]) if found[1] not in declared
    ]
    at = place + len(b"<rdf:RDF")
    return _with(packet[:at] + b"".join(missing) + packet[at:], rest[1].strip() + b"\n")


def _with(packet: bytes, description: bytes) -> bytes:
    """Return a packet with one more description at the end of its RDF."""
    place = packet.rfind(_END_OF_RDF)
    return packet[:place] + description + packet[place:]


# Splitting


@dataclass(frozen=True)
class _Unit:
    """A part of a packet that can be moved: a description, or a property.

    Attributes:
        start: Where it begins.
        end: Where it ends.
        attributes: For a property, what the description that holds it must say; empty for a description.
    """

    start: int
    end: int
    attributes: str = ""


def _split(packet: bytes) -> tuple[bytes, bytes]:
    """Divide a packet in two, the first of which has room in a segment together with the note.

    As few properties as possible are moved; descriptions are moved whole if their attributes are too large.

    Raises:
        ValueError: The packet is not well-formed, or it is large outside its descriptions.
    """
    content, trailer, rest = packet.rpartition(b"<?xpacket end")
    if trailer:
        packet = content.rstrip() + b"\n" + trailer + rest  # without padding
    excess = len(packet) - _LARGEST_PACKET_BYTES + len(_NOTE % bytes(32))
    namespaces, properties, descriptions = _units(packet)
    for units in (properties, descriptions):
        moved = _largest(units, excess)
        if sum(unit.end - unit.start for unit in moved) >= excess:
            return _without(packet, moved), _extension_packet(packet, namespaces, moved)
    raise ValueError("the XMP is too large outside its descriptions")


def _largest(units: Iterable[_Unit], size: int) -> list[_Unit]:
    """Return the largest units, as many as are needed for a size in bytes, in the order of the packet."""
    moved = []
    for unit in sorted(units, key=lambda unit: unit.start - unit.end):
        if size <= 0:
            break
        moved.append(unit)
        size -= unit.end - unit.start
    return sorted(moved, key=lambda unit: unit.start)


def _extension_packet(packet: bytes, namespaces: str, moved: Iterable[_Unit]) -> bytes:
    pieces = [b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF%s>' % namespaces.encode()]
    for attributes, units in groupby(moved, key=lambda unit: unit.attributes):
        content = b"".join(packet[unit.start : unit.end] for unit in units)
        opening = b"<rdf:Description%s>" % attributes.encode()
        pieces += [opening, content, b"</rdf:Description>"] if attributes else [content]
    return b"".join((*pieces, b"</rdf:RDF></x:xmpmeta>"))


def _without(packet: bytes, units: Iterable[_Unit]) -> bytes:
    kept, at = [], 0
    for unit in units:
        kept.append(packet[at : unit.start])
        at = unit.end
    return b"".join((*kept, packet[at:]))


def _units(packet: bytes) -> tuple[str, list[_Unit], list[_Unit]]:
    """Return the namespaces around the descriptions of a packet, the properties, and the descriptions.

    Raises:
        ValueError: The packet is not well-formed.
    """
    parser = expat.ParserCreate()
    around: dict[str, str] = {}
    units: tuple[list[_Unit], list[_Unit]] = [], []
    path: list[tuple[int, str, str]] = []  # where an element begins, its name, and its attributes

    def level() -> int:
        names = [name for _start, name, _attributes in path]
        return len(names) - names.index("rdf:RDF") if "rdf:RDF" in names else 0

    def begin(name: str, attributes: dict[str, str]) -> None:
        needed = {key: value for key, value in attributes.items() if key.startswith("xmlns")}
        if level() == 0:
            around.update(needed)
        about = {"rdf:about": attributes.get("rdf:about", "")}
        path.append((parser.CurrentByteIndex, name, _written(needed | about)))

    def end(name: str) -> None:
        start, _name, _attributes = path.pop()
        stop = _end_of_element(packet, parser.CurrentByteIndex, name)
        if level() == 1:
            units[1].append(_Unit(start, stop))
        elif level() == 2:
            units[0].append(_Unit(start, stop, path[-1][2]))

    parser.StartElementHandler, parser.EndElementHandler = begin, end
    try:
        parser.Parse(packet, True)
    except expat.ExpatError as error:
        raise ValueError("the XMP is not well-formed") from error
    around.pop("xmlns:x", None)
    return _written(around), *units


def _end_of_element(packet: bytes, position: int, name: str) -> int:
    """Return where an element ends. The parser stands before its end tag, or behind an empty element."""
    has_end_tag = packet.startswith(b"</" + name.encode(), position)
    return packet.find(b">", position) + 1 if has_end_tag else position


def _written(attributes: dict[str, str]) -> str:
    from xml.sax.saxutils import quoteattr  # it imports modules for HTTP, which take 20 ms of each start

    return "".join(f" {name}={quoteattr(value)}" for name, value in attributes.items())
