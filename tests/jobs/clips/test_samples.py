"""Test that a few frames spread over a clip decide its model, and that a resumed run keeps this model."""

import io
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageFilter

from esc_cli.jobs.events import Done, Planned
from esc_cli.jobs.work_folder import folder_of

Upscale = Callable[..., Any]

HEIGHT, WIDTH = 96, 128


def coarse(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=40)
    return Image.open(file)


@pytest.fixture
def film(scene: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that makes a lossless clip whose last ``degraded`` frames were JPEGs."""
    monkeypatch.chdir(tmp_path)

    def make(degraded: int, name: str = "in.mkv", count: int = 6) -> Path:
        with av.open(name, "w") as target:
            stream: Any = target.add_stream("ffv1", rate=25)
            stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "bgr0"
            for number in range(count):
                part = scene.crop((4 * number, 0, 4 * number + WIDTH, HEIGHT))
                shown = coarse(part) if number >= count - degraded else part.filter(ImageFilter.SHARPEN)
                frame = av.VideoFrame.from_ndarray(np.array(shown), "rgb24").reformat(format="bgr0")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                target.mux(stream.encode(frame))
            target.mux(stream.encode(None))
        return Path(name)

    return make


@pytest.mark.parametrize(("degraded", "model"), [(0, "esc"), (1, "esc"), (5, "esc-robust")])
def test_most_of_the_frames_decide(
    film: Callable[..., Path], upscale: Upscale, degraded: int, model: str
) -> None:
    heard, _ = upscale(film(degraded), model="auto", precision="float32", dry_run=True)
    assert [event.model for event in heard if isinstance(event, Planned)] == [model]


def test_a_run_that_goes_on_keeps_the_model(
    film: Callable[..., Path], upscale: Upscale, short_segments: int
) -> None:
    source = film(6)
    with pytest.raises(KeyboardInterrupt):
        upscale(source, model="auto", precision="float32", interrupt_after=short_segments + 2)
    folder = folder_of(Path("in_x2.mkv"))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["model"] == "esc-robust"
    assert "auto" in manifest["recipe"]["models"]
    heard, _ = upscale(source, model="auto", precision="float32")
    assert heard.frames == [short_segments + 1, short_segments + 2]
    assert [event.model for event in heard if isinstance(event, Done)] == ["esc-robust"]


def test_image_sequences_get_one_model(scene: Image.Image, upscale: Upscale, tmp_path: Path) -> None:
    for number in range(3):
        coarse(scene.crop((number, 0, WIDTH + number, HEIGHT))).save(tmp_path / f"{number}.png")
    heard, _ = upscale(
        tmp_path / "%d.png",
        model="auto",
        precision="float32",
        output=str(tmp_path / "out.mkv"),
        fps="25",
        dry_run=True,
    )
    assert [event.model for event in heard if isinstance(event, Planned)] == ["esc-robust"]


def test_a_clip_that_cannot_be_read_from_its_middle_is_seen_at_its_beginning(
    shared: Path, upscale: Upscale, tmp_path: Path
) -> None:
    source = shared / "failing" / "clips" / "test-147-cut.ts"  # a stream appears later
    if not source.exists():
        pytest.skip("the clip is missing")
    heard, _ = upscale(
        source,
        model="auto",
        precision="float32",
        output=str(tmp_path / "out.mkv"),
        deinterlace=True,
        dry_run=True,
    )
    assert [event.model for event in heard if isinstance(event, Planned)] == ["esc"]


def test_a_clip_of_one_frame_has_a_preview(film: Callable[..., Path], upscale: Upscale) -> None:
    _, report = upscale(film(0, count=1), preview=4)
    assert not report.failures
