"""Radiance HDR and OpenEXR: values that are light, beyond white."""

import io
import math
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from esc_cli.errors import DamageError, InputError
from esc_cli.media.color.light import light_profile, primaries_of
from esc_cli.media.color.signalling import PRIMARIES
from esc_cli.media.formats.encoding import values_of
from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.limitations import limitations
from esc_cli.media.metadata.kinds import ALL_METADATA
from esc_cli.media.opening import opened
from esc_cli.media.picture import PictureFile
from esc_cli.media.probe import probe
from esc_cli.media.read import read_file, read_picture
from esc_cli.media.write import encode_file

Values = npt.NDArray[np.float32]

needs_openexr = pytest.mark.skipif(not FORMATS["OpenEXR"].is_installed(), reason="OpenEXR is not installed")

REC_2020 = (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290)


def lights(height: int = 6, width: int = 12, channels: int = 3, largest: float = 40.0) -> Values:
    random = np.random.default_rng(height * width)
    values = (random.uniform(0, 1, (height, width, channels)) ** 4 * largest).astype(np.float32)
    values[0, 0] = 0
    return values


def read(content: bytes) -> Values:
    values: Values = values_of(read_file(content).first)
    return values


def rewritten(content: bytes, format: str) -> bytes:
    return encode_file(read_file(content), FORMATS[format])


# Radiance


def rgbe(values: Values) -> npt.NDArray[np.uint8]:
    """Return shared exponents. Source: G. Ward, "Real Pixels", Graphics Gems II."""
    largest = values.max(axis=2, keepdims=True)
    parts, exponents = np.frexp(largest)
    scaled = np.where(largest > 0, values * parts * 256 / np.maximum(largest, 1e-30), 0)
    return np.concatenate((scaled, np.where(largest > 0, exponents + 128, 0)), axis=2).astype(np.uint8)


def light_of(pixels: npt.NDArray[np.uint8]) -> Values:
    return (pixels[..., :3] * np.ldexp(1.0, pixels[..., 3:].astype(int) - 136)).astype(np.float32)


def radiance(
    pixels: npt.NDArray[np.uint8], kind: str = "flat", resolution: str = "-Y {} +X {}", lines: str = ""
) -> bytes:
    height, width = pixels.shape[:2]
    header = f"#?RADIANCE\n{lines}FORMAT=32-bit_rle_rgbe\n\n{resolution.format(height, width)}\n".encode()
    rows = []
    for row in pixels:
        if kind == "flat":
            rows.append(row.tobytes())
        elif kind == "old runs":  # the second half of each row repeats one pixel
            half = width // 2
            rows.append(row[:half].tobytes() + bytes((1, 1, 1, width - half)))
        else:
            planes = [bytes((width,)) + row[:, channel].tobytes() for channel in range(4)]
            rows.append(bytes((2, 2, width >> 8, width & 255)) + b"".join(planes))
    return header + b"".join(rows)


@pytest.mark.parametrize("kind", ["flat", "old runs", "new runs"])
def test_all_kinds_of_radiance_are_read_to_the_last_bit(kind: str) -> None:
    pixels = rgbe(lights())
    if kind == "old runs":
        pixels[:, 6:] = pixels[:, 5:6]
    content = radiance(pixels, kind)
    told, picture = probe(content), read_file(content).first
    assert (told.format, told.height, told.width, told.depth_bits) == ("Radiance HDR", 6, 12, 32)
    assert told.floating
    assert not told.alpha
    assert picture.value_range[1] == light_of(pixels).max() > 1
    assert np.abs(read(content) - light_of(pixels)).max() < 1e-5


@pytest.mark.parametrize(
    ("resolution", "rows", "columns"),
    [("+Y {} +X {}", -1, 1), ("-Y {} -X {}", 1, -1), ("+Y {} -X {}", -1, -1)],
)
def test_radiance_is_upright(resolution: str, rows: int, columns: int) -> None:
    pixels = rgbe(lights())
    found = read(radiance(pixels, "new runs", resolution))
    assert np.abs(found - light_of(pixels)[::rows, ::columns]).max() < 1e-5


