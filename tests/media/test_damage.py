"""Test what is read of damaged pictures, and what is said about it."""

import io
import re
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageFile

from esc_cli.errors import DamageError, InputError
from esc_cli.jobs.upscale import upscale
from esc_cli.media.probe import probe
from esc_cli.media.read import read_file

SIZE = (120, 160)
"""Height and width."""

KEEP = "to enlarge what can be read of it, use --damaged keep"
END = b"\xff\xd9"


def noise(seed: int = 0) -> Image.Image:
    """Return a picture that no compression makes small, so that a cut goes through its pixels."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    smooth = np.stack((rows, columns, rows + columns), axis=-1) // 2
    random = np.random.default_rng(seed).integers(1, 60, (*SIZE, 3))
    return Image.fromarray((smooth + random).astype(np.uint8))


def encoded(format: str, image: Image.Image | None = None, **options: Any) -> bytes:
    with io.BytesIO() as file:
        (image or noise()).save(file, format, **options)
        return file.getvalue()


def deep(suffix: str, **options: Any) -> bytes:
    values = np.asarray(noise()).astype(np.uint16) * 257
    content = pyvips.Image.new_from_array(values).write_to_buffer(suffix, **options)
    assert isinstance(content, bytes)
    return content


def cut(content: bytes, share: float = 0.6) -> bytes:
    return content[: int(len(content) * share)]


def tiff_that_begins_with_its_directory(strips: int) -> bytes:
    """Return a deflated TIFF of gray rows; Pillow and libvips write the directory at the end."""
    rows = SIZE[0] // strips
    pixels = np.asarray(noise().convert("L"))
    parts = [zlib.compress(pixels[at : at + rows].tobytes()) for at in range(0, SIZE[0], rows)]
    fields = {256: SIZE[1], 257: SIZE[0], 258: 8, 259: 8, 262: 1, 277: 1, 278: rows}
    count = len(fields) + 2
    lists_at = 8 + 2 + 12 * count + 4
    data_at = lists_at + 8 * strips
    starts = [data_at + sum(map(len, parts[:number])) for number in range(strips)]
    entries = {tag: struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields.items()}
    entries[273] = struct.pack("<HHII", 273, 4, strips, lists_at if strips > 1 else starts[0])
    entries[279] = struct.pack(
        "<HHII", 279, 4, strips, lists_at + 4 * strips if strips > 1 else len(parts[0])
    )
    directory = struct.pack("<H", count) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)
    lists = struct.pack(f"<{2 * strips}I", *starts, *map(len, parts))
    return b"II*\0" + struct.pack("<I", 8) + directory + lists + b"".join(parts)


STILLS: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: encoded("JPEG"),
    "gray JPEG": lambda: encoded("JPEG", noise().convert("L")),
    "PNG": lambda: encoded("PNG"),
    "PNG with a palette": lambda: encoded("PNG", noise().quantize(200)),
    "16-bit PNG": lambda: deep(".png"),
    "BMP": lambda: encoded("BMP"),
    "TIFF": lambda: encoded("TIFF"),
    "compressed TIFF": lambda: tiff_that_begins_with_its_directory(10),
}


@pytest.mark.parametrize("kind", STILLS)
def test_what_is_left_of_a_still_is_kept_and_the_rest_is_stated(kind: str) -> None:
    whole = STILLS[kind]()
    content = cut(whole)
    with pytest.raises(DamageError, match="is damaged") as refused:
        read_file(content)
    assert refused.value.hint == KEEP
    left, original = read_file(content, keep_damaged=True).first, read_file(whole).first
    assert left.color.shape == original.color.shape
    assert (left.color == original.color).all(dim=1).float().mean() > 0.45
    (percent,) = re.findall(r"^the file is damaged: about (\d+) % of the picture is missing$", left.notes[0])
    assert 30 < int(percent) < 55


@pytest.mark.parametrize("kind", STILLS)
def test_whole_files_are_read_without_a_note(kind: str) -> None:
    content = STILLS[kind]()
    kept, whole = read_file(content, keep_damaged=True).first, read_file(content).first
    assert kept.notes == whole.notes
    assert (kept.color == whole.color).all()


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_jpegs_whose_pixels_end_before_their_end_are_damaged(options: dict[str, Any]) -> None:
    """Libjpeg makes the missing rows gray and warns, and Pillow is silent."""
    content = cut(encoded("JPEG", **options)) + END
    with Image.open(io.BytesIO(content)) as image:
        image.load()
    with pytest.raises(DamageError, match="is damaged") as refused:
        read_file(content)
    assert refused.value.hint == KEEP
    (note,) = read_file(content, keep_damaged=True).first.notes
    assert ("about 4" in note) == (not options), note


def test_a_jpeg_that_lacks_a_restart_marker_is_damaged() -> None:
    content = encoded("JPEG", restart_marker_blocks=10)
    start = content.index(b"\xff\xda")
    third, fifth = content.index(b"\xff\xd3", start), content.index(b"\xff\xd5", start)
    with pytest.raises(DamageError, match="is damaged"):
        read_file(content[:third] + content[fifth:])


def test_a_jpeg_that_lacks_only_its_end() -> None:
    content = encoded("JPEG")
    with pytest.raises(DamageError, match="is damaged"):
        read_file(content.removesuffix(END))
    left = read_file(content.removesuffix(END), keep_damaged=True).first
    assert (left.color == read_file(content).first.color).all()
    assert left.notes == ("the file is damaged, and what can be read of it is kept",)


@pytest.mark.parametrize("insert", [b"\0\0\0", b""])
def test_harmless_oddities_of_jpegs_are_no_damage(insert: bytes) -> None:
    content = encoded("JPEG")
    tables = content.index(b"\xff\xdb")
    assert read_file(content[:tables] + insert + content[tables:] + b"a trailer").first.notes == ()


def test_libraries_do_not_talk_to_the_user(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DamageError):
        read_file(cut(tiff_that_begins_with_its_directory(10)))
    assert capfd.readouterr() == ("", "")


def test_a_cut_animation_keeps_its_frames() -> None:
    images = [noise(seed) for seed in range(3)]
    for format in ("GIF", "PNG"):
        content = cut(encoded(format, images[0], save_all=True, append_images=images[1:], duration=70))
        with pytest.raises(DamageError) as refused:
            read_file(content)
        assert refused.value.hint == KEEP
        left = read_file(content, keep_damaged=True)
        assert len(left.pictures) == 2
        assert left.timing is not None
        assert left.timing.durations_ms == (70, 70)
        assert left.first.notes[0] == "the file is damaged, and what can be read of it is kept"


def test_a_cut_document_keeps_its_pages() -> None:
    images = [noise(seed) for seed in range(3)]
    content = cut(encoded("TIFF", images[0], save_all=True, append_images=images[1:]))
    with pytest.raises(DamageError) as refused:
        probe(content)
    assert refused.value.hint == KEEP
    assert probe(content, keep_damaged=True).frames == 2
    left = read_file(content, keep_damaged=True)
    assert len(left.pictures) == 2
    second = left.pictures[1].color.numpy()[0].transpose(1, 2, 0)
    assert 0.5 < (second == np.asarray(images[1])).mean() < 0.95


@pytest.mark.parametrize(
    "content", [encoded("WEBP"), encoded("PNG")[:60], tiff_that_begins_with_its_directory(1)]
)
def test_where_nothing_is_left_nothing_is_promised(content: bytes) -> None:
    for keep in (False, True):
        with pytest.raises(InputError) as refused:
            read_file(cut(content), keep_damaged=keep)
        assert refused.value.hint is None


def test_a_damaged_heic_does_not_become_black() -> None:
    heif = pytest.importorskip("pillow_heif")
    with io.BytesIO() as file:
        heif.from_pillow(noise()).save(file)
        content = cut(file.getvalue(), 0.9)
    for keep in (False, True):
        with pytest.raises(DamageError) as refused:
            read_file(content, keep_damaged=keep)
        assert refused.value.hint is None


def test_pictures_are_kept_only_where_it_was_asked_for() -> None:
    """Pillow's setting belongs to the process."""
    content, before = cut(encoded("PNG")), ImageFile.LOAD_TRUNCATED_IMAGES

    def read(keep: bool) -> bool:
        try:
            read_file(content, keep_damaged=keep)
        except DamageError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, [True, False] * 20)) == [True, False] * 20
    assert ImageFile.LOAD_TRUNCATED_IMAGES is before


def test_from_file_to_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(cut(encoded("PNG")))
    options: dict[str, Any] = {"model": "nearest", "scale": 2, "device": "cpu"}
    for damaged in ("auto", "refuse"):
        with pytest.raises(DamageError, match="--damaged keep"):
            upscale(path, damaged=damaged, **options)
    with Image.open(upscale(path, damaged="keep", **options)) as result:
        assert result.size == (2 * SIZE[1], 2 * SIZE[0])
    with Image.open(path) as image:
        assert upscale(image, damaged="keep", **options).size == (2 * SIZE[1], 2 * SIZE[0])
