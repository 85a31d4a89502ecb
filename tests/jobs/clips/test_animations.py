"""Test clips that become animations, and animations that become clips, from the call to the file."""

import io
import re
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from esc_cli import upscale as upscale_one
from esc_cli.errors import ExitCode, OutOfMemoryError, UsageError
from esc_cli.jobs.events import Done, Planned, Skipped
from esc_cli.media.read import read_file

Upscale = Callable[..., Any]
Plane = np.ndarray[Any, np.dtype[Any]]

DURATIONS_MS = [100, 30, 70, 200, 500]


@pytest.fixture
def animate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Plane]]:
    """Return a function that writes an animation in an empty current folder, and returns its frames."""
    monkeypatch.chdir(tmp_path)

    def animate(name: str, mode: str = "RGB", *, width: int = 32, **options: Any) -> list[Plane]:
        random = np.random.default_rng(0)
        planes = [random.integers(0, 256, (width * 3 // 4, width, len(mode)), np.uint8) for _ in DURATIONS_MS]
        first, *others = (Image.fromarray(plane) for plane in planes)
        chosen = {"duration": DURATIONS_MS, "loop": 0, "save_all": True, "append_images": others, **options}
        first.save(name, **chosen)
        return planes

    return animate


def frames_of(path: str, format: str = "rgb24") -> tuple[list[Plane], list[Fraction]]:
    with av.open(path) as container:
        frames = list(container.decode(video=0))
    times = [Fraction(frame.pts or 0) * Fraction(frame.time_base or 0) for frame in frames]
    return [frame.to_ndarray(format=format) for frame in frames], times


def larger(plane: Plane, factor: int = 2) -> Plane:
    return plane.repeat(factor, 0).repeat(factor, 1)


LOSSLESS: dict[str, dict[str, Any]] = {
    "out.mkv": {"video_codec": "ffv1", "pixel_format": "bgr0"},
    "out.webm": {
        "video_codec": "libvpx-vp9", "crf": 0, "codec_options": ("lossless=1",), "pixel_format": "gbrp",
    },
}  # fmt: skip


@pytest.mark.parametrize("target", LOSSLESS)
@pytest.mark.parametrize("name", ["in.png", "in.webp"])
def test_an_animation_becomes_a_lossless_clip_and_back(
    animate: Callable[..., list[Plane]], name: str, target: str
) -> None:
    shown = animate(name, **({"lossless": True} if name == "in.webp" else {}))
    options = {"model": "nearest", "device": "cpu", "scale": 2}
    upscale_one(name, target, **options, **LOSSLESS[target])
    frames, times = frames_of(target)
    assert len(frames) == len(shown)
    for frame, plane in zip(frames, shown, strict=True):
        assert np.array_equal(frame, larger(plane))
    assert times == [Fraction(time, 1000) for time in (0, 100, 130, 200, 400)]
    for back in ("back.webp", "back.png"):
        upscale_one(target, back, **{**options, "scale": 1})
        file = read_file(Path(back))
        assert file.timing is not None
        assert list(file.timing.durations_ms) == DURATIONS_MS
        assert file.timing.loop == 0
        for picture, plane in zip(file.pictures, shown, strict=True):
            assert np.array_equal(picture.color[0].permute(1, 2, 0).numpy(), larger(plane))


def test_a_gif_becomes_an_mp4_with_its_times(animate: Callable[..., list[Plane]], upscale: Upscale) -> None:
    animate("in.gif", width=31)
    heard, report = upscale("in.gif", output="out.mp4", scale=3)
    assert report.exit_code == ExitCode.OK
    (planned,) = [event for event in heard if isinstance(event, Planned)]
    assert (planned.format, planned.frames) == ("MP4", 5)
    assert planned.lost == (
        "the result is not repeated, as the animation is",
        "yuv420p needs even sizes: the last row or column is repeated, and 93x69 becomes 94x70 "
        "(--pixel-format yuv444p keeps the size)",
    )
    frames, times = frames_of("out.mp4")
    assert frames[0].shape == (70, 94, 3)
    assert times == [Fraction(time, 1000) for time in (0, 100, 130, 200, 400)]
    heard, _ = upscale("in.gif", output="out.mp4", scale=3)
    assert [event.reason for event in heard if isinstance(event, Skipped)] == ["up to date"]


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_frames_of_an_animation_become_files(
    animate: Callable[..., list[Plane]], upscale: Upscale, mode: str
) -> None:
    shown = animate("in.png", mode)
    heard, report = upscale("in.png", output="frames/%03d.png")
    assert report.exit_code == ExitCode.OK
    (planned,) = [event for event in heard if isinstance(event, Planned)]
    assert "only the frames are kept" in " ".join(planned.lost)
    assert sorted(path.name for path in Path("frames").iterdir()) == [f"00{n}.png" for n in range(1, 6)]
    for number, plane in enumerate(shown, 1):
        written = np.asarray(Image.open(f"frames/00{number}.png"))
        visible = plane[..., -1:] > 0 if mode == "RGBA" else np.ones_like(plane[..., :1], bool)
        assert (~larger(visible) | (written == larger(plane))).all()


def test_a_preview_of_an_animation_may_have_any_name(
    animate: Callable[..., list[Plane]], upscale: Upscale
) -> None:
    animate("in.png")
    upscale("in.png", output="sheet%03d.png", preview="1")
    assert [path.name for path in Path().glob("sheet*")] == ["sheet%03d.png"]


def test_transparency_stays_in_webm_and_is_said_to_be_lost_in_mp4(
    animate: Callable[..., list[Plane]], upscale: Upscale
) -> None:
    (plane, *_) = animate("in.webp", "RGBA", lossless=True)
    heard, _ = upscale("in.webp", format="webm", scale=1)
    frames, _ = frames_of_alpha("in_x1.webm")
    assert np.abs(frames[0][..., 3].astype(int) - plane[..., 3]).mean() < 20
    assert not any("transparen" in note for event in heard if isinstance(event, Done) for note in event.notes)
    heard, _ = upscale("in.webp", format="mp4")
    (done,) = [event for event in heard if isinstance(event, Done)]
    assert "yuv420p cannot hold transparency: transparent areas are blended with white" in done.notes


def frames_of_alpha(path: str) -> tuple[list[Plane], None]:
    """Decode VP9 with alpha, which only libvpx does."""
    from esc_cli.media.video.reader import VideoReader

    planes = []
    with VideoReader(Path(path)) as reader:
        for frame in reader:
            assert frame.alpha is not None
            planes.append(np.concatenate([frame.color[0].numpy(), frame.alpha[0].numpy()]).transpose(1, 2, 0))
    return planes, None


def test_a_part_of_an_animation_and_a_clip_that_was_interrupted(
    animate: Callable[..., list[Plane]], upscale: Upscale, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = animate("in.png")
    lossless = LOSSLESS["out.mkv"]
    upscale("in.png", output="part.mkv", start="0.1", end="0.4", **lossless)
    assert frames_of("part.mkv")[1] == [Fraction(time, 1000) for time in (0, 30, 100)]
    monkeypatch.setattr("esc_cli.jobs.pipeline.WAITING", 1)
    monkeypatch.setattr("esc_cli.jobs.clips.sinks.SEGMENT_FRAMES", 1)
    with pytest.raises(KeyboardInterrupt):
        upscale("in.png", output="out.mkv", interrupt_after=4, **lossless)
    assert not Path("out.mkv").exists()
    upscale("in.png", output="out.mkv", **lossless)
    frames, times = frames_of("out.mkv")
    assert all(np.array_equal(frame, larger(plane)) for frame, plane in zip(frames, shown, strict=True))
    assert times[-1] == Fraction(4, 10)


@pytest.mark.parametrize("format", ["gif", "webp", "png", "avif"])
def test_a_clip_becomes_an_animation(
    make_clip: Callable[..., Path], upscale: Upscale, decoded: Callable[..., list[Plane]], format: str
) -> None:
    clip = make_clip("in.mp4", options={"crf": "0"})
    heard, report = upscale(clip, format=format)
    assert report.exit_code == ExitCode.OK
    file = read_file(Path(f"in_x2.{format}"))
    assert file.timing is not None
    assert (file.timing.durations_ms, file.timing.loop) == ((40.0,) * 10, 0)
    (done,) = [event for event in heard if isinstance(event, Done)]
    assert done.notes[0] == "only the frames are kept: an animation has no sound, subtitles or chapters"
    if format in ("webp", "png"):
        upscale(clip, output="%d.png")
        for number, picture in enumerate(file.pictures, start=1):
            assert np.array_equal(
                picture.color[0].permute(1, 2, 0).numpy(), np.asarray(Image.open(f"{number}.png"))
            )
    heard, _ = upscale(clip, format=format)
    assert [event.reason for event in heard if isinstance(event, Skipped)] == ["up to date"]


def test_an_animation_that_does_not_fit_in_memory_is_refused_before_the_work(
    make_clip: Callable[..., Path], upscale: Upscale, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip()
    monkeypatch.setattr("esc_cli.jobs.memory.host_free_bytes", lambda: 2**20)
    _, report = upscale(clip, format="gif")
    (failure,) = report.failures
    assert isinstance(failure.error, OutOfMemoryError)
    assert failure.error.message.startswith("a GIF of 10 frames of 256x192 pixels needs about ")
    assert failure.error.hint == "choose a smaller size, or a part of the clip with --start and --end"


def test_a_stream_of_unknown_length_ends_when_memory_does(
    make_clip: Callable[..., Path], upscale: Upscale, monkeypatch: pytest.MonkeyPatch
) -> None:
    upscale(make_clip(), output="in.y4m", scale=1)
    free = iter((2**40, 2**40, 2**40, 2**20))
    monkeypatch.setattr("esc_cli.jobs.memory.host_free_bytes", lambda: next(free))
    with subprocess.Popen(["cat", "in.y4m"], stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(program.stdout))  # type: ignore[type-var]
        _, report = upscale("-", output="out.gif", scale=1)
    assert re.match(r"a GIF of [2-9] frames of 128x96 pixels needs about ", report.failures[0].error.message)
    assert not Path("out.gif").exists()


def test_formats_without_animations_and_clips_in_folders_are_refused(
    make_clip: Callable[..., Path], upscale: Upscale, animate: Callable[..., list[Plane]]
) -> None:
    clip = make_clip()
    for names, options in (((clip,), {"format": "jpg"}), ((".",), {"format": "png"})):
        _, report = upscale(*names, **options)
        assert isinstance(report.failures[0].error, UsageError)
        assert "is a clip, but" in report.failures[0].error.message
    animate("still.png", append_images=[])
    _, report = upscale("still.png", output="still.mp4")
    assert report.failures[0].error.message == "a picture cannot be written as MP4"


def test_an_animation_without_a_container_stays_an_animation(
    animate: Callable[..., list[Plane]], upscale: Upscale
) -> None:
    animate("in.gif")
    heard, _ = upscale("in.gif")
    assert [event.output for event in heard if isinstance(event, Done)] == ["in_x2.gif"]