@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 3), (8, 2), (300, 2)])
def test_radiance_is_written_as_exactly_as_it_can_be(width: int, height: int) -> None:
    values = light_of(rgbe(lights(height, width)))
    again = rewritten(radiance(rgbe(values)), "Radiance HDR")
    assert np.abs(read(again) - values).max() < 1e-5  # numbers that it holds stay
    picture = read_file(radiance(rgbe(lights(height, width)))).first
    exact = (lights(height, width, largest=3.0) + 0.01).astype(np.float32)
    color = torch.from_numpy(exact.transpose(2, 0, 1)[None] / exact.max())
    made = PictureFile((type(picture)(color, None, False, picture.metadata, "Radiance HDR", depth_bits=32),))
    error = np.abs(read(encode_file(made, FORMATS["Radiance HDR"])) - exact / exact.max())
    assert (error / (exact / exact.max()).max(axis=2, keepdims=True)).max() <= 1 / 256 + 1e-6  # half a step


def test_radiance_s_primaries_are_kept_and_other_lines_are_mentioned() -> None:
    stated = " ".join(map(str, REC_2020))
    content = radiance(rgbe(lights()), lines=f"EXPOSURE=2.0\nPRIMARIES={stated}\nVIEW=-vtv\n# by hand\n")
    assert "lines of the header were left out: EXPOSURE, VIEW" in probe(content).notes
    found = primaries_of(read_file(content).first.metadata.icc_profile)
    assert found is not None
    assert found.is_near(PRIMARIES[9])
    again = primaries_of(read_file(rewritten(content, "Radiance HDR")).first.metadata.icc_profile)
    assert again is not None
    assert again.is_near(PRIMARIES[9])


