import io
import struct
import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from esc_cli.errors import InputError
from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.opening import opened
from esc_cli.media.picture import AnimationTiming, Picture, PictureFile
from esc_cli.media.probe import probe
from esc_cli.media.read import read_file
from esc_cli.media.vips import libvips
from esc_cli.media.write import encode_file

Array = npt.NDArray[np.uint8]

COLORS = bytes((200, 0, 0, 0, 200, 0, 0, 0, 200, 9, 9, 9))
"""Red, green, blue and nearly black: a palette of 2 bits."""

GRAYS = bytes((0, 0, 0, 80, 80, 80, 160, 160, 160, 255, 255, 255))
RED, GREEN, BLUE = (200, 0, 0, 255), (0, 200, 0, 255), (0, 0, 200, 255)
CLEAR = (0, 0, 0, 0)


def blocks(content: bytes) -> bytes:
    pieces = (content[start : start + 255] for start in range(0, len(content), 255))
    return b"".join(bytes([len(piece)]) + piece for piece in pieces) + b"\0"


def extension(name: bytes, content: bytes) -> bytes:
    return b"!\xff\x0b" + name + blocks(content)


def comment(text: bytes) -> bytes:
    return b"!\xfe" + blocks(text)


def frame(
    indices: Sequence[Sequence[int]],
    left: int = 0,
    top: int = 0,
    disposal: int = 0,
    transparent: int | None = None,
    palette: bytes = b"",
    interlaced: bool = False,
) -> bytes:
    """Return a frame of indices below 4, each of which has a code of 3 bits after a clear code."""
    height, width = len(indices), len(indices[0])
    rows = [indices[row] for row in order(height)] if interlaced else indices
    codes = [code for row in rows for index in row for code in (4, index)] + [5]
    packed = sum(code << 3 * place for place, code in enumerate(codes)).to_bytes(
        len(codes) * 3 // 8 + 1, "little"
    )
    control = struct.pack("<BHBB", disposal << 2 | (transparent is not None), 10, transparent or 0, 0)
    flags = (0x81 if palette else 0) | (0x40 if interlaced else 0)
    place = struct.pack("<HHHHB", left, top, width, height, flags)
    return b"!\xf9\x04" + control + b"," + place + palette + b"\2" + blocks(packed)


def order(height: int) -> list[int]:
    """Return the order of interlaced rows. Source: GIF89a, appendix E."""
    passes = ((0, 8), (4, 8), (2, 4), (1, 2))
    return [row for start, step in passes for row in range(start, height, step)]


def gif(*parts: bytes, size: tuple[int, int] = (4, 6), palette: bytes = COLORS, background: int = 3) -> bytes:
    """Return a GIF of a size (height, width), whose background color is nearly black."""
    height, width = size
    flags = 0x81 if palette else 0
    screen = struct.pack("<HHBBB", width, height, flags, background, 0)
    return b"GIF89a" + screen + palette + b"".join(parts) + b";"


def full(index: int, height: int = 4, width: int = 6) -> list[list[int]]:
    return [[index] * width for _ in range(height)]


def seen(content: bytes) -> list[Array]:
    """Return the frames, (H, W, 4), with black in place of invisible colors."""
    return [rgba(picture) for picture in read_file(content).pictures]


def rgba(picture: Picture) -> Array:
    color = picture.color[0].permute(1, 2, 0).numpy()
    alpha = (
        np.full_like(color[..., :1], 255)
        if picture.alpha is None
        else picture.alpha[0].permute(1, 2, 0).numpy()
    )
    return np.concatenate((color * (alpha > 0), alpha), axis=2).astype(np.uint8)


def expected(*areas: tuple[slice, slice, tuple[int, ...]], size: tuple[int, int] = (4, 6)) -> Array:
    pixels = np.zeros((*size, 4), np.uint8)
    for rows, columns, color in areas:
        pixels[rows, columns] = color
    return pixels


