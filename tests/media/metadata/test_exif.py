"""Test that EXIF changes only where it is wrong for the new picture, and all other bytes stay in place."""

import io
import shutil
import struct
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.limitations import limitations
from esc_cli.media.metadata.exif import (
    exif_dpi,
    exif_of_block,
    exif_of_page,
    exif_tree,
    fitted_exif,
    has_fixed_note,
)
from esc_cli.media.metadata.kinds import ALL_METADATA
from esc_cli.media.probe import probe
from esc_cli.media.read import read_file
from esc_cli.media.tiff_directories import (
    EXIF_DIRECTORY,
    GPS_DIRECTORY,
    INTEROP_DIRECTORY,
    UNDEFINED,
    Field,
    Layout,
    TiffReader,
    Tree,
    directory_at,
    fraction_field,
    number_field,
    text_field,
)
from esc_cli.media.write import encode_file

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"
MAKER_NOTE, COMMENT, TAKEN = 0x927C, 0x9286, 0x9003
THUMBNAIL = b"\xff\xd8 a picture of the whole scene \xff\xd9"


def camera_exif(order: str = "<", comment: bytes = "© Zoë".encode()) -> bytes:
    """Return a block as cameras write it, with three nested directories, a thumbnail and a maker note."""
    layout = Layout(">" if order == ">" else "<", big=False)
    details: Tree = {
        TAKEN: text_field("2024:01:02 03:04:05"),
        MAKER_NOTE: Field(UNDEFINED, b"Maker\0 with offsets \x01\x02\x03"),
        COMMENT: Field(UNDEFINED, comment),
        0xA002: number_field(4000),
        0xA003: number_field(3000),
        INTEROP_DIRECTORY: {1: text_field("R98")},
    }
    first: Tree = {
        271: text_field("maker"),
        274: number_field(6, 3),
        282: fraction_field(300),
        283: fraction_field(300),
        296: number_field(2, 3),
        0x8298: Field(2, comment + b"\0"),
        EXIF_DIRECTORY: details,
        GPS_DIRECTORY: {1: text_field("N"), 2: Field(5, struct.pack("<6I", 52, 1, 31, 1, 1234, 100))},
    }
    second = 8 + len(directory_at(8, first, layout))
    thumbnail: dict[int, Field] = {
        259: number_field(6, 3),
        513: number_field(0),
        514: number_field(len(THUMBNAIL)),
    }
    end = second + layout.directory_bytes(3)
    thumbnail[513] = number_field(end)
    return (
        b"Exif\0\0"
        + layout.header(8)
        + directory_at(8, first, layout, next=second)
        + directory_at(second, thumbnail, layout)
        + THUMBNAIL
    )


def without_mark(exif: bytes | None) -> bytes:
    assert exif is not None
    assert exif.startswith(b"Exif\0\0")
    return exif[6:]


@pytest.mark.parametrize("order", ["<", ">"])
def test_only_the_expected_changes(order: str) -> None:
    block = camera_exif(order)
    clean = exif_of_block(block)
    result = fitted_exif(clean, 6000, 8000, dpi=(300.0, 300.0), provenance="esc-upscale 1")
    before, after = exif_tree(block), exif_tree(without_mark(result))
    inner_before, inner_after = before.pop(EXIF_DIRECTORY), after.pop(EXIF_DIRECTORY)
    assert isinstance(inner_before, dict)
    assert isinstance(inner_after, dict)
    del before[274]
    software = after.pop(0x000B)
    assert isinstance(software, Field)
    assert software.data == b"esc-upscale 1\0"
    assert after == before
    sizes = [struct.unpack(f"{order}I", inner_after.pop(tag).data)[0] for tag in (0xA002, 0xA003)]
    assert sizes == [8000, 6000]
    assert inner_after == {tag: value for tag, value in inner_before.items() if tag in inner_after}


@pytest.mark.parametrize("order", ["<", ">"])
def test_makers_notes_stay_where_they_are(order: str) -> None:
    block = camera_exif(order)
    note = b"Maker\0 with offsets"
    result = fitted_exif(exif_of_block(block), 6, 8, provenance="x")
    assert without_mark(result).index(note) == block[6:].index(note)


def test_the_thumbnail_is_gone_and_blocks_do_not_swell() -> None:
    block = camera_exif()
    exif = exif_of_block(block)
    sizes = []
    for _generation in range(5):
        exif = exif_of_block(fitted_exif(exif, 6, 8, provenance="esc-upscale 1") or b"")
        assert exif is not None
        assert b"whole scene" not in exif
        tags = Image.Exif()
        tags.load(exif)
        assert not tags.get_ifd(1)
        sizes.append(len(exif))
    assert sizes[0] < len(block) + 400
    assert all(after - before < 200 for before, after in pairwise(sizes))


