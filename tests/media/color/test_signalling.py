"""Test files that state their colors without a profile, built chunk by chunk and box by box."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from esc_cli.media.color.profiles import gray_profile, power_curve, rgb_profile, srgb_curve
from esc_cli.media.color.signalling import PRIMARIES, transfer_curve
from esc_cli.media.formats.registry import format_of

MakePng = Callable[..., bytes]

GAMMA_22 = struct.pack(">I", 45455)
GAMMA_25 = struct.pack(">I", 40000)
SRGB_CHROMATICITIES = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
P3_CHROMATICITIES = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)

RGB, GRAY = 2, 0


def implied(file: bytes) -> bytes | None:
    with Image.open(io.BytesIO(file)) as image:
        return signalled_profile(image, file[:65536])


def signalled_profile(image: Image.Image, header: bytes) -> bytes | None:
    format = format_of(image)
    assert format is not None
    return format.signalled_profile(image, header)


def png(make_png: MakePng, chunks: dict[bytes, bytes], color_type: int = RGB) -> bytes:
    return make_png((1, 1), 8, color_type, [bytes(3 if color_type == RGB else 1)], before=chunks)


def light(profile: bytes | None, value: int) -> float:
    """Return the light of a neutral value, as Y in 0..1, computed by littlecms."""
    assert profile is not None
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    lab = ImageCms.buildTransform(opened, ImageCms.createProfile("LAB"), "RGB", "LAB", 1)
    lightness = lab.apply(Image.new("RGB", (1, 1), (value, value, value))).getpixel((0, 0))
    assert isinstance(lightness, tuple)
    return float(((lightness[0] / 2.55 + 16) / 116) ** 3)


@pytest.mark.parametrize(
    "chunks",
    [
        {},
        {b"gAMA": GAMMA_22},
        {b"gAMA": struct.pack(">I", 45000), b"cHRM": SRGB_CHROMATICITIES},
        {b"cHRM": SRGB_CHROMATICITIES},
        {b"sRGB": b"\0", b"gAMA": GAMMA_25, b"cHRM": P3_CHROMATICITIES},
        {b"cICP": bytes((1, 13, 0, 1))},
        {b"cICP": bytes((1, 13, 0, 1)), b"gAMA": GAMMA_25},
        {b"cICP": bytes((1, 1, 0, 1))},  # the transfer curve of television, which is shown as sRGB
        {b"cICP": bytes((2, 2, 0, 1))},  # unspecified
        {b"cICP": bytes((12, 99, 0, 1))},
        {b"cICP": bytes((99, 13, 0, 1))},
        {b"gAMA": bytes(4)},
        {b"gAMA": b"\0\0\0\1"},
        {b"gAMA": b"\x7f\xff\xff\xff"},
        {b"cHRM": bytes(32)},
        {b"cHRM": b"\xff" * 32},
    ],
)
@pytest.mark.parametrize("color_type", [RGB, GRAY])
def test_srgb_and_nonsense_imply_nothing(
    make_png: MakePng, chunks: dict[bytes, bytes], color_type: int
) -> None:
    assert implied(png(make_png, chunks, color_type)) is None


def test_gamma(make_png: MakePng) -> None:
    assert implied(png(make_png, {b"gAMA": GAMMA_25})) == rgb_profile(PRIMARIES[1], power_curve(2.5))
    assert implied(png(make_png, {b"gAMA": GAMMA_25}, GRAY)) == gray_profile(power_curve(2.5))


def test_chromaticities(make_png: MakePng) -> None:
    p3 = PRIMARIES[12]
    assert implied(png(make_png, {b"cHRM": P3_CHROMATICITIES})) == rgb_profile(p3, srgb_curve())
    both = {b"cHRM": P3_CHROMATICITIES, b"gAMA": struct.pack(">I", 100_000)}
    assert implied(png(make_png, both)) == rgb_profile(p3, power_curve(1))
    assert implied(png(make_png, both, GRAY)) == gray_profile(power_curve(1))
    assert implied(png(make_png, {b"cHRM": P3_CHROMATICITIES}, GRAY)) is None


def test_code_points_come_before_all_else(make_png: MakePng, srgb_profile: bytes) -> None:
    iccp = b"name\0\0" + zlib.compress(srgb_profile)
    p3 = {b"cICP": bytes((12, 13, 0, 1)), b"gAMA": GAMMA_25, b"iCCP": iccp}
    assert implied(png(make_png, p3)) == rgb_profile(PRIMARIES[12], srgb_curve())
    assert implied(png(make_png, {b"iCCP": iccp, b"gAMA": GAMMA_25, b"cHRM": P3_CHROMATICITIES})) is None
    srgb = {b"cICP": bytes((1, 13, 0, 1)), b"iCCP": iccp}
    assert implied(png(make_png, srgb)) == rgb_profile(PRIMARIES[1], srgb_curve())


def test_code_points_behind_the_pixels_are_not_for_them(make_png: MakePng) -> None:
    file = make_png((1, 1), 8, RGB, [bytes(3)], after={b"cICP": bytes((12, 13, 0, 1))})
    assert implied(file) is None


def test_what_is_unspecified_is_as_in_srgb(make_png: MakePng) -> None:
    p3 = png(make_png, {b"cICP": bytes((12, 2, 0, 1))})
    assert implied(p3) == rgb_profile(PRIMARIES[12], srgb_curve())
    linear = png(make_png, {b"cICP": bytes((2, 8, 0, 1))})
    assert implied(linear) == rgb_profile(PRIMARIES[1], power_curve(1))


def test_code_points_of_gray(make_png: MakePng) -> None:
    assert implied(png(make_png, {b"cICP": bytes((9, 8, 0, 1))}, GRAY)) == gray_profile(power_curve(1))
    assert implied(png(make_png, {b"cICP": bytes((9, 13, 0, 1))}, GRAY)) is None


def test_hdr_curves_by_their_published_points(make_png: MakePng) -> None:
    """By ITU-R BT.2408-7, 2.1, reference white (203 cd/m2) is at 58% of PQ and 75% of HLG."""
    pq, hlg = (implied(png(make_png, {b"cICP": bytes((9, code, 0, 1))})) for code in (16, 18))
    assert light(pq, round(0.58 * 255)) * 10_000 == pytest.approx(203, rel=0.08)  # 8-bit L* is coarse
    assert light(hlg, round(0.75 * 255)) * 1000 == pytest.approx(203, rel=0.08)
    for profile in (pq, hlg):
        assert light(profile, 0) == pytest.approx(0, abs=0.003)
        assert light(profile, 255) == pytest.approx(1, abs=0.001)


def test_boxes_of_avif(srgb_profile: bytes) -> None:
    pixels = Image.new("RGB", (16, 16), (200, 10, 30))
    content = io.BytesIO()
    pixels.save(content, "AVIF")
    file = content.getvalue()
    srgb = b"colrnclx" + struct.pack(">HH", 1, 13)
    assert srgb in file
    assert implied(file) is None
    for points in ((12, 13), (9, 16), (9, 14)):
        primaries, curve = PRIMARIES[points[0]], transfer_curve(points[1])
        assert curve is not None
        assert implied(file.replace(srgb, srgb[:8] + struct.pack(">HH", *points))) == rgb_profile(
            primaries, curve
        )
    assert implied(file.replace(srgb, srgb[:8] + struct.pack(">HH", 2, 2))) is None
    content = io.BytesIO()
    pixels.save(content, "AVIF", icc_profile=srgb_profile)  # takes precedence over nclx
    assert implied(content.getvalue().replace(srgb, srgb[:8] + struct.pack(">HH", 12, 13))) is None


def test_other_formats_imply_nothing() -> None:
    for format in ("JPEG", "WEBP", "TIFF", "BMP", "GIF"):
        content = io.BytesIO()
        Image.new("RGB", (8, 8)).save(content, format)
        assert implied(content.getvalue() + b"colrnclx" + struct.pack(">HH", 12, 13)) is None


@given(st.binary(max_size=200))
def test_any_header_is_survived(noise: bytes) -> None:
    image = Image.new("RGB", (1, 1))
    for format, beginning in (("PNG", b"\x89PNG\r\n\x1a\n"), ("AVIF", b"\0\0\0\x20ftypavif"), ("AVIF", b"")):
        image.format = format
        for marker in (b"", b"\0\0\0\4cICP", b"colrnclx"):
            header = beginning + marker + noise
            profile = signalled_profile(image, header)
            assert profile is None or profile[36:40] == b"acsp"


def test_the_gamma_of_the_corpus(shared: Path) -> None:
    """PngSuite's g25n2c08 has a gAMA of 2.5, so its values are lower than the light they stand for."""
    profile = implied((shared / "corpus" / "gamma_chunk.png").read_bytes())
    assert light(profile, 128) == pytest.approx((128 / 255) ** 0.4, abs=0.01)
    assert np.isclose(light(profile, 255), 1)
