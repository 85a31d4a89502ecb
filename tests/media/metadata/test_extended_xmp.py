"""Test that XMP of any size comes out of a JPEG as it went in, even if other programs wrote it."""

import hashlib
import struct
from xml.etree import ElementTree

import pytest

from esc_cli.media.metadata.extended_xmp import XMP_IN_JPEG, fits_in_jpeg, xmp_of_segments, xmp_segments

EXTENSION_IN_JPEG = b"http://ns.adobe.com/xmp/extension/\0"
LARGEST = 65_533 - len(XMP_IN_JPEG)
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
PACKET = """<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:ps="http://ns.adobe.com/photoshop/1.0/"
 {attributes}><dc:format>image/jpeg</dc:format><ps:City/>{elements}</rdf:Description>
<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/">
<tiff:Make>Zoë &amp; sons > all</tiff:Make></rdf:Description></rdf:RDF></x:xmpmeta>{padding}
<?xpacket end='w'?>"""


def packet(elements: str = "", attributes: str = "", padding: str = "") -> bytes:
    return PACKET.format(elements=elements, attributes=attributes, padding=padding).encode()


def large_elements(count: int, size: int) -> str:
    return "".join(
        f"<ps:History><rdf:Bag><rdf:li>{number}{'x' * size}</rdf:li></rdf:Bag></ps:History>"
        for number in range(count)
    )


def properties(xmp: bytes) -> list[bytes]:
    """Return all properties that an XML parser finds, in any order; attributes are properties, too."""
    root = ElementTree.fromstring(xmp)  # noqa: S314 (our own XML)
    found = []
    for description in root.iter(f"{RDF}Description"):
        found += [f"{key}={value}".encode() for key, value in description.attrib.items() if value]
        found += [ElementTree.tostring(element) for element in description]
    return sorted(text.strip() for text in found if b"HasExtendedXMP" not in text)


def contents_of(segments: bytes) -> list[bytes]:
    contents = []
    while segments:
        assert segments[:2] == b"\xff\xe1"
        (length,) = struct.unpack_from(">H", segments, 2)
        contents.append(segments[4 : 2 + length])
        segments = segments[2 + length :]
    return contents


@pytest.mark.parametrize(
    "xmp",
    [
        packet(large_elements(1, 100_000)),
        packet(large_elements(5, 40_000)),
        packet(large_elements(3000, 30)),
        packet("", f'ps:Data="{"y" * 200_000}"'),
        packet(large_elements(3, 30_000), f'ps:Data="{"y" * 200_000}" ps:Odd="a > b"'),
    ],
)
def test_large_packets_are_divided_and_joined(xmp: bytes) -> None:
    contents = contents_of(xmp_segments(xmp))
    main, *parts = contents
    assert main.startswith(XMP_IN_JPEG)
    assert fits_in_jpeg(xmp)
    assert all(part.startswith(EXTENSION_IN_JPEG) and len(part) <= 65_533 for part in parts)
    heads = [struct.unpack_from(">32sII", part, len(EXTENSION_IN_JPEG)) for part in parts]
    extension = b"".join(part[len(EXTENSION_IN_JPEG) + 40 :] for part in parts)
    assert {name for name, _size, _at in heads} == {hashlib.md5(extension).hexdigest().upper().encode()}  # noqa: S324
    assert {size for _name, size, _at in heads} == {len(extension)}
    assert heads[0][0] in main
    assert properties(main.removeprefix(XMP_IN_JPEG))
    assert b"tiff:Make" in main
    joined, is_damaged = xmp_of_segments(reversed(contents))
    assert joined is not None
    assert not is_damaged
    assert properties(joined) == properties(xmp)


def test_small_packets_and_padding_need_no_extension() -> None:
    (content,) = contents_of(xmp_segments(packet()))
    assert content == XMP_IN_JPEG + packet()
    main, *_parts = contents_of(xmp_segments(packet(large_elements(1, 64_000), padding=" " * 4000)))
    assert properties(main.removeprefix(XMP_IN_JPEG)) == properties(packet(large_elements(1, 64_000)))


def test_what_cannot_be_divided() -> None:
    for xmp in (b"x" * 70_000, packet(large_elements(1, 70_000)) + b"<", packet() + b" " * 70_000):
        assert not fits_in_jpeg(xmp)
        with pytest.raises(ValueError, match="XMP"):
            xmp_segments(xmp)
    assert fits_in_jpeg(b"x" * LARGEST)


def test_an_extension_that_is_incomplete_or_belongs_to_another_packet() -> None:
    main, first, second = contents_of(xmp_segments(packet(large_elements(1, 100_000))))
    for contents in ([main], [main, first], [main, second], [main, first[:50]], [main, first, second[:-1]]):
        assert xmp_of_segments(contents) == (main.removeprefix(XMP_IN_JPEG), True)
    other = EXTENSION_IN_JPEG + b"F" * 32 + first[len(EXTENSION_IN_JPEG) + 32 :]
    assert xmp_of_segments([main, other, second])[1]
    assert xmp_of_segments([first, second]) == (None, False)


def test_namespaces_around_the_extension_are_kept() -> None:
    extension = (
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/' xmlns:pdf='http://ns.adobe.com/pdf/1.3/'>"
        b"<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>"
        b"<rdf:Description pdf:Title='a title'/></rdf:RDF></x:xmpmeta>"
    )
    name = hashlib.md5(extension).hexdigest().upper().encode()  # noqa: S324
    main = packet().replace(
        b"</rdf:RDF>",
        b'<rdf:Description xmlns:xmpNote="http://ns.adobe.com/xmp/note/">'
        b"<xmpNote:HasExtendedXMP>%s</xmpNote:HasExtendedXMP></rdf:Description></rdf:RDF>" % name,
    )
    part = EXTENSION_IN_JPEG + name + struct.pack(">II", len(extension), 0) + extension
    joined, is_damaged = xmp_of_segments([part, XMP_IN_JPEG + main])
    assert not is_damaged
    assert b"{http://ns.adobe.com/pdf/1.3/}Title=a title" in properties(joined or b"")
