"""Test kinds of TIFF that Pillow or libvips refuse or read wrongly, in files written byte by byte."""

import io
import itertools
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from PIL.TiffImagePlugin import AppendingTiffWriter, TiffImageFile

from esc_cli.errors import InputError
from esc_cli.media.picture import Picture
from esc_cli.media.pixels.bits import SIGNED_NOTE
from esc_cli.media.probe import probe
from esc_cli.media.read import read_file

Array = npt.NDArray[Any]
RGB, CMYK, YCBCR, CIELAB, ICCLAB = 2, 5, 6, 8, 9
RAW, DEFLATE, WEBP, ZSTD = 1, 8, 50_001, 50_000
BYTE, SHORT, LONG, SIGNED_BYTE, LONG8 = 1, 3, 4, 6, 16
LETTERS = {BYTE: "B", SHORT: "H", LONG: "I", SIGNED_BYTE: "b", LONG8: "Q"}


def tiff(
    values: Array,
    photometric: int,
    *,
    extra: Sequence[int] = (),
    planes: bool = False,
    tile: int | None = None,
    compression: int = RAW,
    order: str = "<",
    big: bool = False,
    tags: dict[int, tuple[int, tuple[int, ...]]] | None = None,
    packed: Sequence[bytes] | None = None,
) -> bytes:
    """Encode an array of shape (H, W, C). `tags` gives more tags, by type and numbers. Source: TIFF 6.0."""
    height, width, channels = values.shape
    parts = list(packed or _parts(values.astype(values.dtype.newbyteorder(order)), planes, tile))
    if compression == DEFLATE:
        parts = [zlib.compress(part) for part in parts]
    start, pointer = (16, LONG8) if big else (8, LONG)
    places = list(itertools.accumulate((len(part) for part in parts), initial=start))
    fields: dict[int, tuple[int, tuple[int, ...]]] = {
        256: (SHORT, (width,)),
        257: (SHORT, (height,)),
        258: (SHORT, (8 * values.dtype.itemsize,) * channels),
        259: (SHORT, (compression,)),
        262: (SHORT, (photometric,)),
        277: (SHORT, (channels,)),
        284: (SHORT, (2 if planes else 1,)),
        339: (SHORT, ({"u": 1, "i": 2, "f": 3}[values.dtype.kind],) * channels),
        (324 if tile else 273): (pointer, tuple(places[:-1])),
        (325 if tile else 279): (pointer, tuple(map(len, parts))),
        **(
            {322: (SHORT, (tile,)), 323: (SHORT, (tile,))}
            if tile
            else {278: (SHORT, (8 if not packed else height,))}
        ),
        **({338: (SHORT, tuple(extra))} if extra else {}),
        **(tags or {}),
    }
    return _file(b"".join(parts), fields, order, big)


def _parts(values: Array, planes: bool, tile: int | None) -> list[bytes]:
    height, width, channels = values.shape
    result = []
    for plane in np.split(values, channels, axis=2) if planes else [values]:
        if tile is None:
            result += [plane[top : top + 8].tobytes() for top in range(0, height, 8)]
            continue
        whole = np.pad(plane, ((0, -height % tile), (0, -width % tile), (0, 0)))
        result += [
            whole[top : top + tile, left : left + tile].tobytes()
            for top in range(0, height, tile)
            for left in range(0, width, tile)
        ]
    return result


def _file(pixels: bytes, fields: dict[int, tuple[int, tuple[int, ...]]], order: str, big: bool) -> bytes:
    place_bytes, offset, entry = (8, "Q", "HHQ") if big else (4, "I", "HHI")
    header_bytes, count = (16, "Q") if big else (8, "H")
    first = header_bytes + len(pixels)
    behind = first + struct.calcsize(f"<{count}") + len(fields) * (struct.calcsize(f"<{entry}") + place_bytes)
    behind += place_bytes
    rows, data = b"", b""
    for tag, (type, numbers) in sorted(fields.items()):
        value = struct.pack(f"{order}{len(numbers)}{LETTERS[type]}", *numbers)
        rows += struct.pack(order + entry, tag, type, len(numbers))
        if len(value) <= place_bytes:
            rows += value.ljust(place_bytes, b"\0")
        else:
            rows += struct.pack(order + offset, behind + len(data))
            data += value
    version = struct.pack(f"{order}HHH", 43, 8, 0) if big else struct.pack(f"{order}H", 42)
    header = (b"II" if order == "<" else b"MM") + version + struct.pack(order + offset, first)
    return header + pixels + struct.pack(order + count, len(fields)) + rows + bytes(place_bytes) + data