ALL = slice(None)


# The screen


def test_a_later_frame_does_not_enlarge_the_screen() -> None:
    content = gif(
        frame(full(0)), frame(full(1), left=4, top=3), frame(full(2), left=600, top=500), frame(full(2))
    )
    first, second, third, last = seen(content)
    assert (first == expected((ALL, ALL, RED))).all()
    assert (second == expected((ALL, ALL, RED), (slice(3, 4), slice(4, 6), GREEN))).all()
    assert (third == second).all()
    assert (last == expected((ALL, ALL, BLUE))).all()
    assert (probe(content).height, probe(content).width, probe(content).frames) == (4, 6, 4)


def test_the_first_frame_enlarges_the_screen() -> None:
    content = gif(frame(full(0), left=3, top=1), frame(full(1), left=30), size=(2, 2))
    first, second = seen(content)
    area = expected((slice(1, 5), slice(3, 9), RED), size=(5, 9))
    assert (first == area).all()
    assert (second == area).all()
    assert (probe(content).height, probe(content).width) == (5, 9)


def test_an_empty_frame_covers_nothing() -> None:
    empty = b"!\xf9\x04" + bytes(5) + b"," + bytes(9) + b"\2\1\x25\0"
    first, second = seen(gif(frame(full(0)), empty))
    assert (first == second).all()


def test_a_huge_frame_of_a_small_screen_is_refused() -> None:
    huge = b"," + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0) + b"\2\1\x25\0"
    with pytest.raises(InputError, match="4295 megapixels, more than the limit"):
        read_file(gif(frame(full(0)), huge))


# Transparency


def test_what_no_frame_covers_is_transparent() -> None:
    content = gif(frame([[0, 1]], left=1, top=2), frame([[2]], left=5, top=0))
    first, second = seen(content)
    some = ((slice(2, 3), slice(1, 2), RED), (slice(2, 3), slice(2, 3), GREEN))
    assert (first == expected(*some)).all()
    assert (second == expected(*some, (slice(0, 1), slice(5, 6), BLUE))).all()
    assert probe(content).alpha


def test_a_small_still_on_a_large_screen_is_transparent_around() -> None:
    (still,) = seen(gif(frame([[0]], left=2, top=1)))
    assert (still == expected((slice(1, 2), slice(2, 3), RED))).all()


def test_a_frame_disposed_to_the_background_leaves_transparency() -> None:
    patch = frame([[0]], left=1, top=1, disposal=2, palette=COLORS)
    content = gif(frame(full(1), disposal=1), patch, frame([[2]], left=3, top=3, disposal=2), frame([[2]]))
    green = (ALL, ALL, GREEN)
    hole, blue = (slice(1, 2), slice(1, 2)), (slice(3, 4), slice(3, 4))
    shown = seen(content)
    assert (shown[0] == expected(green)).all()
    assert (shown[1] == expected(green, (*hole, RED))).all()
    assert (shown[2] == expected(green, (*hole, CLEAR), (*blue, BLUE))).all()
    corner = (slice(0, 1), slice(0, 1), BLUE)
    assert (shown[3] == expected(green, (*hole, CLEAR), (*blue, CLEAR), corner)).all()


@pytest.mark.parametrize("disposal", [3, 4])
def test_a_frame_is_taken_back(disposal: int) -> None:
    """4 is not in the standard, but browsers restore the screen then, too."""
    content = gif(frame(full(1)), frame(full(0), left=3, disposal=disposal), frame([[2]], transparent=2))
    shown = seen(content)
    assert (shown[1] == expected((ALL, ALL, GREEN), (ALL, slice(3, 6), RED))).all()
    assert (shown[2] == expected((ALL, ALL, GREEN))).all()


