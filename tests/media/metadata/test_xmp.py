"""Test that XMP properties of the old pixels are corrected in every XML form, and all other bytes stay."""

from xml.etree import ElementTree

import pytest

from esc_cli.media.metadata.xmp import fitted_xmp, upright_xmp

TIFF, EXIF = "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
PACKET = """<?xpacket begin='' id='W5M0MpCehiHzreSzNTczkc9d'?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" xmlns:Container="http://ns.google.com/photos/1.0/container/"
 xmlns:Item="http://ns.google.com/photos/1.0/container/item/" {attributes}>
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Zoë, 4000 x 3000</rdf:li></rdf:Alt></dc:title>{elements}
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end='w'?>"""
AS_ATTRIBUTES = (
    """tiff:Orientation="6" tiff:ImageWidth='4000' tiff:ImageLength = "3000" exif:PixelXDimension="4000"
 exif:PixelYDimension="3000\"""",
    "",
)
AS_ELEMENTS = (
    "",
    "<tiff:Orientation>6</tiff:Orientation><tiff:ImageWidth>4000</tiff:ImageWidth>"
    "<tiff:ImageLength> 3000 </tiff:ImageLength><exif:PixelXDimension>4000</exif:PixelXDimension>"
    "<exif:PixelYDimension>3000</exif:PixelYDimension>",
)


def packet(attributes: str, elements: str) -> bytes:
    return PACKET.format(attributes=attributes, elements=elements).encode()


def properties(xmp: bytes) -> dict[str, str]:
    """Return the properties that an XML parser finds, in attributes and in elements."""
    description = next(ElementTree.fromstring(xmp).iter(f"{RDF}Description"))  # noqa: S314 (our own XML)
    found = dict(description.attrib)
    found |= {element.tag: (element.text or "").strip() for element in description}
    return found


@pytest.mark.parametrize("form", [AS_ATTRIBUTES, AS_ELEMENTS])
def test_size_and_orientation_are_corrected(form: tuple[str, str]) -> None:
    before = packet(*form)
    after = fitted_xmp(upright_xmp(before), 600, 800)
    found = properties(after)
    assert found[f"{{{TIFF}}}Orientation"] == "1"
    assert found[f"{{{TIFF}}}ImageWidth"] == found[f"{{{EXIF}}}PixelXDimension"] == "800"
    assert found[f"{{{TIFF}}}ImageLength"] == found[f"{{{EXIF}}}PixelYDimension"] == "600"
    assert "Zoë, 4000 x 3000".encode() in after


def test_nothing_is_added_or_moved() -> None:
    before = packet("", "")
    assert fitted_xmp(upright_xmp(before), 600, 800) == before


@pytest.mark.parametrize(
    "other",
    [
        ("", "<xmp:Thumbnails><rdf:Alt><rdf:li>AAAA\n</rdf:li></rdf:Alt></xmp:Thumbnails>"),
        ("", '<xmp:Thumbnails rdf:parseType="Resource">AAAA</xmp:Thumbnails >'[:-2] + ">"),
        ("", '<xmp:Thumbnails rdf:resource="x"/>'),
        ('hdrgm:Version="1.0"', ""),
        ("hdrgm:GainMapMax='2.5'", "<hdrgm:GainMapMin><rdf:Seq/></hdrgm:GainMapMin>"),
        (
            "",
            '<Container:Directory><rdf:Seq><rdf:li Item:Semantic="GainMap"/></rdf:Seq></Container:Directory>',
        ),
    ],
)
def test_other_pictures_are_not_spoken_of(other: tuple[str, str]) -> None:
    after = upright_xmp(packet(*other))
    assert properties(after) == properties(packet("", ""))


def test_many_unclosed_elements_take_no_time() -> None:
    broken = b"<xmp:Thumbnails>" * 200_000
    assert upright_xmp(broken) == broken
    assert upright_xmp(b"<xmp:Thumbnails " * 200_000).startswith(b"<xmp:Thumbnails ")
