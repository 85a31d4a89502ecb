import io
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from esc_cli.errors import DamageError, EscError, InputError, UsageError
from esc_cli.media.color.conversion import through_profile
from esc_cli.media.formats import raw_files
from esc_cli.media.formats.raw_sample import dng
from esc_cli.media.formats.registry import FORMATS, detect, format_like, format_named, sniff
from esc_cli.media.metadata.exif import exif_tree
from esc_cli.media.opening import opened
from esc_cli.media.picture import PictureFile, WriteSettings
from esc_cli.media.probe import find_pictures, is_picture, probe
from esc_cli.media.read import read_file, read_picture
from esc_cli.media.tiff_directories import (
    ASCII,
    BYTE,
    EXIF_DIRECTORY,
    GPS_DIRECTORY,
    LONG,
    RATIONAL,
    SHORT,
    UNDEFINED,
    Field,
    Layout,
    TiffReader,
    Tree,
    directory_at,
)
from esc_cli.media.write import encode_file

Light = npt.NDArray[np.float64]

needs_rawpy = pytest.mark.skipif(not FORMATS["camera raw"].is_installed(), reason="rawpy is not installed")

CHART = [
    (0.18, 0.18, 0.18),
    (0.8, 0.1, 0.05),
    (0.05, 0.6, 0.1),
    (0.1, 0.1, 0.7),
    (0.9, 0.9, 0.9),
    (0.5, 0.4, 0.1),
]
"""Linear Rec. 2020."""


def chart(side: int = 32) -> Light:
    """Return two rows of three patches."""
    rows = np.array(CHART).reshape(2, 3, 3)
    return rows.repeat(side, axis=0).repeat(side, axis=1)


def encoded(light: Any) -> Light:
    """Apply the tone curve of sRGB. Source: IEC 61966-2-1."""
    light = np.asarray(light, np.float64)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


def developed(content: bytes) -> npt.NDArray[np.uint16]:
    color: npt.NDArray[np.uint16] = read_file(content).first.color[0].permute(1, 2, 0).numpy()
    return color