@pytest.mark.parametrize(
    ("frames", "alpha"),
    [
        ((frame(full(0)), frame([[1, 2]], transparent=1)), False),  # only the difference is stored
        ((frame(full(0), disposal=2), frame(full(1))), False),  # covered again at once
        ((frame(full(0), disposal=2), frame(full(1), transparent=0)), True),
        ((frame(full(0), disposal=2), frame([[1]])), True),
        ((frame(full(0), disposal=2), frame(full(1), disposal=3), frame([[1]])), True),
        ((frame(full(0), transparent=3),), True),
        ((frame(full(0), disposal=3), frame([[1]])), True),  # an empty screen is restored
    ],
)
def test_alpha_is_known_from_the_header(frames: tuple[bytes, ...], alpha: bool) -> None:
    content = gif(*frames)
    assert probe(content).alpha == alpha
    assert all((picture.alpha is not None) == alpha for picture in read_file(content).pictures)


@pytest.mark.parametrize("seed", range(30))
def test_frames_are_as_libvips_lays_them(seed: int) -> None:
    """Only frames on which libvips agrees with browsers are tried.

    It fills a disposed area with the background color unless the frame has a transparent color. It takes the
    rows of an interlaced frame for others if the frame reaches beyond the bottom of the screen.
    """
    random = np.random.default_rng(seed)
    frames = []
    for number in range(4):
        height, width = (4, 6) if number == 0 else random.integers(1, 7, 2).tolist()
        left, top = (0, 0) if number == 0 else random.integers(0, (7, 5)).tolist()
        frames.append(
            frame(
                random.integers(0, 4, (height, width)).tolist(),
                left=left,
                top=top,
                disposal=int(random.choice((0, 1, 2, 3))),
                transparent=int(random.integers(0, 4)),
                palette=bytes(random.integers(0, 256, 12).tolist()) if random.random() < 0.5 else b"",
                interlaced=top + height <= 4 and bool(random.random() < 0.5),
            )
        )
    content = gif(*frames)
    theirs = libvips().Image.gifload_buffer(content, n=-1).numpy().reshape(-1, 4, 6, 4)
    for ours, other in zip(seen(content), theirs, strict=True):
        assert (ours == other * (other[..., 3:] > 0)).all()


# Colors


def test_a_gif_of_grays_is_gray() -> None:
    content = gif(frame([[0, 1, 2, 3]]), size=(1, 4), palette=GRAYS)
    picture = read_file(content).first
    assert picture.gray and probe(content).gray
    assert picture.color[0, 0].flatten().tolist() == [0, 80, 160, 255]
    mixed = gif(frame([[0, 1, 2, 3]]), frame([[0]], palette=COLORS), size=(1, 4), palette=GRAYS)
    assert not read_file(mixed).first.gray


def test_an_index_beyond_the_palette_is_black() -> None:
    content = gif(frame([[0, 3]]), size=(1, 2), palette=b"")
    assert read_file(content).first.color[0, 0].flatten().tolist() == [0, 3]  # no palette: a ramp of grays
    short = b"GIF89a" + struct.pack("<HHBBB", 2, 1, 0x80, 0, 0) + COLORS[:6] + frame([[0, 3]]) + b";"
    assert seen(short)[0].tolist() == [[list(RED), [0, 0, 0, 255]]]


# What is beside the pixels


def test_comments_behind_the_first_frame_are_found() -> None:
    content = gif(comment(b"one"), frame(full(0)), comment(b"two" * 100), frame(full(1)), comment(b"three"))
    text = b"\n".join((b"one", b"two" * 100, b"three"))
    assert read_file(content).first.metadata.comment == text
    assert probe(content).parts == {"comment"}


