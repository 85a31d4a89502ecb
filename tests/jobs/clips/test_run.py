"""Test the whole job on clips: segments, resumption, and outputs other than clips."""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from esc_cli.errors import ExitCode, InputError, OutputError
from esc_cli.jobs.events import Done, Event, Planned, Skipped
from esc_cli.jobs.work_folder import folder_of
from esc_cli.media.video.clip import probe_clip

Maker = Callable[..., Path]
Decode = Callable[..., list[np.ndarray[Any, Any]]]
Upscale = Callable[..., Any]

FRAMES = 10
RESULT = Path("in_x2.mp4")
FOLDER = folder_of(RESULT)
TIMEOUT_S = 120


def files() -> list[str]:
    """Return the names in the current folder, without the folder of records."""
    return sorted(path.name for path in Path().iterdir() if path.name != ".esc-upscale")


@contextmanager
def another_folder(*files: Path) -> Iterator[None]:
    """Change to a new folder that contains links to ``files``."""
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            (Path(folder) / file.name).symlink_to(file.absolute())
        with chdir(folder):
            yield


@pytest.fixture
def interrupted(make_clip: Maker, upscale: Upscale, short_segments: int) -> Path:
    """Return a clip of which an interrupted run has finished one segment."""
    source = make_clip()
    with pytest.raises(KeyboardInterrupt):
        upscale(source, interrupt_after=short_segments + 3)
    assert len(list(FOLDER.glob("*.mkv"))) == 1
    return source


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(after=st.integers(1, FRAMES))
def test_an_interrupted_run_goes_on_and_gives_the_same(
    after: int, make_clip: Maker, upscale: Upscale, short_segments: int
) -> None:
    source = make_clip() if not Path("in.mp4").exists() else Path("in.mp4")
    if not RESULT.exists():
        upscale(source)
    whole = RESULT.absolute()
    with another_folder(source):
        with pytest.raises(KeyboardInterrupt):
            upscale(source, interrupt_after=after)
        done = len(list(FOLDER.glob("*.mkv"))) * short_segments
        assert done <= after
        assert list(FOLDER.glob("*.part")) == []
        heard, report = upscale(source)
        assert report.exit_code is ExitCode.OK
        assert heard.frames == list(range(done + 1, FRAMES + 1))
        assert RESULT.read_bytes() == whole.read_bytes()
        assert not FOLDER.exists()


@pytest.mark.parametrize(
    ("options", "result"),
    [
        ({}, "in_x2.mp4"),
        ({"preview": 2}, "in_x2_preview.png"),
        ({"output": "out/%d.png"}, "out/3.png"),
        ({"output": "out.y4m"}, "out.y4m"),
    ],
)
def test_a_private_clip_stays_private(
    options: dict[str, Any], result: str, make_clip: Maker, upscale: Upscale
) -> None:
    source = make_clip()
    source.chmod(0o600)
    _, report = upscale(source, **options)
    assert report.exit_code is ExitCode.OK
    assert stat.S_IMODE(Path(result).stat().st_mode) == 0o600


def test_the_finished_part_of_a_clip_is_private(interrupted: Path) -> None:
    assert stat.S_IMODE(FOLDER.stat().st_mode) == 0o700


def test_only_what_is_missing_is_computed(
    interrupted: Path, upscale: Upscale, short_segments: int, network_calls: list[int]
) -> None:
    upscale(interrupted)
    assert len(network_calls) == FRAMES - short_segments


