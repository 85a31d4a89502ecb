"""Test that a place on the map stays where it is when the picture is enlarged."""

import io
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL.TiffImagePlugin import AppendingTiffWriter

from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.limitations import limitations
from esc_cli.media.metadata.geo import Georeferencing, fitted_geo
from esc_cli.media.metadata.kinds import ALL_METADATA
from esc_cli.media.picture import DEFAULT_SETTINGS, PictureFile, WriteSettings
from esc_cli.media.probe import probe
from esc_cli.media.read import read_file
from esc_cli.media.tiff_directories import Field, Layout, Order, TiffReader, directory_at
from esc_cli.media.write import encode_file

SCALE, TIE_POINTS, MATRIX, KEYS, POLYNOMIALS = 33550, 33922, 34264, 34735, 50844
AREA, POINT = 1, 2


def doubles(*numbers: float, order: Order = "<") -> Field:
    return Field(12, struct.pack(f"{order}{len(numbers)}d", *numbers), order)


def keys(raster_type: int, order: Order = "<") -> Field:
    """Make a GeoKeyDirectory: its header, GTModelTypeGeoKey, and GTRasterTypeGeoKey."""
    numbers = (1, 1, 0, 2, 1024, 0, 1, 1, 1025, 0, 1, raster_type)
    return Field(3, struct.pack(f"{order}12H", *numbers), order)


def numbers(geo: Georeferencing, tag: int) -> tuple[float, ...]:
    field = dict(geo.fields)[tag]
    return struct.unpack(f"{field.order}{field.count}d", field.data)


def on_the_map(geo: Georeferencing, right: float, down: float, half: float) -> tuple[float, float]:
    """Return the X and Y of a position, in pixels from the outer corner of the first pixel.

    Source: OGC GeoTIFF 1.1, C.2.
    """
    i, j = right - half, down - half
    if MATRIX in dict(geo.fields):
        matrix = np.array(numbers(geo, MATRIX)).reshape(4, 4)
        x, y = (matrix @ (i, j, 0, 1))[:2]
        return float(x), float(y)
    (scale_x, scale_y, _), (tie_i, tie_j, _, x, y, _) = numbers(geo, SCALE), numbers(geo, TIE_POINTS)
    return x + (i - tie_i) * scale_x, y - (j - tie_j) * scale_y


positions = st.floats(0, 100)


@given(
    st.sampled_from((AREA, POINT)),
    st.booleans(),
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.lists(st.floats(-1_000, 1_000), min_size=8, max_size=8),
    positions,
    positions,
)
def test_every_position_stays_where_it_is(
    raster_type: int, matrix: bool, size: tuple[int, int], some: list[float], right: float, down: float
) -> None:
    a, b, c, d, e, f, tie_i, tie_j = some
    place = {MATRIX: doubles(a, b, 0, c, d, e, 0, f, 0, 0, 1, 0, 0, 0, 0, 1)}
    if not matrix:
        place = {SCALE: doubles(a, b, 7), TIE_POINTS: doubles(tie_i, tie_j, 0, c, f, 0)}
    geo = Georeferencing(tuple((place | {KEYS: keys(raster_type)}).items()), 40, 50)
    new = fitted_geo(geo, *size)
    half = 0.5 if raster_type == POINT else 0.0
    before = on_the_map(geo, right, down, half)
    after = on_the_map(new, right * size[1] / 50, down * size[0] / 40, half)
    assert after == pytest.approx(before, rel=1e-9, abs=1e-6)
    assert (new.height, new.width) == size


def test_the_numbers_of_an_example() -> None:
    """A map of 10 m a pixel, enlarged twice: the center of its first pixel is 2.5 m from the corner."""
    tie = doubles(0, 0, 0, 500_005, 4_599_995, 0)
    fields = ((SCALE, doubles(10, 10, 0)), (TIE_POINTS, tie), (KEYS, keys(POINT)))
    new = fitted_geo(Georeferencing(fields, 32, 48), 64, 96)
    assert numbers(new, SCALE) == (5, 5, 0)
    assert numbers(new, TIE_POINTS) == (0.5, 0.5, 0, 500_005, 4_599_995, 0)
    assert on_the_map(new, 0.5, 0.5, 0.5) == (500_002.5, 4_599_997.5)
    area = replace(new, fields=(*fields[:2], (KEYS, keys(AREA))), height=32, width=48)
    assert numbers(fitted_geo(area, 64, 96), TIE_POINTS)[:2] == (0, 0)