@pytest.mark.parametrize("has_thumbnail", [True, False])
def test_a_full_block_does_not_grow(has_thumbnail: bool) -> None:
    """A JPEG segment holds 65,533 bytes, and some cameras fill it."""
    layout = Layout("<", big=False)
    details: Tree = {MAKER_NOTE: Field(UNDEFINED, b"Maker" * 12_000), 0xA002: number_field(4000)}
    first: Tree = {271: text_field("maker"), 274: number_field(6, 3), EXIF_DIRECTORY: details}
    second = 8 + len(directory_at(8, first, layout))
    pixels = second + layout.directory_bytes(2)
    thumbnail: Tree = {513: number_field(pixels), 514: number_field(65_533 - 6 - pixels)}
    block = (
        layout.header(8)
        + directory_at(8, first, layout, next=second if has_thumbnail else 0)
        + directory_at(second, thumbnail, layout)
    )
    block = b"Exif\0\0" + block.ljust(65_533 - 6, b"x")
    clean = exif_of_block(block)
    result = fitted_exif(clean, 6000, 8000)
    provenance = fitted_exif(clean, 6000, 8000, provenance="esc-upscale 1")
    assert clean is not None
    assert result is not None
    assert provenance is not None
    assert len(clean) == len(result) == len(block) or has_thumbnail
    assert len(result) <= len(block)
    assert (len(provenance) <= len(block)) == has_thumbnail
    tree = exif_tree(without_mark(result))
    inner = tree[EXIF_DIRECTORY]
    assert isinstance(inner, dict)
    assert inner == {**details, 0xA002: number_field(8000)}
    assert without_mark(result).index(b"MakerMaker") == block[6:].index(b"MakerMaker")
    assert tree.keys() == {271, EXIF_DIRECTORY}


def test_a_thumbnail_before_the_rest_is_blanked() -> None:
    layout = Layout("<", big=False)
    pointers = {513: number_field(8), 514: number_field(len(THUMBNAIL))}
    second = 8 + len(THUMBNAIL) + len(THUMBNAIL) % 2
    first = second + layout.directory_bytes(2)
    block = (
        layout.header(first) + THUMBNAIL + bytes(len(THUMBNAIL) % 2) + directory_at(second, pointers, layout)
    )
    block += directory_at(first, {271: text_field("a maker")}, layout, next=second)
    exif = without_mark(exif_of_block(block))
    assert b"scene" not in exif
    assert exif_tree(exif) == {271: Field(2, b"a maker\0")}


def test_text_beyond_ascii_stays() -> None:
    for comment in ("© Zoë".encode(), "é".encode("latin-1"), b"UNICODE\0t\0i\0"):
        tree = exif_tree(without_mark(fitted_exif(exif_of_block(camera_exif(comment=comment)), 6, 8)))
        assert tree[0x8298] == Field(2, comment + b"\0")


def test_provenance_needs_no_exif() -> None:
    exif = fitted_exif(None, 6, 8, provenance="esc-upscale 1")
    tags = Image.Exif()
    tags.load(exif or b"")
    assert dict(tags) == {0x000B: "esc-upscale 1"}
    assert fitted_exif(None, 6, 8) is None


def test_the_resolution_follows_the_containers() -> None:
    exif = exif_of_block(camera_exif())
    assert exif_dpi(exif or b"") == (300.0, 300.0)
    assert exif_dpi(fitted_exif(exif, 6, 8, dpi=(72.5, 96.0)) or b"") == (72.5, 96.0)
    assert exif_dpi(fitted_exif(None, 6, 8, dpi=(72.5, 96.0)) or b"") == (72.5, 96.0)
    assert exif_dpi(fitted_exif(None, 6, 8, provenance="x") or b"") is None


def test_centimeters_and_no_unit() -> None:
    def dpi_of(unit: int) -> tuple[float, float] | None:
        layout = Layout("<", big=False)
        tree: Tree = {282: fraction_field(100), 283: fraction_field(50), 296: number_field(unit, 3)}
        return exif_dpi(layout.header(8) + directory_at(8, tree, layout))

    assert dpi_of(3) == (254.0, 127.0)
    assert dpi_of(2) == (100.0, 50.0)
    assert dpi_of(1) is None


@pytest.mark.parametrize("big", [False, True])
def test_exif_comes_out_of_a_tiff(big: bool, encode: Callable[..., bytes]) -> None:
    tags = Image.Exif()
    tags.load(exif_of_block(camera_exif(">")) or b"")
    tags[274] = 3
    file = encode(Image.new("RGB", (5, 4)), "TIFF", exif=tags, big_tiff=big, dpi=(200, 200))
    reader = TiffReader(io.BytesIO(file))
    exif = exif_of_page(reader, reader.directory(reader.first))
    tree = exif_tree(exif or b"")
    assert tree.keys() == {271, 0x8298, EXIF_DIRECTORY, GPS_DIRECTORY}
    details = tree[EXIF_DIRECTORY]
    assert isinstance(details, dict)
    assert MAKER_NOTE not in details  # it would be invalid at another place
    plain = TiffReader(io.BytesIO(encode(Image.new("RGB", (5, 4)), "TIFF")))
    assert exif_of_page(plain, plain.directory(plain.first)) is None


