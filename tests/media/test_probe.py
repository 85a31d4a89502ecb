import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from esc_cli.errors import InputError
from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.limitations import limitations
from esc_cli.media.metadata.kinds import ALL_METADATA
from esc_cli.media.probe import Probe, is_picture, probe


def test_size_is_upright(encode: Callable[..., bytes]) -> None:
    exif = Image.Exif()
    exif[274] = 6
    file = encode(Image.new("RGB", (30, 20)), "JPEG", exif=exif)
    assert probe(file) == Probe("JPEG", height=30, width=20, frames=1, alpha=False, shown_by_browsers=True)


def test_exif_behind_the_pixels_counts(make_png: Callable[..., bytes]) -> None:
    exif = Image.Exif()
    exif[274] = 8
    file = make_png((2, 3), 8, 0, [bytes(3)] * 2, after={b"eXIf": exif.tobytes()[6:]})
    assert (probe(file).height, probe(file).width) == (3, 2)


def test_frames_are_counted(encode: Callable[..., bytes]) -> None:
    frames = [Image.new("L", (8, 8), shade) for shade in (0, 90, 180)]
    for format in ("GIF", "TIFF", "PNG", "WEBP"):
        file = encode(frames[0], format, save_all=True, append_images=frames[1:])
        several = "pages" if format == "TIFF" else "frames"
        assert (probe(file).frames, probe(file).several) == (3, several), format
        assert probe(encode(frames[0], format)).several is None, format


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("format", ["PNG", "GIF", "JPEG"])
def test_a_default_image_that_is_left_out_is_said(
    encode: Callable[..., bytes], count: int, format: str
) -> None:
    """The animation has one frame less; with one frame, the result is a still."""
    pictures = [Image.new("L", (8, 8), shade) for shade in (0, 90, 180)[:count]]
    file = encode(pictures[0], "PNG", save_all=True, append_images=pictures[1:], default_image=True)
    note = "the default image, which is not a frame of the animation, is left out"
    found = probe(file)
    assert found.frames == count - 1
    assert any(sentence.startswith(note) for sentence in limitations(found, FORMATS[format], ALL_METADATA))
    usual = encode(pictures[0], "PNG", save_all=True, append_images=pictures[1:])
    assert not any("default image" in sentence for sentence in probe(usual).notes)


def test_frames_count_together_against_the_limit(encode: Callable[..., bytes]) -> None:
    frames = [Image.new("L", (10, 10), shade) for shade in (0, 90, 180)]
    file = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert probe(file, 300).frames == 3
    with pytest.raises(InputError, match="more than the limit"):
        probe(file, 299)


def test_depth_is_of_the_type_in_the_file(
    encode: Callable[..., bytes], make_png: Callable[..., bytes], make_tiff: Callable[..., bytes]
) -> None:
    def depth(file: bytes) -> tuple[int, bool]:
        return probe(file).depth_bits, probe(file).floating

    assert depth(make_png((1, 1), 16, 2, [bytes(6)])) == (16, False)
    assert depth(make_png((1, 1), 16, 0, [bytes(2)])) == (16, False)
    assert depth(make_png((1, 1), 8, 2, [bytes(3)])) == (8, False)
    assert depth(make_tiff(np.zeros((1, 1, 3), np.uint16), 2)) == (16, False)
    assert depth(make_tiff(np.zeros((1, 1, 3), np.float32), 2)) == (32, True)
    assert depth(make_tiff(np.zeros((1, 1, 1), np.float16), 1)) == (32, True)
    assert depth(encode(Image.new("I", (1, 1)), "TIFF")) == (16, False)
    assert depth(encode(Image.new("CMYK", (1, 1)), "TIFF")) == (8, False)


def test_parts_are_those_of_the_file(encode: Callable[..., bytes], srgb_profile: bytes) -> None:
    exif = Image.Exif()
    exif[271] = "maker"
    file = encode(Image.new("RGB", (4, 4)), "PNG", icc_profile=srgb_profile, exif=exif, dpi=(300, 300))
    assert probe(file).parts == {"icc_profile", "exif", "dpi"}
    assert probe(encode(Image.new("RGB", (4, 4)), "PNG")).parts == frozenset()


def test_metadata_that_cannot_be_read_is_said_before_the_work(encode: Callable[..., bytes]) -> None:
    file = encode(Image.new("RGB", (4, 4)), "JPEG", exif=b"Exif\0\0garbage, no TIFF")
    assert probe(file).notes == ("EXIF was left out, since it is damaged",)


def test_content_decides_not_the_name(tmp_path: Path, encode: Callable[..., bytes]) -> None:
    path = tmp_path / "wrong näme.png"
    path.write_bytes(encode(Image.new("RGB", (4, 4)), "JPEG"))
    assert probe(path).format == "JPEG"


def test_only_the_header_is_needed(encode: Callable[..., bytes]) -> None:
    file = encode(Image.effect_noise((100, 80), 50), "PNG")
    assert probe(file[:200]) == Probe("PNG", 80, 100, 1, alpha=False, gray=True, shown_by_browsers=True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"hello, world, how are you?", "is not a picture"),
        (b"\x89PNG\r\n\x1a\n" + bytes(30), "is damaged"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is damaged"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "file.png"
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(InputError, match=words):
            probe(source)


def test_paths_which_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        probe(tmp_path / "absent.png")
    with pytest.raises(InputError, match="is a folder"):
        probe(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        probe(tmp_path / ("x" * 5000))
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InputError, match="not a regular file"):
        probe(tmp_path / "pipe.png")


def test_is_picture_by_content_or_name(tmp_path: Path, encode: Callable[..., bytes]) -> None:
    picture = encode(Image.new("L", (2, 2)), "PNG")
    files = {
        "named_and_true.png": picture,
        "unnamed": picture,
        "empty.PNG": b"",
        "iphone.heic": b"\0\0\0\x18ftypheic",
        "Thumbs.db": b"\xd0\xcf\x11\xe0",
        "notes.txt": b"BM and GIF are formats",
        "._photo.jpg": b"\0\5\x16\7",
        ".half.png.12-ab.part": picture,
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    assert {path.name for path in tmp_path.iterdir() if is_picture(path)} == {
        "named_and_true.png",
        "unnamed",
        "empty.PNG",
        "iphone.heic",
        "pipe.png",  # counts because of its name, and fails when it is read
    }
    assert not is_picture(tmp_path / "absent.png")


def test_torch_is_not_loaded() -> None:
    code = "import sys, esc_cli.media.probe, esc_cli.storage.whole_files; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