def noise(channels: int, type: str, size: tuple[int, int] = (21, 37)) -> Array:
    random = np.random.default_rng(channels)
    if np.dtype(type).kind == "f":
        return random.random((*size, channels)).astype(type)
    return random.integers(0, np.iinfo(type).max, (*size, channels), type, endpoint=True)


def first(file: bytes) -> Picture:
    return read_file(file).first


def channels_of(picture: Picture) -> Array:
    """Return the channels that a file would have: gray or RGB, and alpha if there is any."""
    color = picture.color[0].numpy().transpose(1, 2, 0)[..., : 1 if picture.gray else 3]
    return color if picture.alpha is None else np.dstack((color, picture.alpha[0, 0].numpy()))


# The storage of samples

_LAYOUTS = pytest.mark.parametrize(
    "layout",
    [
        {"planes": planes, "tile": tile, "compression": compression, "order": order}
        for planes in (False, True)
        for tile in (None, 16)
        for compression in (RAW, DEFLATE)
        for order in "<>"
    ],
    ids=lambda layout: "-".join(map(str, layout.values())),
)


@_LAYOUTS
@pytest.mark.parametrize("type", ["u1", "u2", "f4"])
@pytest.mark.parametrize(
    ("photometric", "extra", "kept"),
    [
        (1, (), 1),
        (1, (0,), 1),
        (1, (2,), 2),
        (1, (2, 0), 2),
        (RGB, (), 3),
        (RGB, (0,), 3),
        (RGB, (0, 0), 3),
        (RGB, (2,), 4),
        (RGB, (2, 0), 4),
    ],
)
def test_every_channel_is_read_however_it_is_stored(
    photometric: int, extra: tuple[int, ...], kept: int, type: str, layout: dict[str, Any]
) -> None:
    values = noise((1 if photometric == 1 else 3) + len(extra), type)
    file = tiff(values, photometric, extra=extra, **layout)
    picture, told = first(file), probe(file)
    assert np.array_equal(channels_of(picture), values[..., :kept])
    assert (told.alpha, told.gray, told.depth_bits) == (kept in (2, 4), kept <= 2, picture.depth_bits)
    assert picture.depth_bits == {"u1": 8, "u2": 16, "f4": 32}[type]
    left_out = values.shape[2] - kept
    note = f"channels that are neither color nor transparency were left out: {left_out}"
    assert told.notes == picture.notes == ((note,) if left_out else ())


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("type", ["u1", "u2", "f4"])
def test_white_at_zero_beside_alpha(type: str, planes: bool) -> None:
    values = noise(2, type)
    white = 1 if type[0] == "f" else np.iinfo(type).max
    expected = np.dstack((white - values[..., 0], values[..., 1]))
    found = channels_of(first(tiff(values, 0, extra=(2,), planes=planes)))
    assert np.allclose(found, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("channels", [1, 2])
def test_white_at_zero_of_floats_in_their_own_range(channels: int) -> None:
    values = np.array([[[0.0] * channels, [100.0] * channels, [255.0] * channels]], "f4")
    picture = first(tiff(values, 0, extra=(2,)[: channels - 1]))
    assert channels_of(picture)[0, :, 0].tolist() == pytest.approx([1, 155 / 255, 0], abs=1e-6)
    assert picture.value_range == (0, 255)


@pytest.mark.parametrize("photometric", [1, RGB])
def test_associated_alpha_of_planes_is_divided_out(photometric: int) -> None:
    colors = 1 if photometric == 1 else 3
    stored = np.array([[[100] * colors + [200], [0] * colors + [0], [77] * colors + [255]]], "u1")
    found = channels_of(first(tiff(stored, photometric, extra=(1,), planes=True)))
    assert found[0, :, 0].tolist() == [128, 0, 77]  # 100 x 255 / 200 = 127.5
    assert found[0, :, -1].tolist() == [200, 0, 255]


@_LAYOUTS
@pytest.mark.parametrize(("photometric", "extra"), [(1, (2,)), (RGB, ()), (RGB, (2,))])
def test_32_bit_integers_become_16(photometric: int, extra: tuple[int, ...], layout: dict[str, Any]) -> None:
    values = noise((1 if photometric == 1 else 3) + len(extra), "u4") >> 1  # half of white stays half of it
    file = tiff(values, photometric, extra=extra, **layout)
    picture = first(file)
    assert np.array_equal(channels_of(picture), values >> 16)
    assert probe(file).notes == picture.notes == ("32-bit integers were reduced to 16 bits per channel",)
    small = first(tiff(values >> 24, photometric, extra=extra, **layout))
    assert np.array_equal(channels_of(small), (values >> 24) * 257)


def test_pages_of_other_kinds_follow(encode: Callable[..., bytes]) -> None:
    pages = [noise(3, "u1"), noise(2, "u2"), noise(1, "u1")]
    content = io.BytesIO()
    with AppendingTiffWriter(content) as writer:
        for file in (tiff(pages[0], RGB), tiff(pages[1], 1, extra=(2,), planes=True), tiff(pages[2], 1)):
            writer.write(file)
            writer.newFrame()
    found = read_file(content.getvalue()).pictures
    for picture, values in zip(found, pages, strict=True):
        assert np.array_equal(channels_of(picture), values)


@_LAYOUTS
@pytest.mark.parametrize("type", ["i2", "i4"])
def test_gray_with_a_sign(type: str, layout: dict[str, Any]) -> None:
    values = noise(1, type)
    values[0, :2, 0] = np.iinfo(type).min, np.iinfo(type).max
    expected = (values.astype(np.int64) - values.min()) * (65_535 / (2 ** (8 * values.dtype.itemsize) - 1))
    file = tiff(values, 1, **layout)
    picture = first(file)
    assert np.array_equal(channels_of(picture), expected.round())
    assert len(picture.notes) == 1
    assert probe(file).notes == picture.notes


@pytest.mark.parametrize("type", ["u1", "u2"])
@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize(("photometric", "extra"), [(1, ()), (1, (2,)), (RGB, ()), (RGB, (2,))])
def test_big_tiff_of_big_endian(photometric: int, extra: tuple[int, ...], planes: bool, type: str) -> None:
    values = noise((1 if photometric == 1 else 3) + len(extra), type)
    file = tiff(values, photometric, extra=extra, planes=planes, order=">", big=True)
    picture = first(file)
    assert np.array_equal(channels_of(picture), values)
    assert (probe(file).height, probe(file).width) == values.shape[:2]


@pytest.mark.parametrize("type", [BYTE, SIGNED_BYTE, SHORT, LONG])
@pytest.mark.parametrize("kind", ["u1", "u2"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_a_whole_number_of_any_type(orientation: int, kind: str, type: int) -> None:
    values = noise(3, kind)
    usual = channels_of(first(tiff(values, RGB, tags={274: (SHORT, (orientation,))})))
    file = tiff(values, RGB, tags={274: (type, (orientation,))})
    assert np.array_equal(channels_of(first(file)), usual)
    assert (probe(file).height, probe(file).width) == usual.shape[:2]
    assert (usual.shape[0] == 37) == (orientation > 4)


# Colors that are converted


@_LAYOUTS
@pytest.mark.parametrize("type", ["u1", "u2"])
@pytest.mark.parametrize("extra", [(), (0,), (2,)])
def test_cmyk_with_and_without_alpha(extra: tuple[int, ...], type: str, layout: dict[str, Any]) -> None:
    inks = noise(4 + len(extra), "u1")
    values = inks if type == "u1" else inks.astype("u2") * np.uint16(257)
    file = tiff(values, CMYK, extra=extra, **layout)
    picture = first(file)
    expected = np.asarray(Image.fromarray(inks[..., :4].copy(), "CMYK").convert("RGB"))
    assert np.array_equal(channels_of(picture)[..., :3], expected)
    if extra == (2,):
        assert picture.alpha is not None
        assert np.array_equal(picture.alpha[0, 0].numpy(), inks[..., 4])
    reduced = {"u1": (), "u2": ("16 bits per channel were reduced to 8",)}[type]
    more = ("channels that are neither color nor transparency were left out: 1",) if extra == (0,) else ()
    notes = (*more, "CMYK without a usable color profile was converted with a simple formula", *reduced)
    assert (picture.notes, probe(file).notes, picture.depth_bits) == (notes, notes, 8)
    assert (picture.alpha is not None) == probe(file).alpha == (extra == (2,))


def test_cmyk_with_alpha_goes_through_its_profile(red_ink_profile: bytes) -> None:
    stored = np.array([[[255, 0, 0, 0, 128]]], "u1")
    profile = {34675: (BYTE, tuple(red_ink_profile))}
    file = tiff(stored, CMYK, extra=(2,), tags=profile)
    picture = first(file)
    assert picture.color[0, 0, 0, 0] > 200  # red ink, not cyan
    assert picture.color[0, 2, 0, 0] < 50
    assert picture.notes == probe(file).notes == ("CMYK was converted to sRGB through its color profile",)
    assert picture.metadata.icc_profile is None


# White, middle gray, and the red of sRGB, as L*, a* and b* of D50.
# Source: Lindbloom's CIE color calculator (sRGB, Bradford to D50).
_LAB = np.array([[[100, 0, 0], [53.585, 0, 0], [54.292, 80.812, 69.885]]])
_COLORS = np.array([[[255, 255, 255], [128, 128, 128], [255, 0, 0]]])


@_LAYOUTS
@pytest.mark.parametrize("type", ["u1", "u2"])
@pytest.mark.parametrize("photometric", [CIELAB, ICCLAB])
def test_lab_of_every_encoding(photometric: int, type: str, layout: dict[str, Any]) -> None:
    """Source: TIFF 6.0, section 23; TIFF technical note 4 (ICCLab)."""
    wide = 256 if type == "u2" else 1
    white = {("u1"): 255, "u2": 65_535 if photometric == CIELAB else 0xFF00}[type]
    encoded = (_LAB * (white / 100, wide, wide)).round().astype(np.int64)
    if photometric == ICCLAB:
        encoded[..., 1:] += 128 * wide
    file = tiff((encoded % (256 * wide)).astype(type), photometric, **layout)
    picture = first(file)
    assert np.abs(channels_of(picture).astype(int) - _COLORS).max() <= 3
    reduced = {"u1": (), "u2": ("16 bits per channel were reduced to 8",)}[type]
    assert picture.notes == probe(file).notes == ("Lab colors were converted to sRGB", *reduced)


@pytest.mark.parametrize(("across", "down"), [(1, 1), (2, 1), (2, 2), (4, 2), (4, 4)])
@pytest.mark.parametrize("compression", [RAW, DEFLATE])
def test_ycbcr_with_fewer_colors_than_luma(across: int, down: int, compression: int) -> None:
    """Source: TIFF 6.0, section 21: luma of a block, row by row, then its Cb and Cr."""
    height, width = 8, 16
    luma = noise(1, "u1", (height, width))[..., 0]
    cb, cr = np.moveaxis(noise(2, "u1", (height // down, width // across)), 2, 0)
    blocks = luma.reshape(height // down, down, width // across, across).swapaxes(1, 2)
    units = np.dstack((blocks.reshape(*cb.shape, down * across), cb, cr))
    whole = np.dstack((luma, *(part.repeat(down, 0).repeat(across, 1) for part in (cb, cr))))
    packed = [units.tobytes()] if compression == RAW else [zlib.compress(units.tobytes())]
    tags = {530: (SHORT, (across, down))}
    file = tiff(whole, YCBCR, compression=RAW, packed=packed, tags=tags | {259: (SHORT, (compression,))})
    expected = np.asarray(Image.fromarray(whole, "YCbCr").convert("RGB")).astype(int)
    picture = first(file)
    assert np.abs(channels_of(picture).astype(int) - expected).max() <= 1
    assert picture.alpha is None and not probe(file).alpha


def test_planes_of_ycbcr() -> None:
    values = noise(3, "u1")
    picture = first(tiff(values, YCBCR, planes=True, tags={530: (SHORT, (1, 1))}))
    assert np.array_equal(channels_of(picture), np.asarray(Image.fromarray(values, "YCbCr").convert("RGB")))


@pytest.mark.parametrize(("mode", "extra"), [("RGB", ()), ("RGBA", (2,))])
def test_webp_in_a_tiff(
    mode: str, extra: tuple[int, ...], encode: Callable[..., bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    values = noise(len(mode), "u1")
    packed = encode(Image.fromarray(values), "WEBP", lossless=True, exact=True)
    file = tiff(values, RGB, extra=extra, compression=WEBP, packed=[packed])
    assert np.array_equal(channels_of(first(file)), values)
    assert capfd.readouterr().err == ""


# What is refused


@pytest.mark.parametrize(
    ("values", "photometric", "options", "kind"),
    [
        (noise(3, "u2"), YCBCR, {}, "YCbCr, 3 channels of 16 bits"),
        (noise(1, "u2"), 32_845, {}, "LogLuv, 1 channel of 16 bits"),
        (noise(3, "u1"), YCBCR, {"planes": True}, "YCbCr, 3 channels of 8 bits in separate planes"),
        (noise(3, "f8"), RGB, {}, "RGB, 3 channels of 64 bits (floats)"),
        (noise(7, "u1"), RGB, {"extra": (0, 0, 0, 0)}, "RGB, 7 channels of 8 bits"),
        (
            noise(1, "f8"),
            1,
            {"compression": DEFLATE, "order": ">"},
            "gray, 1 channel of 64 bits (floats), compression 8",
        ),
        (noise(3, "u1"), RGB, {"compression": 65_000}, "RGB, 3 channels of 8 bits, compression 65000"),
        (noise(3, "i2"), RGB, {}, "RGB, 3 channels of 16 bits with a sign"),
        (noise(3, "u1"), RGB, {"compression": 34_712}, "RGB, 3 channels of 8 bits, JPEG 2000"),
        (
            noise(2, "u2"),
            1,
            {"extra": (2,), "compression": ZSTD},
            "gray, 2 channels of 16 bits, Zstandard",
        ),
    ],
)
def test_an_unsupported_kind_is_named(
    values: Array, photometric: int, options: dict[str, Any], kind: str
) -> None:
    for read in (probe, read_file):
        with pytest.raises(InputError) as caught:
            read(tiff(values, photometric, **options))
        assert caught.value.message == f"the data is a TIFF of an unsupported kind: {kind}"


def test_a_page_without_pixels_is_damage() -> None:
    file = tiff(noise(3, "u1"), RGB).replace(struct.pack("<HH", 273, LONG), struct.pack("<HH", 272, LONG))
    with pytest.raises(InputError, match="damaged"):
        read_file(file)


def test_two_heights_are_damage() -> None:
    """Pillow takes another one than libvips, so the plan would not be true."""
    file = tiff(noise(2, "u1"), 1, extra=(2,), planes=True)
    twice = file.replace(struct.pack("<HH", 278, SHORT), struct.pack("<HH", 257, SHORT))
    with pytest.raises(InputError, match="two sizes"):
        read_file(twice)


@pytest.mark.parametrize(
    "file",
    [
        tiff(noise(2, "u1"), 1, extra=(2,), planes=True),
        tiff(noise(3, "u2"), RGB, planes=True, tile=16, compression=DEFLATE),
        tiff(noise(5, "u1"), CMYK, extra=(2,)),
        tiff(noise(3, "u2"), CIELAB, planes=True),
        tiff(noise(4, "u4"), RGB, extra=(2,), compression=DEFLATE),
        tiff(noise(3, "u1"), RGB, order=">", big=True, tags={274: (BYTE, (6,))}),
        tiff(noise(2, "f4"), 0, extra=(2,), order=">"),
    ],
    ids=("gray and alpha", "deep", "CMYK", "Lab", "32 bits", "BigTIFF", "floats"),
)
def test_a_damaged_file_is_refused_or_read_as_planned(file: bytes) -> None:
    random = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(file)
        for place in len(file) - 1 - random.integers(0, 260, 2):  # directories are at the end
            damaged[place] = random.integers(0, 256)
        try:
            told, picture = probe(bytes(damaged)), read_file(bytes(damaged)).first
        except InputError as error:
            assert "\n" not in error.message
            continue
        assert (told.height, told.width, told.gray) == (picture.height, picture.width, picture.gray)
        assert told.alpha == (picture.alpha is not None)


def packed_by_pillow(plane: Array, compression: str, predictor: int, encode: Callable[..., bytes]) -> bytes:
    """Return the only strip of a gray TIFF that Pillow writes."""
    tags = {278: len(plane), 317: predictor}
    file = encode(Image.fromarray(plane), "TIFF", compression=compression, tiffinfo=tags)
    with Image.open(io.BytesIO(file)) as image:
        assert isinstance(image, TiffImageFile)
        (start,), (size,) = image.tag_v2[273], image.tag_v2[279]
    return file[start : start + size]


@pytest.mark.parametrize("type", ["u1", "u2"])
@pytest.mark.parametrize(
    ("compression", "number", "predictor"),
    [
        ("tiff_lzw", 5, 1),
        ("tiff_lzw", 5, 2),
        ("tiff_adobe_deflate", 8, 2),
        ("packbits", 32_773, 1),
        ("lzma", 34_925, 1),
        ("zstd", ZSTD, 2),
    ],
)
def test_planes_of_every_compression(
    type: str, compression: str, number: int, predictor: int, encode: Callable[..., bytes]
) -> None:
    values = noise(2, type)
    planes = [packed_by_pillow(values[..., at], compression, predictor, encode) for at in (0, 1)]
    tags = {259: (SHORT, (number,)), 317: (SHORT, (predictor,))}
    file = tiff(values, 1, extra=(2,), planes=True, packed=planes, tags=tags)
    assert np.array_equal(channels_of(first(file)), values)


def test_planes_of_jpegs(encode: Callable[..., bytes], scene: Image.Image) -> None:
    planes = [encode(plane, "JPEG", quality=95) for plane in scene.split()]
    expected = np.dstack([np.asarray(Image.open(io.BytesIO(plane))) for plane in planes])
    file = tiff(expected, RGB, planes=True, compression=7, packed=planes)
    assert np.array_equal(channels_of(first(file)), expected)


def test_bytes_with_a_sign_are_moved_up() -> None:
    values = np.arange(-128, 128, dtype=np.int8).reshape(16, 16, 1)
    content = tiff(values, 1)
    picture = read_file(content).first
    assert picture.notes == (SIGNED_NOTE,)
    assert picture.color[0, 0].tolist() == (values[..., 0].astype(int) + 128).tolist()
    assert SIGNED_NOTE in probe(content).notes


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize("compression", [RAW, DEFLATE])
def test_gray_of_12_bits(order: str, white_is_zero: bool, compression: int) -> None:
    values = noise(1, "u2", (5, 7)) >> 4
    rows = ["".join(f"{value:012b}" for value in row).ljust(88, "0") for row in values[..., 0]]
    packed = [b"".join(int(row, 2).to_bytes(11) for row in rows)]
    bits: dict[int, tuple[int, tuple[int, ...]]] = {258: (SHORT, (12,))}
    file = tiff(
        values, int(not white_is_zero), order=order, compression=compression, packed=packed, tags=bits
    )
    shown = 4095 - values if white_is_zero else values
    picture = first(file)
    assert (picture.depth_bits, probe(file).depth_bits) == (12, 12)
    assert np.array_equal(channels_of(picture), (shown / 4095 * 65_535).round())


@pytest.mark.parametrize("type", ["u1", "u2", "f4"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("order", ["<", ">"])
def test_associated_alpha_is_divided_out_with_rounding(type: str, channels: int, order: str) -> None:
    values = noise(channels + 1, type, (40, 30))
    opaque = 1 if type == "f4" else np.iinfo(type).max
    values[..., :-1] = values[..., :-1] * (values[..., -1:] / opaque)
    alpha = values[..., -1:].astype(float)
    straight = (values[..., :-1].astype(float) * opaque) / np.where(alpha, alpha, 1)
    result = channels_of(first(tiff(values, 2 if channels == 3 else 1, extra=(1,), order=order)))
    assert np.array_equal(result[..., -1], values[..., -1])
    if type == "f4":
        assert np.allclose(result[..., :-1], straight)
    else:
        assert np.array_equal(result[..., :-1], straight.round())


@pytest.mark.parametrize("scale", [1, 257])
def test_a_palette_of_8_bits(scale: int) -> None:
    """TIFF demands 16 bits, but old programs wrote 8. libtiff's own viewers accept both."""
    colors = np.random.default_rng(1).integers(0, 256, (3, 256))
    colors[0, :2] = 255, 0
    values = noise(1, "u1")
    palette = {320: (SHORT, tuple(int(value) for value in (scale * colors).ravel()))}
    picture = first(tiff(values, 3, tags=palette))
    assert np.array_equal(channels_of(picture), colors[:, values[..., 0]].transpose(1, 2, 0))
    assert picture.notes == ()