@pytest.mark.parametrize("kind", ["flat", "new runs"])
def test_damaged_radiance(kind: str) -> None:
    content = radiance(rgbe(lights(20, 30) + 1), kind)
    for size in (len(content) - 1, len(content) // 2, 70, 30):
        with pytest.raises(DamageError, match="damaged or incomplete"):
            read_file(content[:size])
    kept = read_file(content[: len(content) // 2], keep_damaged=True).first
    assert kept.notes
    assert np.abs(values_of(kept)[:5] - light_of(rgbe(lights(20, 30) + 1))[:5]).max() < 1e-5


def test_radiance_of_other_kinds_is_refused_by_its_kind() -> None:
    pixels = rgbe(lights())
    with pytest.raises(InputError, match="unsupported kind: 32-bit_rle_xyze"):
        probe(radiance(pixels).replace(b"rgbe\n\n", b"xyze\n\n"))
    with pytest.raises(InputError, match="stored in columns"):
        probe(radiance(pixels, resolution="+X {1} -Y {0}"))
    with pytest.raises(InputError, match="megapixels, more than the limit"):
        probe(radiance(pixels, resolution="-Y 100000 +X 100000"))


# OpenEXR


def exr(channels: dict[str, Any], **header: Any) -> bytes:
    import OpenEXR

    content = io.BytesIO()
    kind = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File({**kind, **header}, channels).write(content)
    return content.getvalue()


@needs_openexr
@pytest.mark.parametrize("type", ["f2", "f4"])
@pytest.mark.parametrize("compression", ["NO", "RLE", "ZIPS", "ZIP", "PIZ"])
def test_openexr_is_read_and_written_to_the_last_bit(type: str, compression: str) -> None:
    import OpenEXR

    values = lights().astype(type)
    content = exr({"RGB": values}, compression=getattr(OpenEXR, f"{compression}_COMPRESSION"))
    told = probe(content)
    assert (told.format, told.height, told.width, told.depth_bits) == ("OpenEXR", 6, 12, 32)
    assert not told.notes
    assert np.abs(read(content) - values).max() < 1e-5
    again = OpenEXR.File(io.BytesIO(rewritten(content, "OpenEXR")))
    assert again.channels()["RGB"].pixels.dtype == np.float32
    assert again.header()["compression"] == OpenEXR.ZIP_COMPRESSION
    assert np.abs(again.channels()["RGB"].pixels - values).max() < 1e-5


@needs_openexr
def test_gray_tiles_and_alpha() -> None:
    import OpenEXR

    gray = lights(channels=1)[..., 0]
    picture = read_file(exr({"Y": gray})).first
    assert picture.gray
    assert np.abs(values_of(picture)[..., 0] - gray).max() < 1e-5
    again = OpenEXR.File(io.BytesIO(rewritten(exr({"Y": gray}), "OpenEXR")))
    assert again.channels().keys() == {"Y"}
    tiles = exr({"RGB": lights()}, type=OpenEXR.tiledimage, tiles=OpenEXR.TileDescription())
    assert np.abs(read(tiles) - lights()).max() < 1e-5


@needs_openexr
def test_colors_are_divided_by_alpha_and_multiplied_again() -> None:
    import OpenEXR

    straight = lights()
    alpha = np.linspace(0, 1, 12, dtype=np.float32)[None].repeat(6, axis=0)
    stored = np.dstack((straight * alpha[..., None], alpha))
    picture = read_file(exr({"RGBA": stored})).first
    found = values_of(picture)
    assert np.abs(found[..., 3] - alpha).max() < 1e-6
    assert np.abs(found[:, 1:, :3] - straight[:, 1:]).max() < 1e-4  # also beyond 1
    again = OpenEXR.File(io.BytesIO(encode_file(PictureFile((picture,)), FORMATS["OpenEXR"])))
    assert np.abs(again.channels()["RGBA"].pixels - stored).max() < 1e-4
    flat = read(encode_file(PictureFile((picture,)), FORMATS["Radiance HDR"]))
    assert np.abs(flat[:, 0] - 1).max() < 0.01  # transparent: white, and not the brightest light


@needs_openexr
def test_a_smaller_or_larger_data_window_is_put_in_its_place() -> None:
    values = np.dstack((lights(), np.ones((6, 12), np.float32)))
    corners = (np.array((-2, 1), np.int32), np.array((9, 6), np.int32))
    shown = (np.array((0, 0), np.int32), np.array((19, 7), np.int32))
    content = exr({"RGBA": values}, dataWindow=corners, displayWindow=shown)
    told, found = probe(content), read(content)
    assert (told.height, told.width) == found.shape[:2] == (8, 20)
    assert "pixels outside of the display window were left out" in told.notes
    expected = np.zeros((8, 20, 4), np.float32)
    expected[1:7, :10] = values[:, 2:]
    assert np.abs(found - expected).max() < 1e-5


@needs_openexr
def test_primaries_are_kept_and_what_is_left_out_is_mentioned() -> None:
    import OpenEXR

    depth = lights(channels=1)[..., 0]
    content = exr({"RGB": lights(), "Z": depth}, chromaticities=REC_2020, owner="somebody")
    notes = probe(content).notes
    assert "channels that are not colors were left out: Z" in notes
    assert "attributes of the header were left out: owner" in notes
    stated = OpenEXR.File(io.BytesIO(rewritten(content, "OpenEXR"))).header()["chromaticities"]
    assert stated == pytest.approx(REC_2020, abs=2e-4)
    parts = io.BytesIO()
    OpenEXR.File(
        [OpenEXR.Part({}, {"RGB": lights()}, name="a"), OpenEXR.Part({}, {"Z": depth}, name="b")]
    ).write(parts)
    assert "only the first of 2 parts was read" in probe(parts.getvalue()).notes
    assert np.abs(read(parts.getvalue()) - lights()).max() < 1e-5


@needs_openexr
def test_openexr_of_other_kinds_is_refused_by_its_kind() -> None:
    gray = lights(channels=1)[..., 0]
    for channels, words in (
        ({"diffuse.R": gray, "diffuse.G": gray}, "the channels diffuse.G, diffuse.R, none of which"),
        ({"Y": gray, "RY": gray, "BY": gray}, "luma and chroma"),
        ({"Y": gray.astype(np.uint32)}, "colors that are whole numbers"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            read_file(exr(channels))
        assert not isinstance(caught.value, DamageError)
    with pytest.raises(InputError, match="megapixels, more than the limit"):
        probe(exr({"Y": gray}), largest_px=50)


@needs_openexr
def test_damaged_openexr(capfd: pytest.CaptureFixture[str]) -> None:
    content = exr({"RGB": lights(40, 60)})
    for size in (3, 100, 500, len(content) // 2, len(content) - 5):
        with pytest.raises(InputError):
            read_file(content[:size])
    random = np.random.default_rng(0)
    for _ in range(60):
        changed = bytearray(content)
        for place in random.integers(4, len(content), 3):
            changed[place] = random.integers(256)
        try:
            read_file(bytes(changed), largest_px=10**6)
        except InputError:
            continue
    out, err = capfd.readouterr()
    assert out == ""
    assert sys.platform != "linux" or err == ""


def test_openexr_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with (
        pytest.raises(InputError, match="the required package is not installed") as caught,
        opened(b"\x76\x2f\x31\x01\x02\0\0\0"),
    ):
        pass
    assert caught.value.hint == 'pip install "esc-upscale[exr]"'


# Both


def test_colors_of_other_primaries_are_right_on_a_screen() -> None:
    """A color of Rec. 2020 inside sRGB. Source of the matrix: Rec. ITU-R BT.2407, 2.2."""
    light = np.full((8, 8, 3), (0.375, 0.25, 0.125), np.float32)
    stated = " ".join(map(str, REC_2020))
    found = read_picture(radiance(rgbe(light), lines=f"PRIMARIES={stated}\n")).color[0, :, 4, 4].numpy()
    to_srgb = np.array(((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187)))
    expected = 255 * (1.055 * (to_srgb @ (0.375, 0.25, 0.125)) ** (1 / 2.4) - 0.055)
    assert np.abs(found - expected).max() <= 0.6


def sources() -> dict[str, bytes]:
    values = light_of(rgbe(lights()))
    made = {"Radiance HDR": radiance(rgbe(lights()))}
    return made | ({"OpenEXR": exr({"RGB": values})} if FORMATS["OpenEXR"].is_installed() else {})


@pytest.mark.parametrize("name", ["Radiance HDR", "OpenEXR"])
def test_light_goes_into_each_format_as_it_can(name: str) -> None:
    if name not in sources():
        pytest.skip("OpenEXR is not installed")
    content, values = sources()[name], light_of(rgbe(lights()))
    for other in sources():
        assert np.abs(read(rewritten(content, other)) - values).max() < 1e-5
        lost = limitations(probe(content), FORMATS[other], ALL_METADATA)
        assert len(lost) == (name == "OpenEXR" and other == "Radiance HDR")
    assert np.abs(read(rewritten(content, "TIFF")) - values).max() < 1e-5
    profile = read_file(rewritten(content, "TIFF")).first.metadata.icc_profile
    assert profile == light_profile(None, gray=False)
    clipped = values.clip(0, 1).astype(np.float64)
    shown = np.where(
        clipped <= 0.0031308, 12.92 * clipped, 1.055 * np.maximum(clipped, 1e-9) ** (1 / 2.4) - 0.055
    )
    png = read_file(rewritten(content, "PNG")).first
    assert png.metadata.icc_profile is None
    assert png.depth_bits == 16
    assert np.abs(values_of(png) / 65_535 - shown).max() < 2e-5
    assert np.abs(read_picture(content).color[0].permute(1, 2, 0).numpy() / 255 - shown).max() < 0.004
    lost = limitations(probe(content), FORMATS["PNG"], ALL_METADATA)
    assert any("what is brighter than white becomes white" in sentence for sentence in lost)


@needs_openexr
@pytest.mark.parametrize("largest", [4.0, 1e30])
def test_nan_and_negative_light_become_what_is_said(largest: float) -> None:
    values = lights()
    values[0, 0], values[0, 1] = -5, largest
    values[1, 1] = math.nan
    content = exr({"RGB": values})
    assert "negative values become 0, and NaN becomes white" in " ".join(
        limitations(probe(content), FORMATS["Radiance HDR"], ALL_METADATA)
    )
    found = read(rewritten(content, "Radiance HDR"))
    assert found[1, 1].tolist() == [1, 1, 1]
    png, jpeg = (read_file(rewritten(content, name)).first for name in ("PNG", "JPEG"))
    assert png.alpha is not None and png.alpha[0, 0, 1, :3].tolist() == [65_535, 0, 65_535]
    assert jpeg.color[0, :, 1, 1].min() > 240
    lost = limitations(probe(content), FORMATS["JPEG"], ALL_METADATA)
    assert any("and NaN becomes white" in sentence for sentence in lost)


@pytest.mark.parametrize("name", ["Radiance HDR", "OpenEXR"])
def test_a_picture_for_a_screen_becomes_light(name: str) -> None:
    if not FORMATS[name].is_installed():
        pytest.skip("OpenEXR is not installed")
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(4, axis=0).repeat(3, axis=2)
    held = io.BytesIO()
    Image.fromarray(ramp).save(held, "PNG")
    content = rewritten(held.getvalue(), name)
    share = ramp / 255
    light = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    tolerance = 1e-6 if name == "OpenEXR" else 0.004
    assert (np.abs(read(content) - light) <= tolerance * np.maximum(light, 1e-3)).all()
    assert np.abs(read_picture(content).color[0].permute(1, 2, 0).numpy().astype(int) - ramp).max() <= 1
    lost = limitations(probe(held.getvalue()), FORMATS[name], ALL_METADATA)
    assert lost == (f"the picture is converted to light with the primaries of sRGB: {name} holds light",)
