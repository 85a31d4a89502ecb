from dataclasses import replace

import pytest

from esc_cli.media.formats.base import ALL_METADATA, Held
from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.limitations import limitations
from esc_cli.media.probe import Probe

PLAIN = Probe("PNG", 10, 10, 1, alpha=False)
DEEP = replace(PLAIN, depth_bits=16)
FLOATS = replace(PLAIN, format="TIFF", depth_bits=32, floating=True)


@pytest.mark.parametrize(
    ("probe", "format", "said"),
    [
        (PLAIN, "JPEG", ()),
        (replace(PLAIN, alpha=True), "PNG", ()),
        (
            replace(PLAIN, alpha=True),
            "JPEG",
            ("JPEG cannot hold transparency: what is transparent is laid on white",),
        ),
        (DEEP, "PNG", ()),
        (DEEP, "JPEG", ("16 bits a channel become 8: JPEG holds no more",)),
        (DEEP, "AVIF", ("16 bits a channel become 12: AVIF holds no more",)),
        (replace(PLAIN, depth_bits=10), "AVIF", ()),
        (replace(PLAIN, depth_bits=10), "PNG", ()),
        (FLOATS, "TIFF", ()),
        (FLOATS, "PNG", ("floats become 16 bits a channel: PNG holds no floats",)),
        (FLOATS, "BMP", ("floats become 8 bits a channel: BMP holds no floats",)),
        (replace(PLAIN, frames=31, several="frames"), "WEBP", ()),
        (
            replace(PLAIN, frames=31, several="frames"),
            "JPEG",
            ("only the first of 31 frames: JPEG holds one",),
        ),
        (
            replace(PLAIN, frames=31, several="frames"),
            "TIFF",
            ("the timing of 31 frames: TIFF holds them as pages",),
        ),
        (
            replace(PLAIN, frames=3, several="pages"),
            "PNG",
            ("only the first of 3 pages: PNG holds none",),
        ),
        (
            replace(PLAIN, alpha=True),
            "GIF",
            (
                "what is half transparent becomes opaque or vanishes: GIF holds nothing between",
                "the colors of each picture become 256 at most: GIF holds no more",
            ),
        ),
        (
            replace(PLAIN, format="GIF", alpha=True),
            "GIF",
            ("the colors of each picture become 256 at most: GIF holds no more",),
        ),
        (
            replace(PLAIN, frames=3, several="frames"),
            "AVIF",
            ("how often the animation is played: AVIF is played for ever",),
        ),
        (
            replace(PLAIN, gray=True, parts=frozenset({"icc_profile"})),
            "WEBP",
            ("the picture is converted to sRGB: WEBP holds gray as colors, its profile is of gray",),
        ),
        (replace(PLAIN, gray=True, parts=frozenset({"icc_profile"})), "AVIF", ()),
        (
            replace(PLAIN, notes=("Lab colors were converted to sRGB",)),
            "PNG",
            ("Lab colors were converted to sRGB",),
        ),
    ],
)
def test_what_pixels_lose(probe: Probe, format: str, said: tuple[str, ...]) -> None:
    assert limitations(probe, FORMATS[format], ALL_METADATA) == said


@pytest.mark.parametrize(
    ("parts", "format", "said"),
    [
        (ALL_METADATA - {"text"}, "JPEG", ()),
        (ALL_METADATA, "PNG", ()),
        ({"text", "comment"}, "TIFF", ("TIFF cannot hold a comment", "TIFF cannot hold a PNG's text")),
        ({"icc_profile"}, "BMP", ("the picture is converted to sRGB: BMP cannot hold a color profile",)),
        ({"exif", "xmp"}, "BMP", ("BMP cannot hold EXIF", "BMP cannot hold XMP")),
        ({"iptc"}, "WEBP", ("WEBP cannot hold IPTC captions",)),
        ({"dpi"}, "WEBP", ()),  # it goes into EXIF
    ],
)
def test_what_metadata_loses(parts: set[Held], format: str, said: tuple[str, ...]) -> None:
    probe = replace(PLAIN, parts=frozenset(parts))
    assert limitations(probe, FORMATS[format], ALL_METADATA) == said
    assert limitations(probe, FORMATS[format], frozenset()) == ()


def test_a_resolution_without_exif_is_lost() -> None:
    probe = replace(PLAIN, parts=frozenset({"dpi"}))
    assert limitations(probe, FORMATS["WEBP"], {"dpi"}) == (
        "WEBP cannot hold the resolution in dots an inch",
    )
