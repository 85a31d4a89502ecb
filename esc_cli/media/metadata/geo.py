"""Georeferencing: where a GeoTIFF lies on the map. It follows the new size of the picture."""

import struct
from dataclasses import dataclass, replace

from PIL.ExifTags import Base as Tag

from esc_cli.media.tiff_directories import Directory, Field, TiffReader

# Source: OGC GeoTIFF 1.1 (19-008r4), 7.1 and 7.2 (the tags and their types), 7.1.2.4 (GTRasterTypeGeoKey);
# RPCs in GeoTIFF (GDAL's specification) for the last tag.
_SCALE, _TIE_POINTS, _TRANSFORMATION, _KEYS, _RATIONAL_POLYNOMIALS = 33550, 33922, 34264, 34735, 50844
_NUMBERS, _TEXTS = 34736, 34737
GEO_TAGS = frozenset((_SCALE, _TIE_POINTS, _TRANSFORMATION, _KEYS, _NUMBERS, _TEXTS, _RATIONAL_POLYNOMIALS))
"""Tags of a GeoTIFF."""

_RASTER_TYPE, _PIXEL_IS_POINT = 1025, 2
_DOUBLE = 12
_COUNTS = {_SCALE: 3, _TRANSFORMATION: 16, _RATIONAL_POLYNOMIALS: 92}
_TIE_POINT_NUMBERS = 6


@dataclass(frozen=True)
class Georeferencing:
    """The tags of a GeoTIFF.

    Attributes:
        fields: Each tag with its value.
        height: Height in pixels of the picture that the values are for.
        width: Width in pixels of the picture that the values are for.
        upright: Whether the picture was stored upright; the values are for the picture as it was stored.
    """

    fields: tuple[tuple[int, Field], ...]
    height: int
    width: int
    upright: bool = True


def geo_of_page(reader: TiffReader, page: Directory) -> Georeferencing | None:
    """Return the georeferencing of a page; None if there is none."""
    entries = page.entries
    fields = tuple((tag, reader.field(entries[tag])) for tag in sorted(GEO_TAGS & entries.keys()))
    if not fields:
        return None
    upright = reader.number_of(page, Tag.Orientation, 1) == 1
    height, width = (reader.number(entries[tag]) for tag in (Tag.ImageLength, Tag.ImageWidth))
    return Georeferencing(fields, height, width, upright)


def is_usable(geo: Georeferencing) -> bool:
    """Return whether georeferencing can follow a new size: it is whole, for a picture that was upright."""
    return geo.upright and all(_is_whole(tag, field) for tag, field in geo.fields)


def _is_whole(tag: int, field: Field) -> bool:
    if tag == _TIE_POINTS:
        return field.type == _DOUBLE and field.count % _TIE_POINT_NUMBERS == 0
    return tag not in _COUNTS or (field.type, field.count) == (_DOUBLE, _COUNTS[tag])


def fitted_geo(geo: Georeferencing, height: int, width: int) -> Georeferencing:
    """Return georeferencing for the same picture at another size, in pixels.

    Source: OGC GeoTIFF 1.1 (19-008r4), 7.1.3 (raster space: pixels are areas, whose corner has whole
    coordinates, or points, whose center has them) and C.2 (tie points, scale and matrix).
    """
    across, down = width / geo.width, height / geo.height
    half = 0.5 if _pixel_is_point(geo) else 0.0
    fields = tuple((tag, _fitted_field(tag, field, across, down, half)) for tag, field in geo.fields)
    return replace(geo, fields=fields, height=height, width=width)


def _fitted_field(tag: int, field: Field, across: float, down: float, half: float) -> Field:
    if tag == _SCALE:
        x, y, z = _doubles(field)
        return _field([x / across, y / down, z])
    if tag == _TIE_POINTS:
        return _field(_fitted_tie_points(_doubles(field), across, down, half))
    if tag == _TRANSFORMATION:
        return _field(_fitted_matrix(_doubles(field), across, down, half))
    if tag == _RATIONAL_POLYNOMIALS:
        return _field(_fitted_polynomials(_doubles(field), across, down))
    return field


def _fitted_tie_points(numbers: tuple[float, ...], across: float, down: float, half: float) -> list[float]:
    """Move the raster coordinates (I, J, K) of each point; those on the map (X, Y, Z) stay."""
    result = list(numbers)
    result[0::_TIE_POINT_NUMBERS] = [_moved(i, across, half) for i in numbers[0::_TIE_POINT_NUMBERS]]
    result[1::_TIE_POINT_NUMBERS] = [_moved(j, down, half) for j in numbers[1::_TIE_POINT_NUMBERS]]
    return result


def _fitted_matrix(numbers: tuple[float, ...], across: float, down: float, half: float) -> list[float]:
    """Divide the columns of I and J, and let the last column start at the center of the new first pixel."""
    result: list[float] = []
    for a, b, c, d in zip(*(iter(numbers),) * 4, strict=True):
        shift = a * (half / across - half) + b * (half / down - half)
        result += (a / across, b / down, c, d + shift)
    return result


def _fitted_polynomials(numbers: tuple[float, ...], across: float, down: float) -> list[float]:
    """Move the offsets of line and sample, which count from the center of a pixel, and their scales."""
    result = list(numbers)
    result[2], result[3] = _moved(numbers[2], down, 0.5), _moved(numbers[3], across, 0.5)
    result[7], result[8] = numbers[7] * down, numbers[8] * across
    return result


def _moved(coordinate: float, factor: float, half: float) -> float:
    return (coordinate + half) * factor - half


def _pixel_is_point(geo: Georeferencing) -> bool:
    """Return whether raster coordinates count from the centers of pixels. Source: GeoTIFF 1.1, 7.1.1."""
    field = dict(geo.fields).get(_KEYS)
    if field is None:
        return False
    numbers = struct.unpack(f"{field.order}{len(field.data) // 2}H", field.data[: len(field.data) // 2 * 2])
    keys = zip(*(iter(numbers[4:]),) * 4, strict=False)
    return any((key, place, value) == (_RASTER_TYPE, 0, _PIXEL_IS_POINT) for key, place, _, value in keys)


def _doubles(field: Field) -> tuple[float, ...]:
    return struct.unpack(f"{field.order}{field.count}d", field.data)


def _field(numbers: list[float]) -> Field:
    return Field(_DOUBLE, struct.pack(f"<{len(numbers)}d", *numbers))
