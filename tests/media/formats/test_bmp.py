import io
import struct
from collections.abc import Sequence
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from esc_cli.errors import InputError
from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.picture import Picture
from esc_cli.media.probe import probe
from esc_cli.media.read import read_file
from esc_cli.media.write import encode_file

Array = npt.NDArray[Any]

PLAIN, RLE8, RLE4, FIELDS, ALPHA_FIELDS = 0, 1, 2, 3, 6
COLORS = [(17 * number, 255 - 13 * number, number * number) for number in range(16)]


def bmp(
    size: tuple[int, int],
    bits: int,
    data: bytes,
    compression: int = PLAIN,
    palette: Sequence[tuple[int, int, int]] = (),
    masks: Sequence[int] = (),
    header_bytes: int = 40,
    profile: bytes = b"",
) -> bytes:
    """Return a BMP of a size (height, width), with rows from bottom to top unless the height is negative."""
    height, width = size
    core = header_bytes == 12
    table = b"".join(bytes((b, g, r)) + b"\0" * (not core) for r, g, b in palette)
    if core:
        header = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        header = struct.pack("<IiiHHII", header_bytes, width, height, 1, bits, compression, len(data))
        header += struct.pack(f"<8xII{len(masks)}I", len(palette), 0, *masks)
        header = header[:header_bytes] if header_bytes < 40 else header.ljust(header_bytes, b"\0")
        if profile:
            place = header_bytes + len(table) + len(data)
            header = (
                header[:56] + b"DEBM" + header[60:112] + struct.pack("<II", place, len(profile)) + bytes(4)
            )
    place = 14 + len(header) + len(table)
    content = header + table + data + profile
    return struct.pack("<2sIHHI", b"BM", 14 + len(content), 0, 0, place) + content


def shown(content: bytes) -> Array:
    """Return the colors, with the alpha if there is one, as (H, W, C)."""
    return values(read_file(content).first)


def values(picture: Picture) -> Array:
    planes = [*picture.color[0], *(() if picture.alpha is None else picture.alpha[0])]
    return np.stack([plane.numpy() for plane in planes], axis=2)


def rows_of(numbers: Array, bytes_each: int) -> bytes:
    """Store rows of numbers, the last row first, each filled up to a multiple of 4 bytes."""
    stored = (numbers.astype(f"<u{bytes_each}")[row].tobytes() for row in reversed(range(len(numbers))))
    return b"".join(row + bytes(-len(row) % 4) for row in stored)


def ffmpeg(content: bytes) -> Array:
    with av.open(io.BytesIO(content), format="bmp_pipe") as container:
        frame = next(container.decode(video=0))
        return frame.to_ndarray(format="rgba" if frame.format.name in ("bgra", "rgba") else "rgb24")


# Runs


def run(count: int, value: int) -> bytes:
    return bytes((count, value))


END_OF_ROW, END = bytes((0, 0)), bytes((0, 1))


def test_rle4() -> None:
    """Bottom row: 7 pixels of colors 1 and 2 in turn. Then five literal ones, of which two follow a move."""
    data = run(7, 0x12) + END_OF_ROW + bytes((0, 5, 0x34, 0x56, 0x70, 0)) + run(2, 0x88) + END_OF_ROW
    data += bytes((0, 2, 3, 0)) + run(3, 0x9A) + END
    content = bmp((4, 7), 4, data, RLE4, COLORS)
    indices = [[0] * 7, [0, 0, 0, 9, 10, 9, 0], [3, 4, 5, 6, 7, 8, 8], [1, 2, 1, 2, 1, 2, 1]]
    assert (shown(content) == np.array(COLORS)[indices]).all()


def test_rle8() -> None:
    data = run(5, 3) + END_OF_ROW + bytes((0, 3, 1, 2, 4, 0)) + run(9, 5) + END_OF_ROW
    data += bytes((0, 2, 1, 1)) + run(1, 7)
    content = bmp((4, 5), 8, data + END, RLE8, COLORS)
    indices = [[0, 7, 0, 0, 0], [0] * 5, [1, 2, 4, 5, 5], [3] * 5]
    assert (shown(content) == np.array(COLORS)[indices]).all()


