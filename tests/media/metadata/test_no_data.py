"""Test pixels without data, in GeoTIFFs written byte by byte and read again byte by byte."""

import io
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from esc_cli import upscale
from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.limitations import limitations
from esc_cli.media.metadata.kinds import ALL_METADATA
from esc_cli.media.metadata.no_data import LEFT_OUT_NOTE, MIXED_NOTE
from esc_cli.media.picture import PictureFile
from esc_cli.media.pixels.bits import INFINITE_NOTE, SIGNED_NOTE
from esc_cli.media.probe import probe
from esc_cli.media.read import picture_from_image, read_file
from esc_cli.media.tiff_directories import Field, Layout, TiffReader, directory_at, text_field
from esc_cli.media.write import encode_file

Array = npt.NDArray[Any]
LAYOUT = Layout("<", big=False)
GDAL_NODATA, SHORT = 42113, 3
LOWEST = "-3.40282346638529e+38"
"""The lowest float of 32 bits, with the digits that GDAL writes."""


def geo_tiff(values: Array, no_data: str | None = None, photometric: int = 1) -> bytes:
    """Encode an array of shape (H, W, C) in one strip."""
    shorts = {
        256: [values.shape[1]],
        257: [values.shape[0]],
        258: [8 * values.dtype.itemsize] * values.shape[2],
        262: [2 if values.shape[2] >= 3 else photometric],
        273: [8],
        277: [values.shape[2]],
        278: [values.shape[0]],
        279: [values.nbytes],
        339: [{"u": 1, "i": 2, "f": 3}[values.dtype.kind]] * values.shape[2],
        **({338: [2]} if values.shape[2] in (2, 4) else {}),
    }
    tags = {tag: Field(SHORT, struct.pack(f"<{len(all)}H", *all)) for tag, all in shorts.items()}
    if no_data is not None:
        tags[GDAL_NODATA] = text_field(no_data)
    return LAYOUT.header(8 + values.nbytes) + values.tobytes() + directory_at(8 + values.nbytes, tags, LAYOUT)


def written(file: bytes) -> Array:
    """Return the numbers of a result, decoded by libvips."""
    import pyvips

    return np.atleast_3d(pyvips.Image.new_from_buffer(file, "").numpy())


def stated(file: bytes) -> bytes | None:
    reader = TiffReader(io.BytesIO(file))
    entry = reader.directory(reader.first).entries.get(GDAL_NODATA)
    return None if entry is None else reader.field(entry).data


def heights(channels: int, type: str = "<f4") -> Array:
    return (np.arange(6 * 8 * channels).reshape(6, 8, channels) * 10 + 100).astype(type)


@pytest.mark.parametrize(("channels", "type"), [(1, "<f4"), (3, "<f4"), (1, "<f8")])
@pytest.mark.parametrize("no_data", [None, "nan", "-9999", LOWEST])
def test_pixels_without_data_have_none_in_the_result(
    tmp_path: Path, channels: int, type: str, no_data: str | None
) -> None:
    values = heights(channels, type)
    mark = values.dtype.type(float(no_data or "nan"))
    values[1:3, 2:5] = mark
    (tmp_path / "a.tif").write_bytes(geo_tiff(values, no_data))
    upscale(tmp_path / "a.tif", tmp_path / "b.tif", scale=2, model="nearest", device="cpu")
    result = (tmp_path / "b.tif").read_bytes()
    large = values.repeat(2, axis=0).repeat(2, axis=1).astype(np.float32)
    np.testing.assert_allclose(written(result), large, rtol=1e-5)
    assert np.array_equal(written(result)[2:6, 4:10], large[2:6, 4:10], equal_nan=True)
    assert stated(result) == (None if no_data is None else no_data.encode() + b"\0")
    assert probe(geo_tiff(values, no_data)).notes == ()


def test_a_network_does_not_mix_pixels_without_data_with_others(tmp_path: Path) -> None:
    values = np.full((16, 16, 1), 500, np.float32)
    values[4:10, 4:10] = -9999
    (tmp_path / "a.tif").write_bytes(geo_tiff(values, "-9999"))
    upscale(tmp_path / "a.tif", tmp_path / "b.tif", scale=2, model="bicubic", device="cpu")
    result = written((tmp_path / "b.tif").read_bytes())
    assert set(np.unique(result.round(2))) == {-9999, 500}
    assert (result == -9999).sum() == pytest.approx(4 * 36, abs=20)


def test_nothing_but_pixels_without_data() -> None:
    picture = read_file(geo_tiff(np.full((4, 4, 1), math.nan, np.float32))).first
    assert np.isnan(written(encode_file(PictureFile((picture,)), FORMATS["TIFF"]))).all()


def test_alpha_of_its_own_covers_them() -> None:
    values = heights(2) / 1000
    values[1, 2, 0] = math.nan
    picture = read_file(geo_tiff(values)).first
    assert picture.no_data is None
    assert picture.alpha is not None
    assert picture.alpha[0, 0, 1, 2] == 0


@pytest.mark.parametrize(("format", "becomes"), [("PNG", "transparent"), ("BMP", "white")])
def test_formats_without_floats(format: str, becomes: str) -> None:
    values = heights(1)
    values[1, 2] = math.nan
    file = geo_tiff(values)
    (note,) = limitations(probe(file), FORMATS[format], ALL_METADATA)
    assert f"NaN becomes {becomes}" in note
    with Image.open(io.BytesIO(encode_file(read_file(file), FORMATS[format]))) as image:
        corner, missing = (image.convert("RGBA").getpixel(place) for place in ((0, 0), (2, 1)))
    assert corner[3] == 255
    assert missing[3] == 0 if format == "PNG" else missing == (255,) * 4


def test_an_image_of_floats_gets_them_back() -> None:
    values = heights(1)[..., 0]
    values[1, 2] = math.nan
    picture = picture_from_image(Image.fromarray(values))
    assert picture.no_data is not None
    large = upscale(Image.fromarray(values), scale=2, model="nearest", device="cpu")
    assert large.mode == "F"
    assert np.isnan(np.asarray(large)).sum() == 4


def test_infinite_values_are_said() -> None:
    values = heights(1)
    values[0, 0] = math.inf
    picture = read_file(geo_tiff(values)).first
    assert (picture.notes, picture.alpha, picture.color.max()) == ((INFINITE_NOTE,), None, 1)


@pytest.mark.parametrize(
    ("type", "photometric", "no_data", "notes", "tag"),
    [
        ("<u2", 1, "0", (MIXED_NOTE,), b"0\0"),
        ("<i2", 1, "-32768", (SIGNED_NOTE, MIXED_NOTE), b"0\0"),
        ("<i2", 1, "-9999", (SIGNED_NOTE, MIXED_NOTE), b"22769\0"),
        ("<u1", 0, "255", (LEFT_OUT_NOTE,), None),
        ("<i4", 1, "-9999", ("32-bit integers were reduced to 16 bits per channel", LEFT_OUT_NOTE), None),
        ("<u2", 1, "none", (), b"none\0"),
    ],
)
def test_integers(
    type: str, photometric: int, no_data: str, notes: tuple[str, ...], tag: bytes | None
) -> None:
    file = geo_tiff(heights(1, type), no_data, photometric)
    assert probe(file).notes == notes
    assert stated(encode_file(read_file(file), FORMATS["TIFF"])) == tag
