"""Damage small pictures and clips at random: whatever happens to a file, it is not reported as a bug.

``ESC_FUZZ_RUNS`` sets the number of damaged files of each test, and ``ESC_FUZZ_SEED`` another seed.
"""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from esc_cli.errors import ExitCode
from esc_cli.jobs.record import RECORDS_FOLDER
from esc_cli.jobs.upscale import upscale_files

PICTURES = int(os.environ.get("ESC_FUZZ_RUNS", "200"))
CLIPS = int(os.environ.get("ESC_FUZZ_RUNS", "40"))
SEED = int(os.environ.get("ESC_FUZZ_SEED", "1"))

TS_PACKET_BYTES = 188

Damage = Callable[[bytearray, np.random.Generator], bytearray]


def flip(data: bytearray, random: np.random.Generator) -> bytearray:
    """Change a few bytes anywhere."""
    for at in random.integers(0, len(data), random.integers(1, 9)):
        data[at] ^= int(random.integers(1, 256))
    return data


def flip_header(data: bytearray, random: np.random.Generator) -> bytearray:
    """Change a few of the first bytes behind the signature, where sizes and types are."""
    for at in random.integers(8, min(len(data), 120), random.integers(1, 5)):
        data[at] ^= int(random.integers(1, 256))
    return data


def extreme(data: bytearray, random: np.random.Generator) -> bytearray:
    """Replace four bytes by the smallest or the largest number."""
    at = int(random.integers(8, len(data) - 4))
    data[at : at + 4] = bytes(4) if random.random() < 0.5 else b"\xff" * 4
    return data


def cut(data: bytearray, random: np.random.Generator) -> bytearray:
    """Cut off the end."""
    return data[: int(random.integers(8, len(data)))]


def take_out(data: bytearray, random: np.random.Generator) -> bytearray:
    """Take a piece out of the middle: one packet of a transport stream, or some bytes."""
    length = TS_PACKET_BYTES if data[:1] == b"G" else int(random.integers(1, 65))
    at = int(random.integers(1, max(len(data) // length, 2))) * length
    return data[:at] + data[at + length :]


def swap(data: bytearray, random: np.random.Generator) -> bytearray:
    """Exchange two neighboring pieces."""
    first, second, third = sorted(random.integers(8, len(data), 3))
    return data[:first] + data[second:third] + data[first:second] + data[third:]


DAMAGES: tuple[Damage, ...] = (flip, flip_header, extreme, cut, take_out, swap)


def encoded(format: str, mode: str = "RGB", frames: int = 1, **options: Any) -> bytes:
    pixels = np.random.default_rng(2).integers(0, 256, (frames, 14, 18, 4), np.uint8)
    images = [Image.fromarray(frame).convert(mode) for frame in pixels]
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    if frames > 1:
        options |= {"save_all": True, "append_images": images[1:]}
    if format in ("JPEG", "PNG", "WEBP", "TIFF"):
        options |= {"exif": exif.tobytes(), "xmp": b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"}
    file = io.BytesIO()
    images[0].save(file, format, **options)
    return file.getvalue()


def png_with_text() -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "hello"), text.add_itxt("Title", "Grüße", zip=True)
    return encoded("PNG", pnginfo=text)


def pictures() -> dict[str, bytes]:
    return {
        "rgb.png": png_with_text(),
        "palette.png": encoded("PNG", "P"),
        "frames.png": encoded("PNG", "RGBA", 3),
        "rgb.jpg": encoded("JPEG", comment=b"hello"),
        "progressive.jpg": encoded("JPEG", "L", progressive=True),
        "cmyk.jpg": encoded("JPEG", "CMYK"),
        "frames.gif": encoded("GIF", "P", 3, comment=b"hello", loop=2),
        "raw.tif": encoded("TIFF", "RGBA"),
        "pages.tif": encoded("TIFF", "RGB", 2, compression="tiff_lzw"),
        "rgb.webp": encoded("WEBP", "RGBA", lossless=True),
        "frames.webp": encoded("WEBP", "RGB", 3),
        "rgb.avif": encoded("AVIF"),
        "rgb.bmp": encoded("BMP"),
        "palette.bmp": encoded("BMP", "P"),
    }


def clip(name: str, codec: str, folder: Path, sound: str | None) -> bytes:
    path = folder / name
    with av.open(path, "w") as target:
        video: Any = target.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        track: Any = None if sound is None else target.add_stream(sound, rate=48000, layout="mono")
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 20 * number, np.uint8), "rgb24")
            frame.pts = number
            target.mux(video.encode(frame))
        target.mux(video.encode(None))
        if track is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), "fltp", "mono")
            silence.sample_rate, silence.pts = 48000, 0
            target.mux(track.encode(silence))
            target.mux(track.encode(None))
    data = path.read_bytes()
    path.unlink()
    return data


def clips(folder: Path) -> dict[str, bytes]:
    kinds = {
        "a.mp4": ("libx264", "aac"),
        "b.mkv": ("libx264", "libopus"),
        "c.ts": ("mpeg2video", "mp2"),
        "d.avi": ("mpeg4", "mp2"),
        "e.webm": ("libvpx-vp9", None),
        "f.mov": ("mpeg4", "aac"),
    }
    return {name: clip(name, codec, folder, sound) for name, (codec, sound) in kinds.items()}


def damaged(files: dict[str, bytes], count: int) -> Iterator[tuple[str, bytes]]:
    random = np.random.default_rng(SEED)
    names = list(files)
    for number in range(count):
        name = names[number % len(names)]
        damage = DAMAGES[int(random.integers(len(DAMAGES)))]
        yield f"{number:05}-{damage.__name__}-{name}", bytes(damage(bytearray(files[name]), random))


def assert_no_bug(folder: Path, files: dict[str, bytes], count: int) -> None:
    """Upscale damaged files. Failures are expected, but no bugs, and nothing half-written is left."""
    source, output = folder / "in", folder / "out"
    source.mkdir()
    for name, data in damaged(files, count):
        (source / name).write_bytes(data)
    options: dict[str, Any] = {"model": "nearest", "scale": 2, "device": "cpu", "max_megapixels": 1}
    report = upscale_files([source / "*"], output, **options)
    bugs = [str(failure) for failure in report.failures if failure.error.exit_code is ExitCode.BUG]
    assert bugs == [], bugs
    failed = {failure.name for failure in report.failures}
    written = {task.target for task in report.plan.tasks if task.source.name not in failed}
    records = output / RECORDS_FOLDER
    assert {path for path in output.rglob("*") if path.is_file() and records not in path.parents} == written


@pytest.mark.filterwarnings("ignore")  # of the libraries, about the damage
def test_damaged_pictures_are_no_bugs(tmp_path: Path) -> None:
    assert_no_bug(tmp_path, pictures(), PICTURES)


@pytest.mark.filterwarnings("ignore")
def test_damaged_clips_are_no_bugs(tmp_path: Path) -> None:
    assert_no_bug(tmp_path, clips(tmp_path), CLIPS)