@pytest.mark.parametrize(
    ("note", "is_fixed"),
    [
        (b"Maker\0 with offsets", True),  # as Canon's, Sony's and Panasonic's
        (b"Nikon\0\x01\0 with offsets", True),
        (b"Nikon\0\x02\x10\0\0MM\0*", False),
        (b"Apple iOS\0\0\x01MM", False),
        (b"FUJIFILM\x0c\0\0\0", False),
        (b"OLYMPUS\0II", False),
    ],
)
def test_maker_notes_that_may_be_moved(note: bytes, is_fixed: bool, encode: Callable[..., bytes]) -> None:
    field = Field(UNDEFINED, note)
    layout = Layout("<", big=False)
    details: Tree = {TAKEN: text_field("2024:01:02 03:04:05"), MAKER_NOTE: field}
    block = b"Exif\0\0" + layout.header(8) + directory_at(8, {EXIF_DIRECTORY: details}, layout)
    assert has_fixed_note(block) == is_fixed
    jpeg = encode(Image.new("RGB", (8, 6)), "JPEG", exif=block)
    said = limitations(probe(jpeg), FORMATS["TIFF"], ALL_METADATA)
    assert [sentence for sentence in said if "maker note" in sentence] == [
        "TIFF cannot hold the maker note, which is valid only at its place in EXIF"
    ] * is_fixed
    assert limitations(probe(jpeg), FORMATS["JPEG"], ALL_METADATA) == ()
    assert limitations(probe(jpeg), FORMATS["TIFF"], frozenset()) == ()
    tiff = encode_file(read_file(jpeg), FORMATS["TIFF"])
    kept = {TAKEN: details[TAKEN]} if is_fixed else details
    assert exif_tree(read_file(tiff).first.metadata.exif or b"")[EXIF_DIRECTORY] == kept


def test_a_maker_note_in_a_tiff_is_not_garbled(encode: Callable[..., bytes]) -> None:
    exif = Image.Exif()
    exif.load(exif_of_block(camera_exif()) or b"")
    file = encode(Image.new("RGB", (8, 6)), "TIFF", exif=exif)
    sentence = "the maker note was left out, since it is valid only at its place in the file"
    assert probe(file).notes == read_file(file).first.notes == (sentence,)
    for name in ("TIFF", "JPEG", "PNG"):
        again = encode_file(read_file(file), FORMATS[name])
        assert b"with offsets" not in again
        assert probe(again).notes == ()


@given(st.data())
def test_damage_is_a_value_error_or_nothing(data: st.DataObject) -> None:
    block = bytearray(camera_exif())
    for at in data.draw(st.lists(st.integers(0, len(block) - 1), max_size=8)):
        block[at] = data.draw(st.integers(0, 255))
    try:
        exif = exif_of_block(bytes(block[: data.draw(st.integers(0, len(block)))]))
    except ValueError:
        return
    if exif is not None:
        assert exif_tree(fitted_exif(exif, 6, 8, provenance="x") or b"")


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not here")
@pytest.mark.parametrize("name", ["photo_gps_ori1.jpg", "photo_exif_ori6_gps.jpg", "stereo.mpo.jpg"])
def test_exiftool_finds_nothing_else_changed(name: str, tmp_path: Path) -> None:
    if not CORPUS.is_dir():
        pytest.skip("the corpus is not here")
    with Image.open(CORPUS / name) as image:
        exif = fitted_exif(exif_of_block(image.info["exif"]), 60, 80, provenance="esc-upscale 1")
    Image.new("RGB", (80, 60)).save(tmp_path / "new.jpg", exif=exif)
    before, after = (listed(path) for path in (CORPUS / name, tmp_path / "new.jpg"))
    changed = {line.split(" : ")[0] for line in before ^ after}
    groups = ("[IFD1]", "[MPF0]", "[MPImage1]", "[MPImage2]")
    assert {" ".join(tag.split()) for tag in changed if not tag.startswith(groups)} <= {
        "[IFD0] Orientation",
        "[IFD0] ProcessingSoftware",
        "[ExifIFD] ExifImageWidth",
        "[ExifIFD] ExifImageHeight",
    }
    assert not any(line.startswith(groups) for line in after)
    assert len(after) > 10


def listed(path: Path) -> set[str]:
    """Return every tag that exiftool finds in EXIF, in maker notes and in MPF."""
    command = ["exiftool", "-a", "-G1", "-s", "-EXIF:all", "-MakerNotes:all", "-MPF:all", str(path)]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())