@pytest.mark.parametrize("name", [b"NETSCAPE2.0", b"ANIMEXTS1.0"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_loop_count_is_found_wherever_it_is(name: bytes, place: int) -> None:
    parts = [frame(full(0)), frame(full(1))]
    parts.insert(place, extension(name, b"\1\6\0"))
    timing = read_file(gif(*parts)).timing
    assert timing is not None
    assert timing.loop == 7


PACKET = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">' + b"\xc3\xa4" * 300 + b"</x:xmpmeta>"


@pytest.mark.parametrize("place", [0, 1, 2])
def test_xmp_is_found_wherever_it_is(place: int) -> None:
    trailer = b"\1" + bytes(range(255, -1, -1)) + b"\0"
    for stored in (b"!\xff\x0bXMP DataXMP" + PACKET + trailer, extension(b"XMP DataXMP", PACKET)):
        parts = [frame(full(0)), frame(full(1))]
        parts.insert(place, stored)
        content = gif(*parts)
        assert read_file(content).first.metadata.xmp == PACKET
        assert probe(content).parts == {"xmp"}
        assert len(seen(content)) == 2


@pytest.mark.parametrize(
    "packet", [PACKET, "\ufeff".encode("utf-16-be") + PACKET.decode().encode("utf-16-be")]
)
@pytest.mark.parametrize("count", [1, 2])
def test_xmp_and_comments_are_written(packet: bytes, count: int) -> None:
    content = gif(*(frame(full(index)) for index in range(count)))
    file = read_file(content)
    first = Picture(file.first.color, None, False, Metadata(xmp=packet, comment=b"c" * 700), "GIF")
    encoded = encode_file(PictureFile((first, *file.pictures[1:]), file.timing), FORMATS["GIF"])
    again = read_file(encoded)
    assert (again.first.metadata.xmp, again.first.metadata.comment) == (packet, b"c" * 700)
    assert [rgba(picture).tobytes() for picture in again.pictures] == [p.tobytes() for p in seen(content)]
    with Image.open(io.BytesIO(encoded)) as theirs:
        assert getattr(theirs, "n_frames", 1) == count


def test_a_color_profile_is_found(srgb_profile: bytes) -> None:
    content = gif(frame(full(0)), extension(b"ICCRGBG1012", srgb_profile))
    assert read_file(content).first.metadata.icc_profile == srgb_profile


def test_stray_bytes_between_blocks_are_skipped() -> None:
    assert len(seen(gif(frame(full(0)), b"\0\0", frame(full(1)), b"\0"))) == 2


def test_frames_can_be_visited_in_any_order() -> None:
    with opened(gif(frame([[0]]), frame([[1]], left=1), frame([[2]], left=2), size=(1, 3))) as file:
        shown: dict[int, Any] = {}
        for number in (2, 0, 1, 2, 1):
            file.image.seek(number)
            file.image.load()
            pixels = np.asarray(file.image).tobytes()
            assert shown.setdefault(number, pixels) == pixels
        assert len(set(shown.values())) == 3
        with pytest.raises(EOFError):
            file.image.seek(3)


def test_a_long_animation_is_not_copied() -> None:
    """Four copies were made for the encoder: 1.5 GB for 380 frames of 640 x 480, which have 350 MB."""
    color = torch.zeros((1, 3, 100, 200), dtype=torch.uint8)
    pictures = [Picture(color.add(number), None, False, Metadata(), "GIF") for number in range(40)]
    file = PictureFile(tuple(pictures), AnimationTiming((100.0,) * 40))
    encode_file(file, FORMATS["GIF"])  # loads libvips
    tracemalloc.start()
    encode_file(file, FORMATS["GIF"])
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 40 * color.nbytes / 4


def test_what_is_left_of_a_cut_frame_is_kept() -> None:
    content = gif(frame(full(0, 40, 30)), frame(full(1, 40, 30), transparent=3), size=(40, 30))
    first, second = read_file(content[:-100], keep_damaged=True).pictures
    assert first.notes[0] == "the file is damaged, and what can be read of it is kept"
    rows = rgba(second)[..., :3].tolist()
    assert rows[0] == [[0, 200, 0]] * 30
    assert rows[-1] == [[200, 0, 0]] * 30
