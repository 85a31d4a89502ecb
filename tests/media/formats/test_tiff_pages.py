"""Test which directories of a TIFF are pages, in files written byte by byte."""

import io
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from PIL import Image
from PIL.TiffImagePlugin import AppendingTiffWriter

from esc_cli.errors import InputError
from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.probe import probe
from esc_cli.media.read import read_file
from esc_cli.media.tiff_directories import Field, Layout, TiffReader, directory_at
from esc_cli.media.write import encode_file

SHORT, LONG = 3, 4
REDUCED, PAGE, MASK = 1, 2, 4
LAYOUTS = [Layout("<", big=False), Layout(">", big=False), Layout("<", big=True), Layout(">", big=True)]
MASKED = "the transparency mask was left out, so masked areas are visible"


def shorts(*values: int) -> Field:
    return Field(SHORT, struct.pack(f"<{len(values)}H", *values))


def longs(*values: int) -> Field:
    return Field(LONG, struct.pack(f"<{len(values)}I", *values))


Tags = Mapping[int, Any]


def page(side: int, value: int, subfile: int = 0, *, deep: bool = False, tags: Tags | None = None) -> Tags:
    """Return the tags of a gray square; the strip is described by its value until it is placed."""
    bits = 16 if deep else 8
    return {
        **({254: longs(subfile)} if subfile else {}),
        256: shorts(side),
        257: shorts(side),
        258: shorts(bits),
        259: shorts(1),
        262: shorts(4 if subfile & MASK else 1),
        273: longs(value),
        277: shorts(1),
        278: shorts(side),
        279: longs(side * side * bits // 8),
        **(tags or {}),
    }


def mask(side: int, subfile: int = MASK) -> Tags:
    """Return the tags of a mask of one bit, as GDAL writes it."""
    return page(side, 255, subfile, tags={258: shorts(1), 279: longs(side * (side + 7) // 8)})


def file_of(pages: Sequence[Tags], layout: Layout) -> bytes:
    content = bytearray(layout.header(0))
    starts = []
    for tags in pages:
        (value,), (size,) = (struct.unpack("<I", tags[tag].data) for tag in (273, 279))
        starts.append(len(content))
        content += bytes([value]) * (size + size % 2)
    next, behind = 0, bytearray()
    for tags, start in reversed(list(zip(pages, starts, strict=True))):
        position = len(content) + len(behind)
        behind += directory_at(position, {**tags, 273: longs(start)}, layout, next)
        behind += bytes(len(behind) % 2)
        next = position
    return layout.header(next) + bytes(content[len(layout.header(0)) :]) + bytes(behind)


def values(file: bytes) -> list[tuple[int, int]]:
    """Return the side and the first value of each page that is read."""
    return [(one.width, int(one.color.numpy().flat[0])) for one in read_file(file).pictures]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("deep", [False, True])
def test_the_smaller_copies_of_a_cloud_optimised_geotiff_are_no_pages(layout: Layout, deep: bool) -> None:
    sides = ((64, 7, 0), (32, 8, REDUCED), (16, 9, REDUCED))
    file = file_of([page(side, value, kind, deep=deep) for side, value, kind in sides], layout)
    found = probe(file)
    assert (found.frames, found.several, found.width) == (1, None, 64)
    assert found.notes == ("smaller copies of the picture (overviews: 2) were left out",)
    assert values(file) == [(64, 7 * 257 if deep else 7)]
    assert values(encode_file(read_file(file), FORMATS["TIFF"])) == values(file)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_mask_is_no_page(layout: Layout) -> None:
    file = file_of([page(64, 7), mask(64)], layout)
    assert (probe(file).frames, probe(file).notes) == (1, (MASKED,))
    assert values(file) == [(64, 7)]


def test_masks_and_smaller_copies_between_pages() -> None:
    order = [
        page(64, 7),
        mask(64),
        page(32, 8, REDUCED),
        mask(32, MASK | REDUCED),
        page(48, 9, PAGE, deep=True),
    ]
    file = file_of(order, LAYOUTS[0])
    found = probe(file)
    assert (found.frames, found.several) == (2, "pages")
    assert found.notes == ("smaller copies of the picture (overviews: 1) were left out", MASKED)
    assert values(file) == [(64, 7), (48, 9 * 257)]


def test_a_picture_behind_its_smaller_copy_and_its_mask() -> None:
    file = file_of([mask(64), page(16, 9, REDUCED), page(64, 7)], LAYOUTS[0])
    assert values(file) == [(64, 7)]


def test_the_old_tag_of_smaller_copies() -> None:
    file = file_of([page(64, 7), page(32, 8, tags={255: shorts(2)})], LAYOUTS[0])
    assert values(file) == [(64, 7)]


def test_a_file_of_smaller_copies_alone_has_them_as_pages() -> None:
    file = file_of([page(32, 8, REDUCED), page(16, 9, REDUCED)], LAYOUTS[0])
    assert (probe(file).frames, probe(file).notes) == (2, ())
    assert values(file) == [(32, 8), (16, 9)]


def test_a_file_of_a_mask_alone_is_refused_by_its_kind() -> None:
    with pytest.raises(InputError, match="unsupported kind: a mask"):
        probe(file_of([mask(64)], LAYOUTS[0]))


def test_smaller_copies_in_nested_directories_are_said() -> None:
    nested = page(32, 8, REDUCED)
    file = file_of([page(64, 7, tags={330: nested})], LAYOUTS[0])
    assert values(file) == [(64, 7)]
    assert probe(file).notes == ("smaller copies of the picture (overviews: 1) were left out",)


def test_damage_behind_the_pages_is_not_hidden() -> None:
    file = bytearray(file_of([page(64, 7), page(32, 8, REDUCED)], LAYOUTS[0]))
    *_, last = TiffReader(io.BytesIO(file)).chain()
    struct.pack_into("<I", file, last.end - 4, 2 * len(file))
    with pytest.raises(InputError):
        probe(bytes(file))
    assert read_file(bytes(file), keep_damaged=True).first.width == 64


def described(value: int, description: str) -> bytes:
    """Return a page with its own tags, as Pillow writes it."""
    content = io.BytesIO()
    tags = {270: description, 285: f"name of {description}", 315: f"artist of {description}"}
    Image.new("L", (4, 3), value).save(content, "TIFF", tiffinfo=tags)
    return content.getvalue()


def test_pages_keep_their_own_tags() -> None:
    """Equal pages share their pixels, but may have different tags. A page without tags gets none."""
    content = io.BytesIO()
    with AppendingTiffWriter(content) as writer:
        for value, description in ((5, "one"), (9, "two"), (5, "three")):
            writer.write(described(value, description))
            writer.newFrame()
        writer.write(file_of([page(4, 5)], LAYOUTS[0]))
        writer.newFrame()
    file = read_file(content.getvalue())
    assert file.pictures[0].color is file.pictures[2].color
    with Image.open(io.BytesIO(encode_file(file, FORMATS["TIFF"]))) as result:
        found = []
        for number in range(4):
            result.seek(number)
            found.append(tuple(result.tag_v2.get(tag) for tag in (270, 285, 315)))
    assert found == [(one, f"name of {one}", f"artist of {one}") for one in ("one", "two", "three")] + [
        (None, None, None)
    ]