def test_several_tie_points_and_polynomials() -> None:
    ties = (1.0, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60)
    polynomials = tuple(float(number) for number in range(92))
    fields = ((TIE_POINTS, doubles(*ties)), (POLYNOMIALS, doubles(*polynomials)))
    new = fitted_geo(Georeferencing(fields, 10, 10), 20, 40)
    assert numbers(new, TIE_POINTS) == (4, 4, 3, 4, 5, 6, 40, 40, 30, 40, 50, 60)
    moved = {2: 2 * 2.5 - 0.5, 3: 4 * 3.5 - 0.5, 7: 14.0, 8: 32.0}  # line and sample: offset and scale
    assert numbers(new, POLYNOMIALS) == tuple(moved.get(at, value) for at, value in enumerate(polynomials))


# Files


def geo_tiff(layout: Layout, more: dict[int, Field] | None = None) -> bytes:
    """Encode six gray pixels with all that a GeoTIFF has."""
    order = layout.order
    short, text = (lambda *values: Field(3, struct.pack(f"<{len(values)}H", *values))), Field(2, b"WGS 84|\0")
    start = len(layout.header(0))
    fields = {
        256: short(3),
        257: short(2),
        258: short(8),
        262: short(1),
        273: short(start),
        277: short(1),
        278: short(2),
        279: short(6),
        SCALE: doubles(10, 20, 0, order=order),
        TIE_POINTS: doubles(0, 0, 0, 500_000, 4_600_000, 0, order=order),
        KEYS: keys(AREA, order),
        34736: doubles(6_378_137.0, order=order),
        34737: text,
    } | (more or {})
    return layout.header(start + 6) + bytes(range(6)) + directory_at(start + 6, fields, layout)


def enlarged(file: bytes, format: str = "TIFF", settings: WriteSettings = DEFAULT_SETTINGS) -> bytes:
    picture = read_file(file).first
    color = torch.nn.functional.interpolate(picture.color, (8, 12))
    return encode_file(PictureFile((replace(picture, color=color),)), FORMATS[format], settings)


def fields_of(file: bytes) -> dict[int, Field]:
    reader = TiffReader(io.BytesIO(file))
    page = reader.directory(reader.first)
    return {tag: reader.field(page.entries[tag]) for tag in page.entries}


@pytest.mark.parametrize("layout", [Layout("<", big=False), Layout(">", big=False), Layout(">", big=True)])
def test_a_tiff_keeps_its_place(layout: Layout) -> None:
    file = geo_tiff(layout)
    assert "geo" in probe(file).parts
    found = fields_of(enlarged(file))
    assert struct.unpack("<3d", found[SCALE].data) == (2.5, 5, 0)
    assert struct.unpack("<6d", found[TIE_POINTS].data) == (0, 0, 0, 500_000, 4_600_000, 0)
    assert found[KEYS].ordered("<") == keys(AREA).data
    assert found[34736].ordered("<") == struct.pack("<d", 6_378_137)
    assert found[34737].data == b"WGS 84|\0"
    again = read_file(enlarged(enlarged(file))).first.metadata.geo
    assert again is not None
    assert numbers(again, SCALE) == (2.5, 5, 0)


def test_other_formats_and_choices() -> None:
    file = geo_tiff(Layout("<", big=False))
    assert limitations(probe(file), FORMATS["PNG"], ALL_METADATA) == ("PNG cannot hold georeferencing",)
    assert limitations(probe(file), FORMATS["TIFF"], ALL_METADATA) == ()
    assert read_file(enlarged(file, "PNG")).first.metadata.exif is None
    without = fields_of(enlarged(file, settings=WriteSettings(keep=ALL_METADATA - {"geo"})))
    assert without.keys().isdisjoint((SCALE, TIE_POINTS, KEYS, 34736, 34737))


@pytest.mark.parametrize(
    "more",
    [
        {274: Field(3, struct.pack("<H", 6))},
        {SCALE: doubles(10, 20)},
        {TIE_POINTS: doubles(0, 0, 0, 1)},
        {MATRIX: Field(3, bytes(32))},
    ],
)
def test_what_cannot_follow_is_left_out_and_said_before(more: dict[int, Field]) -> None:
    file = geo_tiff(Layout("<", big=False), more)
    note = "georeferencing was left out, since it is damaged or the picture was stored turned"
    assert probe(file).notes == read_file(file).first.notes == (note,)
    assert fields_of(enlarged(file)).keys().isdisjoint((SCALE, TIE_POINTS, MATRIX, KEYS))


def test_pages_keep_their_own_places() -> None:
    content = io.BytesIO()
    with AppendingTiffWriter(content) as writer:
        for east in (1.0, 2.0):
            writer.write(geo_tiff(Layout("<", big=False), {TIE_POINTS: doubles(0, 0, 0, east, 0, 0)}))
            writer.newFrame()
    written = encode_file(read_file(content.getvalue()), FORMATS["TIFF"])
    places = [picture.metadata.geo for picture in read_file(written).pictures]
    assert [numbers(geo, TIE_POINTS)[3] for geo in places if geo is not None] == [1, 2]
