import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from esc_cli.errors import InputError
from esc_cli.media.probe import Probe, is_picture, probe


def test_size_is_upright(encode: Callable[..., bytes]) -> None:
    exif = Image.Exif()
    exif[274] = 6
    file = encode(Image.new("RGB", (30, 20)), "JPEG", exif=exif)
    assert probe(file) == Probe("JPEG", height=30, width=20, frames=1, alpha=False)


def test_exif_behind_the_pixels_counts(make_png: Callable[..., bytes]) -> None:
    exif = Image.Exif()
    exif[274] = 8
    file = make_png((2, 3), 8, 0, [bytes(3)] * 2, after={b"eXIf": exif.tobytes()[6:]})
    assert (probe(file).height, probe(file).width) == (3, 2)


def test_frames_are_counted(encode: Callable[..., bytes]) -> None:
    frames = [Image.new("L", (8, 8), shade) for shade in (0, 90, 180)]
    for format in ("GIF", "TIFF", "PNG", "WEBP"):
        file = encode(frames[0], format, save_all=True, append_images=frames[1:])
        assert probe(file).frames == 3, format


def test_content_decides_not_the_name(tmp_path: Path, encode: Callable[..., bytes]) -> None:
    path = tmp_path / "wrong näme.png"
    path.write_bytes(encode(Image.new("RGB", (4, 4)), "JPEG"))
    assert probe(path).format == "JPEG"


def test_only_the_header_is_needed(encode: Callable[..., bytes]) -> None:
    file = encode(Image.effect_noise((100, 80), 50), "PNG")
    assert probe(file[:200]) == Probe("PNG", 80, 100, 1, alpha=False)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"hello, world, how are you?", "is not a picture"),
        (b"\x89PNG\r\n\x1a\n" + bytes(30), "is damaged"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is a HEIC picture"),
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
    with pytest.raises(InputError, match="not an ordinary file"):
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
    }
    assert not is_picture(tmp_path / "absent.png")


def test_torch_is_not_loaded() -> None:
    code = "import sys, esc_cli.media.probe, esc_cli.media.atomic; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