def patches(pixels: npt.NDArray[Any], side: int = 32) -> Light:
    """Return the middle of each patch, in [0, 1]."""
    middles = pixels[side // 2 :: side, side // 2 :: side].reshape(6, 3)
    return middles / np.float64(np.iinfo(pixels.dtype).max)


def number(type: int, value: int) -> Field:
    return Field(type, struct.pack("<H" if type == SHORT else "<I", value))


@needs_rawpy
@pytest.mark.parametrize("neutral", [(1, 1, 1), (0.5, 1, 0.7), (1, 0.6, 0.3)])
def test_colors_are_those_of_the_scene_whatever_the_light_was(neutral: tuple[float, float, float]) -> None:
    """The third light needs a factor of 2 for the green that a sensor sees most."""
    found = patches(developed(dng(chart(), neutral=neutral)))
    assert np.abs(found - encoded(CHART)).max() < 3e-4
    assert np.ptp(found[0]) < 5e-5  # the gray card


@needs_rawpy
def test_it_is_what_rawpy_develops_with_these_settings() -> None:
    import rawpy

    content = dng(np.random.default_rng(0).uniform(0, 1, (40, 64, 3)), neutral=(0.6, 1, 0.8))
    with rawpy.imread(io.BytesIO(content)) as raw:
        theirs = raw.postprocess(
            use_camera_wb=True,
            output_color=rawpy.ColorSpace.Rec2020,
            gamma=(2.4, 12.92),
            output_bps=16,
            no_auto_bright=True,
            adjust_maximum_thr=0.0,
        )
    assert np.array_equal(developed(content), theirs)


@needs_rawpy
def test_the_profile_describes_the_colors() -> None:
    """Converted to sRGB by the profile, they are those that LibRaw develops for sRGB."""
    import rawpy

    content = dng(0.2 + 0.5 * chart())  # inside sRGB
    with rawpy.imread(io.BytesIO(content)) as raw:
        srgb = raw.postprocess(
            use_camera_wb=True,
            gamma=(2.4, 12.92),
            output_bps=16,
            no_auto_bright=True,
            adjust_maximum_thr=0.0,
        )
    profile = read_file(content).first.metadata.icc_profile
    assert profile is not None
    converted = through_profile(np.ascontiguousarray(developed(content)), profile)
    assert np.abs(patches(converted) - patches(srgb)).max() < 0.002


@needs_rawpy
def test_colors_beyond_srgb_are_kept() -> None:
    found = patches(developed(dng(chart())))[2]
    to_srgb = np.array(((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187)))
    assert (to_srgb @ CHART[2]).min() < -0.2  # this green does not fit in sRGB (Rec. ITU-R BT.2407, 2.2)
    assert np.abs(found - encoded(CHART[2])).max() < 3e-4


@needs_rawpy
@pytest.mark.parametrize("light", [0.1, 0.4, 0.8])
def test_nothing_is_brightened(light: float) -> None:
    """Of pictures whose largest value is above three quarters, LibRaw would make that value white."""
    assert developed(dng(np.full((32, 32, 3), light)))[16, 16] == pytest.approx(
        encoded([light] * 3) * 65_535, abs=20
    )


@needs_rawpy
@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_it_is_upright_in_the_header_and_in_the_pixels(orientation: int, tmp_path: Path) -> None:
    path = tmp_path / "photo.dng"
    path.write_bytes(dng(chart(), tags={274: number(SHORT, orientation)}))
    upright = Image.fromarray((encoded(chart()) * 255).round().astype(np.uint8))
    upright.getexif()[274] = orientation
    held = io.BytesIO()
    upright.save(held, "PNG", exif=upright.getexif())
    expected = read_picture(held.getvalue())  # Pillow's way
    told, picture = probe(path), read_file(path).first
    assert (told.height, told.width) == (picture.height, picture.width) == expected.color.shape[-2:]
    step = picture.color[0, :, 16::32, 16::32].float() / 257 - expected.color[0, :, 16::32, 16::32].float()
    assert step.abs().max() < 1
    exif = picture.metadata.exif
    assert exif is not None
    assert 274 not in exif_tree(exif)


@needs_rawpy
def test_the_header_tells_everything_without_development(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import rawpy

    def fail(*_arguments: object, **_options: object) -> None:
        raise AssertionError("it was developed")

    path = tmp_path / "photo.dng"
    path.write_bytes(dng(chart()))
    monkeypatch.setattr("rawpy.RawPy", type("Header", (rawpy.RawPy,), {"postprocess": fail, "unpack": fail}))
    told = probe(path)
    assert (told.format, told.height, told.width, told.depth_bits) == ("camera raw", 64, 96, 16)
    assert told.parts == {"icc_profile", "exif"}
    assert not told.notes
    assert probe(path.read_bytes()) == told
    with pytest.raises(InputError, match="megapixels, more than the limit"):
        probe(path, largest_px=6000)


@needs_rawpy
def test_a_name_that_is_not_utf_8_is_read(tmp_path: Path) -> None:
    path = tmp_path / "gr\udcfc\udcdfe.dng"
    try:
        path.write_bytes(dng(chart()))
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system takes only UTF-8")
    assert read_file(path).first.width == probe(path).width == 96


@needs_rawpy
def test_the_thumbnail_is_never_taken() -> None:
    """Most cameras and converters put it first, and the photo behind it."""
    photo = dng(chart())
    reader = TiffReader(io.BytesIO(photo))
    tree = dict(reader.tree(reader.directory(reader.first)))
    moved = {tag: tree.pop(tag) for tag in (254, 256, 257, 258, 259, 262, 273, 277, 278, 279, 33421, 33422)}
    thumbnail = bytes(8 * 8 * 3)
    at = len(photo) + len(photo) % 2
    raw = directory_at(at + len(thumbnail), {**moved, 50717: tree.pop(50717)}, reader.layout)
    first: Tree = {
        **tree,
        254: number(LONG, 1),
        256: number(LONG, 8),
        257: number(LONG, 8),
        258: Field(SHORT, struct.pack("<3H", 8, 8, 8)),
        259: number(SHORT, 1),
        262: number(SHORT, 2),
        273: number(LONG, at),
        277: number(SHORT, 3),
        278: number(LONG, 8),
        279: number(LONG, len(thumbnail)),
        330: number(LONG, at + len(thumbnail)),
    }
    behind = at + len(thumbnail) + len(raw)
    behind += behind % 2
    content = photo.ljust(at, b"\0") + thumbnail + raw
    content = content.ljust(behind, b"\0") + directory_at(behind, first, reader.layout)
    content = reader.layout.header(behind) + content[8:]
    assert probe(content).width == 96
    assert np.array_equal(developed(content), developed(photo))


@needs_rawpy
def test_gray_of_a_camera_without_color_filters_stays_gray() -> None:
    gray = np.repeat(np.linspace(0, 1, 64)[None, :, None], 48, axis=0)
    content = dng(
        np.repeat(gray, 3, axis=2),
        tags={
            262: number(SHORT, 34892),
            50721: Field(10, struct.pack("<2i", 1, 1)),
            50728: Field(5, struct.pack("<2I", 1, 1)),
        },
    )
    told, picture = probe(content), read_file(content).first
    assert told.gray
    assert picture.gray
    assert picture.metadata.icc_profile is None  # without one, gray has the curve of sRGB
    values = picture.color[0, 0].numpy() / 65_535
    assert np.abs(values - encoded(gray[..., 0])).max() < 3e-4


@needs_rawpy
def test_a_missing_white_balance_is_said() -> None:
    content = dng(chart(), tags={50728: None})
    assert "the file states no white balance, so that of daylight was taken" in probe(content).notes
    assert not any("white balance" in note for note in probe(dng(chart())).notes)


# Metadata


def camera_tags() -> dict[int, Field | Tree]:
    """Return tags as cameras write them, with a maker note that refers to the file by offsets."""
    return {
        306: Field(ASCII, b"2026:11:30 12:00:00\0"),
        315: Field(ASCII, b"Somebody\0"),
        700: Field(BYTE, b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><!--here--></x:xmpmeta>"),
        50740: Field(BYTE, bytes(64)),
        EXIF_DIRECTORY: {
            33434: Field(RATIONAL, struct.pack("<2I", 1, 125)),
            40961: number(SHORT, 1),
            40962: number(LONG, 96),
            37500: Field(UNDEFINED, b"\x10\0" + bytes(40)),
        },
        GPS_DIRECTORY: {0: Field(BYTE, b"\2\3\0\0"), 1: Field(ASCII, b"N\0")},
    }


@needs_rawpy
def test_exif_of_the_file_s_own_directories_is_kept(tmp_path: Path) -> None:
    content = dng(chart(), tags=camera_tags())
    assert (
        "the maker note was left out, since it is valid only at its place in the file" in probe(content).notes
    )
    file = read_file(content)
    settings = WriteSettings(provenance="a test")
    result = encode_file(PictureFile((file.first,)), FORMATS["TIFF"], settings)
    with Image.open(io.BytesIO(result)) as image:
        tags = image.getexif()
        assert (tags[271], tags[315], tags[306]) == ("Example", "Somebody", "2026:11:30 12:00:00")
        assert tags.get_ifd(EXIF_DIRECTORY)[33434] == pytest.approx(1 / 125)
        assert tags.get_ifd(EXIF_DIRECTORY)[40961] == 65_535  # the profile has other colors than sRGB
        assert 37500 not in tags.get_ifd(EXIF_DIRECTORY)
        assert tags.get_ifd(GPS_DIRECTORY)[1] == "N"
        assert not {tag for tag in tags if 33421 <= tag <= 33422 or tag > 50000}
        assert b"here" in tags[700]
        assert image.info["icc_profile"] == file.first.metadata.icc_profile


def test_exif_of_a_cr3_is_found() -> None:
    """A CR3 made of the boxes alone: LibRaw is not asked."""

    def block(tree: Tree) -> bytes:
        layout = Layout(">", big=False)
        return layout.header(8) + directory_at(8, tree, layout)

    def box(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(content), name) + content

    first = box(b"CMT1", block({271: Field(ASCII, b"Canon\0"), 274: number(SHORT, 6)}))
    details = box(b"CMT2", block({33434: Field(RATIONAL, struct.pack("<2I", 1, 60))}))
    place = box(b"CMT4", block({1: Field(ASCII, b"S\0")}))
    canon = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48") + box(b"CNCV", b"CanonCR3") + first + details
    canon += box(b"CMT3", block({1: number(SHORT, 1)})) + place
    content = box(b"ftyp", b"crx \0\0\0\1crx isom") + box(b"moov", box(b"uuid", canon) + box(b"trak", b""))
    assert sniff(content[:16]) is FORMATS["camera raw"]
    found = raw_files.metadata_of_file(io.BytesIO(content))
    assert found.metadata.exif is not None
    tree: Any = exif_tree(found.metadata.exif)
    assert tree.keys() == {271, EXIF_DIRECTORY, GPS_DIRECTORY}
    assert tree[EXIF_DIRECTORY][33434].ordered("<") == struct.pack("<2I", 1, 60)
    assert tree[GPS_DIRECTORY][1].data == b"S\0"
    assert found.lost_note


@pytest.mark.parametrize("mark", [b"IIRO", b"IIRS", b"IIU\0"])
def test_exif_of_tiffs_with_a_maker_s_number_is_found(mark: bytes) -> None:
    content = mark + dng(chart(8), tags=camera_tags())[4:]
    assert sniff(content[:16]) is FORMATS["camera raw"]
    exif = raw_files.metadata_of_file(io.BytesIO(content)).metadata.exif
    assert exif is not None
    assert exif_tree(exif)[315] == Field(ASCII, b"Somebody\0")


def test_exif_of_the_preview_is_found() -> None:
    preview = io.BytesIO()
    tags = Image.Exif()
    tags[271] = "FUJIFILM"
    tags[274] = 6
    Image.new("RGB", (8, 8)).save(preview, "JPEG", exif=tags)
    exif = raw_files.metadata_of_preview(preview.getvalue()).metadata.exif
    assert exif is not None
    assert exif_tree(exif).keys() == {271}
    assert raw_files.metadata_of_preview(b"\xff\xd8\xff").metadata.exif is None


# Damage, and files of other kinds


@needs_rawpy
@pytest.mark.parametrize("keep", [False, True])
def test_missing_pixels_are_damage(keep: bool) -> None:
    """LibRaw makes missing tiles black without an error."""
    whole = dng(chart())
    tiles = {
        322: number(LONG, 96),
        323: number(LONG, 16),
        324: number(LONG, 8),
        325: number(LONG, 96 * 16 * 2),
    }
    beyond = dng(chart(), tags={273: number(LONG, len(whole) - 4000)})
    for content in (dng(chart(), tags=tiles), beyond, whole[:3000]):
        with pytest.raises(
            InputError, match=r"the data is (damaged|a camera raw file of an unsupported kind)"
        ) as caught:
            read_file(content, keep_damaged=keep)
        assert "--damaged keep" not in str(caught.value.hint)


@needs_rawpy
def test_changed_bytes_raise_only_our_own_errors() -> None:
    random, content = np.random.default_rng(3), dng(chart(16), tags=camera_tags())
    refused = 0
    for _ in range(150):
        changed = bytearray(content)
        for place in random.integers(len(content) - 700, len(content), 3):
            changed[place] = random.integers(256)
        try:
            read_file(bytes(changed), largest_px=10**6)
        except EscError:
            refused += 1
    assert 0 < refused < 150


@needs_rawpy
@pytest.mark.parametrize("tags", [{50706: b"\1\4\0\0"}, {262: 32803}])
def test_a_raw_file_of_an_unknown_kind_is_refused(tags: dict[int, object]) -> None:
    plain = io.BytesIO()
    Image.new("L", (8, 6)).save(plain, "TIFF", tiffinfo=tags)
    with pytest.raises(InputError, match="camera raw file of an unsupported kind") as caught:
        probe(plain.getvalue())
    assert not isinstance(caught.value, DamageError)
    assert "develop it first" in str(caught.value.hint)


@pytest.mark.parametrize(
    "beginning",
    [
        b"II*\0\x10\0\0\0CR\2\0",
        b"II*\0\x10\0\0\0IIII",
        b"MM\0*\0\0\0\x10MMMM",
        b"\0\0\0\x18ftypcrx \0\0\0\1",
        b"FUJIFILMCCD-RAW ",
        b"IIRO\x08\0\0\0",
        b"MMOR\0\0\0\x08",
        b"IIU\0\x18\0\0\0",
        b"\0MRM\0\0\0\0",
        b"FOVb\1\0\2\0",
        b"II\x1a\0\0\0HEAPCCDR",
    ],
)
def test_makers_marks_are_known(beginning: bytes) -> None:
    assert sniff(beginning) is FORMATS["camera raw"]


@pytest.mark.parametrize("tags", [{50706: b"\1\4\0\0"}, {254: 1, 330: 8}, {262: 32803}])
def test_camera_raw_is_not_taken_for_a_tiff(tags: dict[int, object]) -> None:
    plain = io.BytesIO()
    Image.new("L", (8, 6)).save(plain, "TIFF", tiffinfo=tags)
    plain.seek(5)
    header = plain.getvalue()[:80]
    assert detect(plain, header) is FORMATS["camera raw"]
    assert plain.tell() == 5
    page = io.BytesIO()
    Image.new("L", (8, 6)).save(page, "TIFF", tiffinfo={254: 1})
    assert detect(page, page.getvalue()[:80]) is FORMATS["TIFF"]
    assert detect(io.BytesIO(dng(chart(8))), dng(chart(8))[:80]) is FORMATS["camera raw"]


# The command


def test_raw_is_only_read() -> None:
    assert format_like("camera raw").name == "TIFF"
    for name in ("dng", "cr2"):
        with pytest.raises(UsageError, match="cannot be written as camera raw, which is only read"):
            format_named(name)
    with pytest.raises(UsageError, match="cannot be written") as caught:
        format_named("dgn")
    assert "dng" not in str(caught.value.hint)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)
    path = tmp_path / "photo.dng"
    path.write_bytes(dng(chart(8)))
    path.with_suffix(".raf").write_bytes(b"FUJIFILMCCD-RAW 0201")
    path.with_suffix(".bin").write_bytes(b"FUJIFILMCCD-RAW 0201")
    with (
        pytest.raises(InputError, match="is a camera raw picture: the required package") as caught,
        opened(path),
    ):
        pass
    assert caught.value.hint == 'pip install "esc-upscale[raw]"'
    assert not any(is_picture(one) for one in tmp_path.iterdir())
    monkeypatch.undo()
    if FORMATS["camera raw"].is_installed():
        assert len(find_pictures(tmp_path)) == 3