def compressed(indices: Array, random: np.random.Generator, *, is_rle4: bool) -> bytes:
    """Compress indices, choosing at random between runs, literals and moves of any length."""
    data = b""
    for row in indices[::-1].tolist():
        at = 0
        while any(row[at:]) or (at < len(row) and random.random() < 0.5):  # zeros may be left out
            piece = row[at : at + int(random.integers(1, 12))]
            first, second = (piece * 2)[:2]
            alternating = is_rle4 and piece == [(first, second)[i % 2] for i in range(len(piece))]
            if not any(piece) and random.random() < 0.5:
                data += bytes((0, 2, len(piece), 0))
            elif alternating or len(set(piece)) == 1:
                data += bytes((len(piece), first << 4 | second if is_rle4 else first))
            elif len(piece) >= 3:
                stored = bytes(piece)
                if is_rle4:
                    padded = [*piece, 0]
                    stored = bytes(padded[i] << 4 | padded[i + 1] for i in range(0, len(piece), 2))
                data += bytes((0, len(piece))) + stored + bytes(len(stored) % 2)
            else:
                piece = piece[:1]
                data += bytes((1, first << 4 if is_rle4 else first))
            at += len(piece)
        data += END_OF_ROW
    return data[:-2] + END


@pytest.mark.parametrize("compression", [RLE4, RLE8])
@pytest.mark.parametrize("seed", range(8))
def test_runs_are_as_ffmpeg_decodes_them(compression: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 30, 2).tolist()
    indices = random.integers(0, 16, (height, width)) // random.integers(1, 16, (height, 1))
    data = compressed(indices, random, is_rle4=compression == RLE4)
    content = bmp((height, width), 4 if compression == RLE4 else 8, data, compression, COLORS)
    assert (shown(content) == np.array(COLORS)[indices]).all()
    assert (ffmpeg(content)[..., :3] == shown(content)).all()


@pytest.mark.parametrize("data", [run(4, 1), run(4, 1) + END_OF_ROW, b"", bytes((0, 9, 1)), bytes((0, 2, 1))])
def test_runs_that_end_too_early_are_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="damaged or incomplete"):
        read_file(bmp((3, 4), 8, data, RLE8, COLORS))


def test_runs_beyond_the_picture_are_cut() -> None:
    data = run(200, 1) + run(3, 2) + END_OF_ROW + bytes((0, 2, 9, 0)) + run(5, 3) + END_OF_ROW
    data += run(4, 4) * 3
    assert (shown(bmp((2, 4), 8, data, RLE8, COLORS)) == np.array(COLORS)[[[0] * 4, [1] * 4]]).all()


# Palettes

PALETTES = [COLORS, [(0, 0, 0), (255, 255, 255)], [(0, 0, 0)], [(5, 5, 5), (90, 90, 90)]]


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("header_bytes", [12, 16, 40, 64, 108, 124])
def test_palettes(bits: int, palette: list[tuple[int, int, int]], header_bytes: int) -> None:
    """Pillow reads pixels of 4 and 8 bits as if they had one if the palette is black, or black and white."""
    palette = palette[: 2**bits]
    indices = np.random.default_rng(bits).integers(0, len(palette), (5, 11))
    spread = (indices[..., np.newaxis] >> np.arange(bits - 1, -1, -1) & 1).reshape(5, -1)
    packed = np.packbits(spread.astype(np.uint8), axis=1)
    content = bmp((5, 11), bits, rows_of(packed, 1), palette=palette, header_bytes=header_bytes)
    picture = read_file(content).first
    assert (values(picture) == np.array(palette)[indices]).all()
    assert picture.gray == probe(content).gray == (palette != COLORS[: 2**bits])


def test_an_index_beyond_the_palette_is_black() -> None:
    content = bmp((1, 4), 8, bytes((0, 1, 2, 255)), palette=COLORS[1:3])
    assert shown(content)[0].tolist() == [*map(list, COLORS[1:3]), [0, 0, 0], [0, 0, 0]]


# Bit fields


def stored(colors: Array, masks: Sequence[int]) -> Array:
    """Return pixels, (H, W), whose fields hold the colors, (H, W, C), of as many bits as the masks have."""
    shifts = [(mask & -mask).bit_length() - 1 for mask in masks]
    return (colors.astype(np.uint64) << np.array(shifts, np.uint64)).sum(axis=2)


