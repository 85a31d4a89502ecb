from dataclasses import replace

import pytest

from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.limitations import limitations
from esc_cli.media.metadata.kinds import ALL_METADATA, Held
from esc_cli.media.probe import Probe

PLAIN = Probe("PNG", 10, 10, 1, alpha=False)
DEEP = replace(PLAIN, depth_bits=16)
FLOATS = replace(PLAIN, format="TIFF", depth_bits=32, floating=True)
FLOATS_TO = "floats are converted to {} bits per channel, and NaN becomes {}: {} cannot hold floats"


@pytest.mark.parametrize(
    ("probe", "format", "said"),
    [
        (PLAIN, "JPEG", ()),
        (replace(PLAIN, alpha=True), "PNG", ()),
        (
            replace(PLAIN, alpha=True),
            "JPEG",
            ("JPEG cannot hold transparency: transparent areas are blended with white",),
        ),
        (DEEP, "PNG", ()),
        (DEEP, "JPEG", ("16 bits per channel are reduced to 8: JPEG cannot hold more",)),
        (DEEP, "AVIF", ("16 bits per channel are reduced to 12: AVIF cannot hold more",)),
        (replace(PLAIN, depth_bits=10), "AVIF", ()),
        (replace(PLAIN, depth_bits=10), "PNG", ()),
        (FLOATS, "TIFF", ()),
        (FLOATS, "PNG", (FLOATS_TO.format(16, "transparent", "PNG"),)),
        (FLOATS, "BMP", (FLOATS_TO.format(8, "white", "BMP"),)),
        (replace(PLAIN, frames=31, several="frames"), "WEBP", ()),
        (
            replace(PLAIN, frames=31, several="frames"),
            "JPEG",
            ("only the first of 31 frames is kept: JPEG holds one picture",),
        ),
        (
            replace(PLAIN, frames=31, several="frames"),
            "TIFF",
            ("the timing of 31 frames is lost: TIFF holds them as pages",),
        ),
        (
            replace(PLAIN, frames=3, several="pages"),
            "PNG",
            ("only the first of 3 pages is kept: PNG cannot hold pages",),
        ),
        (
            replace(PLAIN, alpha=True),
            "GIF",
            (
                "partially transparent pixels become opaque or fully transparent: GIF holds nothing between",
                "the colors of each picture are reduced to at most 256: GIF cannot hold more",
            ),
        ),
        (
            replace(PLAIN, format="GIF", alpha=True),
            "GIF",
            ("the colors of each picture are reduced to at most 256: GIF cannot hold more",),
        ),
        (
            replace(PLAIN, frames=3, several="frames"),
            "AVIF",
            ("the loop count of the animation is not kept: AVIF animations play forever",),
        ),
        (
            replace(PLAIN, gray=True, parts=frozenset({"icc_profile"})),
            "WEBP",
            ("the picture is converted to sRGB: WEBP stores gray as RGB, but the profile is gray",),
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
        (FORMATS["JPEG"].holds, "JPEG", ()),
        (FORMATS["PNG"].holds, "PNG", ()),
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


def test_what_is_too_large_is_said_before_the_work() -> None:
    probe = replace(PLAIN, parts=frozenset({"exif", "iptc"}), part_sizes={"exif": 65_533, "iptc": 70_000})
    assert limitations(probe, FORMATS["JPEG"], ALL_METADATA) == (
        "JPEG cannot hold IPTC captions of this size",
    )
    assert limitations(probe, FORMATS["PNG"], ALL_METADATA) == ()


def test_a_resolution_without_exif_is_lost() -> None:
    probe = replace(PLAIN, parts=frozenset({"dpi"}))
    assert limitations(probe, FORMATS["WEBP"], {"dpi"}) == (
        "WEBP cannot hold the resolution in dots per inch",
    )