@contextmanager
def refused_result(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a run fail at its last step: the system refuses to rename the complete file to the result."""
    replace = Path.replace

    def refuse(path: Path, target: Path) -> Path:
        if target.name == RESULT.name:
            raise PermissionError(1, "Operation not permitted")
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        yield


def test_an_interrupted_join_is_all_that_is_done_again(
    make_clip: Maker, upscale: Upscale, network_calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_clip()
    with refused_result(monkeypatch):
        _, report = upscale(source)
    (failure,) = report.failures
    assert isinstance(failure.error, OutputError)
    assert not RESULT.exists()
    assert len(network_calls) == FRAMES
    upscale(source)
    assert len(network_calls) == FRAMES
    assert RESULT.exists()


@pytest.fixture
def unjoined(
    make_clip: Maker, upscale: Upscale, short_segments: int, monkeypatch: pytest.MonkeyPatch
) -> bytes:
    """Leave a folder with all segments of a clip, and return the bytes of the result."""
    source = make_clip()
    upscale(source)
    whole = RESULT.read_bytes()
    RESULT.unlink()
    with refused_result(monkeypatch):
        upscale(source)
    assert len(list(FOLDER.glob("*.mkv"))) == 3
    return whole


def segment(number: int) -> Path:
    (path,) = FOLDER.glob(f"{number:06d}_*.mkv")
    return path


@pytest.mark.parametrize("missing", [(0,), (1,), (0, 1), (2,), (0, 2)])
def test_only_the_segments_that_workers_did_not_finish_are_made(
    missing: tuple[int, ...], unjoined: bytes, upscale: Upscale, network_calls: list[int]
) -> None:
    frames = sum(int(segment(number).stem.split("_")[1]) for number in missing)
    for number in missing:
        segment(number).unlink()
    heard, report = upscale("in.mp4")
    assert report.failures == ()
    assert len(network_calls) == frames
    assert heard.frames == list(range(FRAMES - frames + 1, FRAMES + 1))
    assert RESULT.read_bytes() == unjoined


@pytest.mark.parametrize("content", ["another place", "damaged"])
def test_a_segment_in_the_wrong_place_is_made_again(unjoined: bytes, content: str, upscale: Upscale) -> None:
    second = segment(1).name
    for number in (0, 1):
        segment(number).unlink()
    last = segment(2).rename(FOLDER / second)
    if content == "damaged":
        last.write_bytes(b"no segment")
    _, report = upscale("in.mp4")
    assert report.failures == ()
    assert RESULT.read_bytes() == unjoined


@pytest.mark.parametrize(
    "options",
    [{"crf": 30}, {"model": "bicubic"}, {"pixel_format": "yuv444p"}, {"end": "0.3"}],
    ids=str,
)
def test_other_settings_begin_anew(interrupted: Path, upscale: Upscale, options: dict[str, Any]) -> None:
    heard, _ = upscale(interrupted, **options)
    assert heard.frames[0] == 1
    assert not FOLDER.exists()


def test_a_changed_input_begins_anew(interrupted: Path, upscale: Upscale, make_clip: Maker) -> None:
    make_clip(shown=(3, 1, 2))
    heard, _ = upscale(interrupted)
    assert heard.frames == [1, 2, 3]


def test_an_input_that_was_only_touched_goes_on(interrupted: Path, upscale: Upscale) -> None:
    os.utime(interrupted)
    heard, _ = upscale(interrupted)
    assert heard.frames[0] == 5


def test_frames_that_equal_the_one_before_are_computed_once(
    make_clip: Maker, upscale: Upscale, network_calls: list[int], decoded: Decode
) -> None:
    source = make_clip("in.mkv", (0, 0, 0, 1, 1, 0), codec="ffv1")
    heard, _ = upscale(source, video_codec="ffv1")
    assert len(network_calls) == 3
    assert [event.repeated for event in heard if isinstance(event, Done)] == [3]
    frames = decoded("in_x2.mkv")
    assert len(frames) == 6
    assert np.array_equal(frames[0], frames[2])
    assert not np.array_equal(frames[2], frames[3])


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("in.mkv", "ffv1", "yuv420p10le"),
        ("in.mkv", "ffv1", "yuv444p"),
        ("in.webm", "libvpx-vp9", "yuva420p"),
        ("in.mov", "prores_ks", "yuva444p10le"),
    ],
)
def test_depth_chroma_and_alpha_are_kept(
    make_clip: Maker, upscale: Upscale, name: str, codec: str, pixel_format: str
) -> None:
    source = make_clip(name, (0, 1), codec=codec, pixel_format=pixel_format)
    heard, report = upscale(source)
    assert report.failures == ()
    (done,) = [event for event in heard if isinstance(event, Done)]
    # FFmpeg's decoder of ProRes 4444 gives 12 bits, and its encoder takes 10.
    assert done.notes == (("12 bits per value become 10 in yuva444p10le",) if codec == "prores_ks" else ())
    low, high = probe_clip(source), probe_clip(Path(done.output))  # FFmpeg itself leaves out the alpha of VP9
    assert low.pixel_format == high.pixel_format
    assert (low.depth_bits > 8, low.alpha) == ("p10" in pixel_format, "yuva" in pixel_format)


@pytest.mark.parametrize("result", ["out.mov", "out.mp4", "out.mkv"])
def test_the_time_code_is_kept(make_clip: Maker, upscale: Upscale, result: str) -> None:
    with av.open(make_clip()) as source, av.open("in.mov", "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.metadata["timecode"] = "01:02:03:04"
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    upscale("in.mov", output=result)
    with av.open(result) as file:
        tags = {key.lower(): value for key, value in file.streams.video[0].metadata.items()}
    assert tags["timecode"] == "01:02:03:04"


def test_gray_has_no_tint(make_clip: Maker, upscale: Upscale, decoded: Decode) -> None:
    upscale(make_clip("in.mkv", (0,), codec="ffv1", pixel_format="gray"))
    (frame,) = decoded("in_x2.mkv", "rgb24")
    assert np.ptp(frame.astype(int), axis=2).max() == 0
    assert np.ptp(frame) > 200


def test_transparency_is_laid_on_white_where_it_cannot_be_kept(
    make_clip: Maker, upscale: Upscale, decoded: Decode
) -> None:
    source = make_clip("in.webm", (0, 0), codec="libvpx-vp9", pixel_format="yuva420p")
    heard, _ = upscale(source, output="out.mp4")
    (done,) = [event for event in heard if isinstance(event, Done)]
    assert done.notes == ("yuv420p cannot hold transparency: transparent areas are blended with white",)
    corner = decoded("out.mp4", "rgb24")[0][-4:, -4:]  # red is 190 there, green 127, blue 222, and alpha half
    assert corner.mean(axis=(0, 1)) == pytest.approx([222, 191, 238], abs=6)


@pytest.mark.parametrize("rotation_deg", [90, 180])
def test_a_size_is_that_of_the_clip_as_it_is_shown(
    make_clip: Maker, upscale: Upscale, decoded: Decode, rotation_deg: int
) -> None:
    source = make_clip(shown=(0, 1), rotation_deg=rotation_deg)
    upscale(source, scale=None, size="192x", output="out.mp4")
    (frame, _) = decoded("out.mp4", "rgb24")
    assert frame.shape[:2] == ((192, 256) if rotation_deg == 90 else (144, 192))


@pytest.mark.parametrize(
    ("size", "pixel_format", "rotation_deg", "name"),
    [
        ("384x216", "yuv420p", 0, "in_288x216.mp4"),
        ("101x", "yuv420p", 0, "in_102x76.mp4"),
        ("101x", "yuv444p", 0, "in_101x76.mp4"),
        ("101x101^", "yuv420p", 0, "in_136x102.mp4"),
        ("51x51>", "yuv420p", 0, "in_52x38.mp4"),
        ("101x", "yuv420p", 90, "in_102x136.mp4"),
        ("101x", "yuv420p", 180, "in_102x76.mp4"),
        ("101x75!", "yuv422p", 0, "in_102x75.mp4"),
    ],
)
def test_a_clip_is_named_by_the_size_that_it_has(
    make_clip: Maker, upscale: Upscale, size: str, pixel_format: str, rotation_deg: int, name: str
) -> None:
    source = make_clip(shown=(0, 1), pixel_format=pixel_format, rotation_deg=rotation_deg)
    _, report = upscale(source, scale=None, size=size)
    assert report.exit_code == 0
    with av.open(name) as container:
        stream = container.streams.video[0]
        sides = (stream.width, stream.height)[:: -1 if rotation_deg == 90 else 1]
    assert f"in_{sides[0]}x{sides[1]}.mp4" == name


def test_borders_of_a_clip_wrap_as_it_is_shown(make_clip: Maker, upscale: Upscale, decoded: Decode) -> None:
    upscale(make_clip("in.mp4", shown=(0, 1)), seamless="x", model="bicubic", output="out.mp4")
    assert len(decoded("out.mp4", "rgb24")) == 2
    turned = make_clip("turned.mp4", shown=(0, 1), rotation_deg=90)
    _, report = upscale(turned, seamless="x", output="turned_out.mp4")
    assert report.failures[0].error.message.endswith("its borders can wrap only along both axes")
    _, report = upscale(turned, seamless="xy", model="bicubic", output="turned_out.mp4")
    assert report.failures == ()


def test_frames_as_pictures_and_back(make_clip: Maker, upscale: Upscale, decoded: Decode) -> None:
    source = make_clip("in.mkv", codec="ffv1", pixel_format="bgr0")
    upscale(source, output="frames/%03d.png")
    names = sorted(path.name for path in Path("frames").glob("*.*g"))
    assert names == [f"{number:03d}.png" for number in range(1, FRAMES + 1)]
    with Image.open("frames/004.png") as image:
        expected = decoded(source, "rgb24")[3].repeat(2, 0).repeat(2, 1)
        assert np.array_equal(np.asarray(image), expected)
    _, report = upscale("frames/%03d.png", output="back.mkv", fps="24000/1001")
    assert report.failures == ()
    frames = decoded("back.mkv")
    assert len(frames) == FRAMES
    _, report = upscale("frames/%03d.png", output="again/%d.jpg")
    assert len(list(Path("again").glob("*.jpg"))) == FRAMES


def test_pictures_are_never_written_over_those_they_are_made_of(make_clip: Maker, upscale: Upscale) -> None:
    source = make_clip(shown=(0, 1))
    upscale(source, output="frames/%03d.png")
    before = Path("frames/001.png").read_bytes()
    _, report = upscale("frames/%03d.png", output="../" + Path.cwd().name + "/frames/%03d.png",
                        when_there="overwrite")  # fmt: skip
    (failure,) = report.failures
    assert failure.error.exit_code is ExitCode.CANNOT_WRITE
    assert "results never replace inputs" in failure.error.message
    assert Path("frames/001.png").read_bytes() == before


def test_any_picture_of_a_sequence_is_there_already(make_clip: Maker, upscale: Upscale) -> None:
    source = make_clip(shown=(0, 1))
    Path("frames").mkdir()
    Path("frames/007.png").write_bytes(b"precious")
    with pytest.raises(OutputError, match="already exists"):
        upscale(source, output="frames/%03d.png")
    heard, _ = upscale(source, output="frames/%03d.png", when_there="skip")
    assert [type(event) for event in heard if isinstance(event, Skipped)] == [Skipped]
    _, report = upscale(source, output="frames/%03d.png", when_there="overwrite")
    assert report.failures == ()
    assert Path("frames/007.png").read_bytes() == b"precious"


@pytest.mark.parametrize(("frames", "columns", "rows"), [(1, 1, 1), (4, 2, 2), (9, 3, 3)])
def test_a_preview(make_clip: Maker, upscale: Upscale, frames: int, columns: int, rows: int) -> None:
    source = make_clip()
    upscale(source, preview=frames)
    with Image.open("in_x2_preview.png") as sheet:
        assert sheet.size == (256 * columns + 8 * (columns - 1), (192 + 22) * rows + 8 * (rows - 1))
    assert not RESULT.exists()


@pytest.mark.parametrize("name", ["in.mp4", "in.mkv", "in.h264"])
@pytest.mark.parametrize("count", [7, 9, 12, 15, 20])
def test_a_preview_has_as_many_frames_as_there_are(
    make_clip: Maker, upscale: Upscale, name: str, count: int
) -> None:
    source = make_clip(name, shown=range(15))
    heard, report = upscale(source, preview=count, output="sheet.png")
    assert report.exit_code is ExitCode.OK
    assert heard.frames == list(range(1, min(count, 15) + 1))
    with Image.open("sheet.png") as sheet:
        assert sizes(heard) == [sheet.size[::-1]] * 2


def test_a_preview_says_the_time_of_each_frame(make_clip: Maker, upscale: Upscale) -> None:
    """Compare with a clip of one still, in which the only differences are the times."""
    source = make_clip("in.mkv", shown=(0,) * 10, codec="ffv1")
    upscale(source, preview=2, output="sheet.png")
    upscale(source, preview=2, start="0.2", output="later.png")
    sheet, later = (np.array(Image.open(name)) for name in ("sheet.png", "later.png"))
    frames = slice(0, 192)
    assert np.array_equal(sheet[frames], later[frames])
    assert sheet[192:].max() == 255
    assert not np.array_equal(sheet[192:], later[192:])


@pytest.mark.parametrize(
    ("output", "options", "size"),
    [
        ("out.mkv", {}, (144, 194)),
        ("out.mkv", {"pixel_format": "yuv444p"}, (144, 193)),
        ("out.y4m", {}, (144, 194)),
        ("%d.png", {}, (144, 193)),
    ],
)
def test_the_events_say_the_size_of_the_file(
    make_clip: Maker,
    upscale: Upscale,
    decoded: Decode,
    output: str,
    options: dict[str, str],
    size: tuple[int, int],
) -> None:
    source = make_clip(shown=(0, 1))
    heard, _ = upscale(source, output=output, scale=None, size="193x144!", **options)
    written = decoded(output.replace("%d", "1"), "rgb24")[0].shape[:2]
    assert [written, *sizes(heard)] == [size] * 3


def test_the_events_say_the_size_of_upright_pictures(make_clip: Maker, upscale: Upscale) -> None:
    heard, _ = upscale(make_clip(shown=(0, 1), rotation_deg=90), output="%d.png")
    with Image.open("1.png") as picture:
        assert [picture.size[::-1], *sizes(heard)] == [(256, 192)] * 3


def sizes(heard: Iterable[Event]) -> list[tuple[int, int]]:
    return [(e.output_height, e.output_width) for e in heard if isinstance(e, Planned | Done)]


@pytest.mark.parametrize("name", ["in.h264", "in.mpg", "in.ivf", "in.mkv", "in.ts"])
@pytest.mark.parametrize(("cut", "frames"), [({}, 15), ({"start": "0.2", "end": "0.4"}, 5)], ids=str)
def test_the_plan_counts_the_frames_of_the_part(
    make_clip: Maker, upscale: Upscale, name: str, cut: dict[str, str], frames: int
) -> None:
    codec = {"in.mpg": "mpeg1video", "in.ivf": "libvpx-vp9"}.get(name, "libx264")
    heard, _ = upscale(make_clip(name, shown=range(15), codec=codec), dry_run=True, output="o.mkv", **cut)
    (plan,) = (event for event in heard if isinstance(event, Planned))
    assert plan.frames == frames


def test_the_part_between_start_and_end(make_clip: Maker, upscale: Upscale, decoded: Decode) -> None:
    source = make_clip("in.mkv", codec="ffv1")
    upscale(source, start="0.12", end="0:00:00.28", video_codec="ffv1")
    frames = decoded("in_x2.mkv", "rgb24")
    expected = decoded(source, "rgb24")[3:7]
    assert len(frames) == 4
    for frame, low in zip(frames, expected, strict=True):
        assert np.abs(frame[::2, ::2].astype(int) - low).mean() < 2


@pytest.mark.parametrize("options", [{"start": "0.39"}, {"start": "0.13", "end": "0.14"}], ids=str)
def test_a_part_without_a_frame(make_clip: Maker, upscale: Upscale, options: dict[str, str]) -> None:
    _, report = upscale(make_clip(), **options)
    (failure,) = report.failures
    assert isinstance(failure.error, InputError)
    assert files() == ["in.mp4"]


KILLED = """
import os, sys
from esc_cli.jobs.clips import sinks
from esc_cli.jobs.upscale import upscale_files
sinks.SEGMENT_FRAMES = 4
told = 0
def listener(event):
    global told
    told += getattr(event, "event", "") == "progress"
    if told == int(sys.argv[2]):
        os.kill(os.getpid(), 9)
upscale_files([sys.argv[1]], model="nearest", device="cpu", scale=2, listener=listener)
"""


def wandering(source: Path) -> Path:
    """Return a clip of intra frames as if its decoder gave some frames too early, and two at one time."""
    times = [1, 0, 2, 3, 4, 5, 6, 6, 8, 9, 11, 10, 12, 13, 13, 15, 16, 17]
    with av.open(source) as low, av.open("wandering.mp4", "w", options={"use_editlist": "0"}) as high:
        stream = high.add_stream_from_template(low.streams.video[0])
        for number, packet in enumerate(packet for packet in low.demux(video=0) if packet.size):
            unit = int(1 / (25 * packet.time_base))
            packet.stream, packet.dts, packet.pts = stream, number * unit, (times[number] + 2) * unit
            high.mux(packet)
    return Path("wandering.mp4")


def display_times(path: Path) -> list[int | None]:
    with av.open(path) as file:
        return [packet.pts for packet in file.demux(video=0) if packet.size]


B_FRAMES = "keyint=6:min-keyint=6:bframes=2:b-adapt=0:scenecut=0"


@pytest.mark.parametrize("kind", ["ordinary", "wandering", "avi"])
def test_killed_twice(
    make_clip: Maker, upscale: Upscale, decoded: Decode, short_segments: int, kind: str
) -> None:
    """No cleanup runs after a kill: an incomplete segment stays until the next run."""
    name = "in.avi" if kind == "avi" else "in.mp4"
    parameters = {"ordinary": "keyint=250", "wandering": "keyint=1", "avi": B_FRAMES}[kind]
    source = make_clip(name, shown=range(18), options={"x264-params": parameters})
    source = wandering(source) if kind == "wandering" else source
    result = Path(f"{source.stem}_x2.mkv" if kind == "avi" else f"{source.stem}_x2.mp4")
    for told in (7, 9):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(source), str(told)],
            check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
            capture_output=True,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == -9, done.stderr.decode()
    heard, _ = upscale(source)
    assert heard.frames[0] > short_segments
    resumed = decoded(result)
    assert len(resumed) == 18
    assert not folder_of(result).exists()
    times = display_times(result)
    result.unlink()
    upscale(source)
    assert np.array_equal(resumed, decoded(result))
    assert display_times(result) == times


def test_segments_that_lack_frames_are_not_joined(interrupted: Path, upscale: Upscale) -> None:
    """A segment that states more frames than it holds stands for a fault of any kind before the join."""
    (segment,) = FOLDER.glob("*.mkv")
    number, _, pts = segment.stem.split("_")
    segment.rename(segment.with_name(f"{number}_5_{pts}.mkv"))
    _, report = upscale(interrupted)
    (failure,) = report.failures
    assert isinstance(failure.error, InputError)
    assert "holds 10 of 11 frames" in failure.error.message
    assert not RESULT.exists()
    heard, report = upscale(interrupted)
    assert report.failures == ()
    assert heard.frames == list(range(1, FRAMES + 1))


def test_deep_clips_of_few_frames(make_clip: Maker, upscale: Upscale, decoded: Decode) -> None:
    """x265 reports wrong decoding times for these clips. If they were used, 1 of 20 would not be written."""
    source = make_clip("in.mkv", (0, 1), codec="ffv1", pixel_format="yuv420p10le")
    for number in range(12):
        _, report = upscale(source, output=f"{number}.mp4", preset="ultrafast", crf=30)
        assert report.failures == ()
        assert len(decoded(f"{number}.mp4")) == 2


@pytest.fixture
def damaged(make_clip: Maker) -> Path:
    """Return a clip of 10 frames; the sixth packet and the last one cannot be decoded."""
    source = make_clip("in.mp4", codec="mpeg4")
    with av.open(source) as file:
        packets = [bytes(packet) for packet in file.demux(video=0) if packet.size]
    content = source.read_bytes()
    for number in (5, 9):
        content = content.replace(packets[number], bytes(len(packets[number])))
    source.write_bytes(content)
    return source


def notes_of(heard: Any) -> tuple[str, ...]:
    (done,) = [event for event in heard if isinstance(event, Done)]
    return tuple(done.notes)


def test_frames_that_cannot_be_decoded_are_replaced_and_counted(
    damaged: Path, upscale: Upscale, decoded: Decode
) -> None:
    heard, report = upscale(damaged)
    assert report.exit_code is ExitCode.OK
    assert "2 frames were damaged, and the last good frame stands in for them" in notes_of(heard)
    frames = decoded(RESULT, "rgb24")
    assert len(frames) == FRAMES
    assert np.abs(frames[5].astype(int) - frames[4]).mean() < 1
    assert np.abs(frames[6].astype(int) - frames[5]).mean() > 1
    upscale(damaged, output="frames/%02d.png")
    assert len(list(Path("frames").glob("*.png"))) == FRAMES


def test_damaged_clips_are_refused_on_request(damaged: Path, upscale: Upscale) -> None:
    _, report = upscale(damaged, damaged="refuse")
    assert report.exit_code is ExitCode.BAD_INPUT
    assert str(report.failures[0].error).startswith("in.mp4 is damaged at 0.2")
    assert files() == ["in.mp4"]


@pytest.mark.parametrize("after", [4, 6, 9])
def test_an_interrupted_run_counts_all_damage(
    after: int, damaged: Path, upscale: Upscale, short_segments: int
) -> None:
    heard, _ = upscale(damaged)
    whole, notes = RESULT.read_bytes(), notes_of(heard)
    RESULT.unlink()
    with pytest.raises(KeyboardInterrupt):
        upscale(damaged, interrupt_after=after)
    heard, _ = upscale(damaged)
    assert RESULT.read_bytes() == whole
    assert notes_of(heard) == notes


def test_a_cut_off_clip_is_kept_as_far_as_it_goes(
    make_clip: Maker, upscale: Upscale, decoded: Decode
) -> None:
    source = make_clip("in.mkv", codec="mpeg4")
    with av.open(source) as file:
        sixth = [bytes(packet) for packet in file.demux(video=0)][5]
    content = source.read_bytes()
    source.write_bytes(content[: content.index(sixth) + 9])
    _, report = upscale(source)
    (failure,) = report.failures
    assert failure.error.message.startswith("in.mkv is cut off")
    assert failure.error.hint == "to enlarge what can be read of it, use --damaged keep"
    heard, report = upscale(source, damaged="keep")
    assert report.exit_code is ExitCode.OK
    assert "the file is cut off, and what is left of it is kept" in notes_of(heard)
    assert 5 <= len(decoded("in_x2.mkv")) <= 6