MASKS = {
    "565": (16, (0xF800, 0x07E0, 0x001F)),
    "555": (16, (0x7C00, 0x03E0, 0x001F)),
    "444": (16, (0x0F00, 0x00F0, 0x000F)),
    "1555": (16, (0x7C00, 0x03E0, 0x001F, 0x8000)),
    "4444": (16, (0x0F00, 0x00F0, 0x000F, 0xF000)),
    "3103": (16, (0x0007, 0x1C00, 0x0300)),
    "8888": (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
    "rgbx": (32, (0xFF, 0xFF00, 0xFF0000)),
    "bgrx": (32, (0xFF000000, 0xFF0000, 0xFF00)),
    "odd": (32, (0x7F << 1, 0x1F << 9, 0x7F << 20)),
    "argb-odd": (32, (0xFF00, 0xFF, 0xFF000000, 0xFF0000)),
    "24": (24, (0xFF, 0xFF00, 0xFF0000)),
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("header_bytes", [40, 56, 108, 124])
def test_bit_fields(name: str, header_bytes: int) -> None:
    bits, masks = MASKS[name]
    random = np.random.default_rng(1)
    most = np.array([mask >> (mask & -mask).bit_length() - 1 for mask in masks])
    colors = random.integers(0, most + 1, (6, 7, len(masks)))
    numbers = stored(colors, masks)
    data = rows_of(numbers, bits // 8) if bits != 24 else rows_of_24(numbers)
    compression = ALPHA_FIELDS if header_bytes == 40 and len(masks) == 4 else FIELDS
    content = bmp((6, 7), bits, data, compression, masks=masks, header_bytes=header_bytes)
    exact = (colors * 255 / most).round()
    picture = read_file(content).first
    assert picture.depth_bits == 8
    assert (values(picture) == exact).all()
    assert probe(content).alpha == (len(masks) == 4)


def rows_of_24(numbers: Array) -> bytes:
    three = np.stack([numbers >> np.uint64(shift) & np.uint64(255) for shift in (0, 8, 16)], axis=2)
    return rows_of(three.reshape(len(three), -1), 1)


@pytest.mark.parametrize(
    ("masks", "depth_bits"),
    [
        ((0x3FF00000, 0xFFC00, 0x3FF), 10),
        ((0x3FF00000, 0xFFC00, 0x3FF, 0xC0000000), 10),
        ((0xFFE00000, 0x1FFC00, 0x3FF), 12),
    ],
)
def test_more_than_8_bits_are_kept(masks: tuple[int, ...], depth_bits: int) -> None:
    most = np.array([mask >> (mask & -mask).bit_length() - 1 for mask in masks])
    colors = np.random.default_rng(1).integers(0, most + 1, (6, 7, len(masks)))
    content = bmp((6, 7), 32, rows_of(stored(colors, masks), 4), FIELDS, masks=masks, header_bytes=124)
    picture = read_file(content).first
    assert picture.depth_bits == probe(content).depth_bits == depth_bits
    assert (values(picture) == (colors * 65_535 / most).round()).all()
    again = read_file(encode_file(read_file(content), FORMATS["PNG"])).first
    assert (values(again) == values(picture)).all()


@pytest.mark.parametrize("name", ["565", "555", "1555", "8888", "rgbx"])
def test_bit_fields_are_as_ffmpeg_decodes_them(name: str) -> None:
    bits, masks = MASKS[name]
    numbers = np.random.default_rng(2).integers(0, 2**bits, (9, 5), np.uint64)
    content = bmp((9, 5), bits, rows_of(numbers, bits // 8), FIELDS, masks=masks, header_bytes=108)
    theirs = ffmpeg(content)
    assert np.abs(shown(content)[..., :3].astype(int) - theirs[..., :3]).max() <= 4


def test_an_alpha_that_was_not_filled_in_is_opaque() -> None:
    masks = MASKS["8888"][1]
    content = bmp((1, 2), 32, bytes((1, 2, 3, 0, 4, 5, 6, 0)), FIELDS, masks=masks, header_bytes=124)
    assert shown(content)[0].tolist() == [[3, 2, 1, 255], [6, 5, 4, 255]]


def test_the_fourth_byte_without_masks_is_no_alpha() -> None:
    content = bmp((1, 2), 32, bytes((1, 2, 3, 9, 4, 5, 6, 200)), header_bytes=124)
    assert shown(content)[0].tolist() == [[3, 2, 1], [6, 5, 4]]


# Order of rows, and what is beside the pixels


@pytest.mark.parametrize("size", [(2, 3), (-2, 3)])
def test_rows_are_upright(size: tuple[int, int]) -> None:
    rows = np.arange(18).reshape(2, 9)
    content = bmp(size, 24, rows_of(rows[::-1] if size[0] < 0 else rows, 1))
    assert (shown(content) == rows.reshape(2, 3, 3)[..., ::-1]).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_bmps_of_pillow_are_read_as_pillow_reads_them(mode: str) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (13, 21, 3), np.uint8)).convert(mode)
    content = io.BytesIO()
    image.save(content, "BMP", dpi=(300, 300))
    with Image.open(content) as theirs:
        expected = np.asarray(theirs.convert("RGBA" if theirs.mode == "RGBA" else "RGB"))
    picture = read_file(content.getvalue()).first
    assert (values(picture) == expected).all()
    assert picture.metadata.dpi == (300, 300)
    assert picture.gray == (mode in ("1", "L"))


@pytest.mark.parametrize("palette", [(), COLORS, [(5, 5, 5)]])
def test_an_embedded_profile_is_kept(palette: list[tuple[int, int, int]], srgb_profile: bytes) -> None:
    data = bytes(8) if palette else bytes(16)
    content = bmp((2, 2), 8 if palette else 24, data, palette=palette, header_bytes=124, profile=srgb_profile)
    file = read_file(content)
    assert file.first.metadata.icc_profile == srgb_profile
    assert probe(content).parts == {"icc_profile"}
    assert read_file(encode_file(file, FORMATS["PNG"])).first.metadata.icc_profile == srgb_profile
    cut = read_file(content[:-1]).first
    assert cut.metadata.icc_profile is None


# What is refused


@pytest.mark.parametrize(
    ("bits", "compression", "header_bytes", "said"),
    [
        (0, 4, 40, "stores a JPEG, which"),
        (0, 5, 124, "stores a PNG, which"),
        (32, 11, 40, "stores CMYK, which"),
        (1, 3, 64, "stores Huffman codes, which"),
        (24, 4, 64, "stores 24-bit runs, which"),
        (24, 99, 40, "stores compression 99, which"),
        (64, 0, 40, "stores pixels of 64 bits, which"),
        (8, 2, 40, "stores pixels of 8 bits, which"),
        (32, 3, 108, "stores unusual bit fields, which"),
    ],
)
def test_other_kinds_are_refused_without_being_called_damaged(
    bits: int, compression: int, header_bytes: int, said: str
) -> None:
    masks = (0xFF00FF, 0xFF00, 0) if header_bytes == 108 else ()
    content = bmp((2, 2), bits, bytes(64), compression, masks=masks, header_bytes=header_bytes)
    for look in (read_file, probe):
        with pytest.raises(InputError, match=said) as caught:
            look(content)
        assert "damaged" not in caught.value.message


@pytest.mark.parametrize("bits", [1, 4, 8, 16, 24, 32])
def test_cut_files_are_refused(bits: int) -> None:
    row_bytes = (3 * bits + 31) // 32 * 4
    content = bmp((4, 3), bits, bytes(4 * row_bytes), palette=COLORS[: 2**bits] if bits <= 8 else ())
    filling = (-3 * bits // 8) % 4
    assert shown(content[: len(content) - filling]).shape[:2] == (4, 3)
    for length in range(18, len(content) - filling):
        with pytest.raises(InputError, match="damaged or incomplete"):
            read_file(content[:length])


@pytest.mark.parametrize("bits", [8, 24])
def test_what_is_left_of_cut_files_is_kept_and_the_rest_is_stated(bits: int) -> None:
    content = bmp((3, 4), bits, b"\1" * 12 * (bits // 8), palette=COLORS[:2] if bits == 8 else ())
    left = read_file(content[: -2 * (bits // 8)], keep_damaged=True).first
    whole, cut = shown(content), values(left)
    assert (cut[1:] == whole[1:]).all()
    assert not (cut[0] == whole[0]).all()
    assert left.notes[0] == "the file is damaged: about 17 % of the picture is missing"


def test_what_is_left_of_cut_runs_is_kept() -> None:
    content = bmp((2, 4), 8, run(4, 1) + END_OF_ROW + run(2, 2) + b"\2", RLE8, COLORS)
    left = read_file(content, keep_damaged=True).first
    assert (values(left) == np.array(COLORS)[[[2, 2, 0, 0], [1] * 4]]).all()
    assert left.notes[0] == "the file is damaged, and what can be read of it is kept"
