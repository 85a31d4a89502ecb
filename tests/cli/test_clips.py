"""Test clips on the command line: pipes, failures, signals, and the messages to the user."""

import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from esc_cli.cli.main import main

Start = Callable[..., subprocess.Popen[bytes]]
Run = Callable[..., Any]
Pipe = Callable[..., tuple[int, bytes, str]]

TWICE = ("-m", "nearest", "-d", "cpu", "-s", 2)
SIZE = (48, 64)
FRAMES = 6
TIMEOUT_S = 120
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""Environment for one thread: several threads wait for each other if other programs use the processor."""


def picture(index: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    planes = np.stack((rows * 4, columns * 3, rows + columns), axis=-1).astype(np.uint8)
    planes[10:20, index % 40 : index % 40 + 10] = 255
    return planes


def make_clip(target: str | io.BytesIO = "in.mp4", frames: int = FRAMES, **more: Any) -> None:
    options = {"codec": "libx264", "pixel_format": "yuv420p", "format": None, "shown": range(frames), **more}
    with av.open(target, "w", format=options["format"], options={"strict": "-1"}) as container:
        stream: Any = container.add_stream(options["codec"], rate=25)
        stream.height, stream.width, stream.pix_fmt = *SIZE, options["pixel_format"]
        for time, index in enumerate(options["shown"]):
            frame = av.VideoFrame.from_ndarray(picture(index), "rgb24").reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = time, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def raw_frames(pixel_format: str = "yuv420p", frames: int = FRAMES) -> bytes:
    """Return frames as YUV4MPEG2."""
    stream = io.BytesIO()
    make_clip(stream, frames, codec="wrapped_avframe", pixel_format=pixel_format, format="yuv4mpegpipe")
    return stream.getvalue()


def make_sound(name: str) -> None:
    with av.open(name, "w") as container:
        stream = container.add_stream("aac" if name != "a.mka" else "flac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), "s16", "mono")
        frame.sample_rate, frame.pts = 48000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def formats(content: bytes | str) -> list[tuple[int, int, str]]:
    """Return the height, width and pixel format of each frame, as PyAV alone reads them."""
    with av.open(io.BytesIO(content) if isinstance(content, bytes) else content) as container:
        return [(frame.height, frame.width, frame.format.name) for frame in container.decode(video=0)]


def files() -> list[str]:
    """Return all files except the records of results."""
    paths = (path for path in Path().rglob("*") if path.is_file())
    return sorted(str(path) for path in paths if ".esc-upscale" not in path.parts)


def sentences(ended: Any) -> list[str]:
    """Return the lines on stderr, without those about the network, the estimate and losses."""
    lines: list[str] = ended.stderr.splitlines()
    usual = ("nearest x2 on cpu", "note: ", "1 to do", "warning: the results may take")
    return [line for line in lines if not line.startswith(usual)]


def test_a_clip(run: Run) -> None:
    make_clip()
    ended = run("in.mp4", *TWICE)
    assert (ended.code, ended.stdout) == (0, b"")
    assert sentences(ended)[0].startswith("in.mp4 → in_x2.mp4 (128x96, ")
    assert formats("in_x2.mp4") == [(96, 128, "yuv420p")] * FRAMES
    assert files() == ["in.mp4", "in_x2.mp4"]


def test_events(run: Run) -> None:
    make_clip()
    events = [json.loads(line) for line in run("in.mp4", *TWICE, "--json").text.splitlines()]
    progress = [event for event in events if event["event"] == "progress"]
    assert [event["done"] for event in progress] == [48 * 64 * (frame + 1) for frame in range(FRAMES)]
    assert {event["total"] for event in progress} == {48 * 64 * FRAMES}
    assert all(event["frames_per_second"] > 0 for event in progress)
    (done,) = [event for event in events if event["event"] == "done"]
    assert (done["output"], done["output_height"], done["notes"]) == ("in_x2.mp4", 96, [])


def test_equal_frames_are_counted(run: Run) -> None:
    make_clip(codec="ffv1", target="in.mkv", shown=(0, 0, 1, 1, 1))
    ended = run("in.mkv", *TWICE, "-v")
    assert "  3 frames equal an earlier one, and were not computed again" in ended.stderr.splitlines()
    make_clip(codec="ffv1", target="in.mkv", shown=(0, 0))
    ended = run("in.mkv", *TWICE, "-v", "--overwrite")
    assert "  1 frame equals an earlier one, and was not computed again" in ended.stderr.splitlines()


def test_equal_pages_are_counted(run: Run) -> None:
    pages = [Image.new("RGB", (9, 7), color) for color in ("red", "red", "blue", "red")]
    pages[0].save("in.tif", save_all=True, append_images=pages[1:])
    with zipfile.ZipFile("in.cbz", "w") as archive:
        archive.write("in.tif")
    for name in ("in.tif", "in.cbz"):
        ended = run(name, *TWICE, "-v")
        assert "  2 pages equal an earlier one, and were not computed again" in ended.stderr.splitlines()


def test_notes_are_events(run: Run) -> None:
    make_clip()
    events = [json.loads(line) for line in run("in.mp4", *TWICE, "--json", "-o", "%d.png").text.splitlines()]
    (done,) = [event for event in events if event["event"] == "done"]
    assert done["notes"] == [
        "only the frames are kept: pictures have no sound, subtitles, chapters or timestamps"
    ]


@pytest.mark.parametrize("output", ["out.mp4", "out.y4m", "frames/%d.png", "-"])
def test_a_dry_run_writes_nothing(run: Run, output: str) -> None:
    make_clip()
    ended = run("in.mp4", *TWICE, "--dry-run", "-o", output)
    assert ended.code == 0
    assert "(64x48 → 128x96, " in ended.text
    assert "1 to do, about " in ended.stderr
    assert files() == ["in.mp4"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--crf", -1), "-1 is not a valid quality"),
        (("--crf", 99), "--crf 99 is out of range for libx264"),
        (("--video-codec", "nope"), "there is no video encoder named 'nope'"),
        (("--video-codec", "aac"), "'aac' is not a video encoder"),
        (
            ("--video-codec", "libvpx-vp9", "-o", "out.mov"),
            "QuickTime cannot hold a video stream of libvpx-vp9",
        ),
        (("--codec-option", "nope"), "'nope' is not an option of an encoder"),
        (("--codec-option", "nope=1"), "libx264 has no option 'nope'"),
        (("--codec-option", "tune=nope"), "libx264 does not start with tune=nope"),
        (("--preset", "nope"), "libx264 does not start with preset=nope"),
        (("--pixel-format", "nope"), "libx264 does not support the pixel format 'nope'"),
        (("--start", "nope"), "'nope' is not a time"),
        (("--start", 2, "--end", 1), "the end is not after the start"),
        (("--end", 0), "the end is not after the start"),
        (("--fps", 25), "--fps applies only to image sequences, as a clip keeps its own timestamps"),
        (("-o", "out.jpg"), "in.mp4 is a clip, but JPEG is a picture format"),
        (("-o", "out.gif", "--crf", 3), "the options of video encoders do not apply to GIF"),
        (("--preview", 2, "-o", "out.mp4"), "a preview is a picture, but MP4 is a container for clips"),
        (("-o", "%d.png", "--crf", 3), "the options of video encoders do not apply to PNG"),
    ],
    ids=str,
)
def test_what_makes_no_sense(run: Run, options: tuple[object, ...], sentence: str) -> None:
    make_clip()
    ended = run("in.mp4", *TWICE, *options)
    first, *hints = sentences(ended)
    assert (ended.code, ended.stdout) == (2, b"")
    assert first in (f"esc-upscale: {sentence}", f"esc-upscale: in.mp4: {sentence}")
    assert all(hint.startswith("  ") for hint in hints)
    assert files() == ["in.mp4"]


@pytest.mark.parametrize("option", [("--crf", 3), ("--start", 1), ("--end", 4), ("--deinterlace",)])
def test_options_of_clips_mean_nothing_for_one_picture(
    run: Run, save: Callable[..., Path], option: tuple[object, ...]
) -> None:
    save("in.png")
    ended = run("in.png", *TWICE, *option)
    assert (ended.code, files()) == (2, ["in.png"])
    assert "in.png is a picture, to which the options for clips do not apply" in ended.stderr
    assert run("in.png", save("other.png"), *TWICE, *option).code == 0  # a batch need not contain a clip


def make_cut_off(name: str) -> None:
    make_clip(name, 30)
    content = Path(name).read_bytes()
    Path(name).write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("a.mp4", make_cut_off, "is cut off: its header states more data than the file contains"),
        ("a.mkv", make_cut_off, "is cut off: its header states more data than the file contains"),
        ("a.mp4", make_sound, "has no video stream"),
        ("a.m4a", make_sound, "has no video stream"),
        ("a.mka", make_sound, "has no video stream"),
        ("a.mp4", lambda name: Path(name).touch(), "is empty"),
        ("a.mp4", lambda name: Path(name).write_text("hello"), "is not a clip that this program can read"),
        ("a.mp4", lambda name: Path(name).mkdir(), None),
        ("a.y4m", lambda name: Path(name).write_bytes(raw_frames()[:-9]), None),
    ],
)
def test_bad_input(run: Run, name: str, make: Callable[[str], None], reason: str | None) -> None:
    make(name)
    before = files()
    ended = run(name, *TWICE)
    assert ended.code == 3
    errors = [line for line in sentences(ended) if not line.startswith("  ")]  # without hints
    assert len(errors) == 1
    assert reason is None or errors == [f"esc-upscale: {name} {reason}"]
    assert files() == before


def test_a_codec_that_nobody_knows(run: Run) -> None:
    make_clip("in.mkv")
    content = Path("in.mkv").read_bytes()
    Path("in.mkv").write_bytes(content.replace(b"V_MPEG4/ISO/AVC", b"V_MPEG9/ISO/XYZ"))
    ended = run("in.mkv", *TWICE)
    assert ended.code == 3
    assert sentences(ended) == [
        "esc-upscale: the video stream of in.mkv has a codec that this program does not know"
    ]


def test_a_folder_with_one_bad_clip(run: Run, save: Callable[..., Path]) -> None:
    save("in/a.png")
    make_clip("in/b.mp4")
    make_cut_off("in/c.mp4")
    ended = run("in", *TWICE)
    assert ended.code == 7
    assert "2 done, 1 failed in " in ended.stderr
    results = [name for name in files() if name.startswith("in_x2/") and "/." not in name]
    assert results == ["in_x2/a.png", "in_x2/b.mp4"]
    ended = run("in", *TWICE)
    assert ended.code == 7
    assert "0 to do, 2 up to date, 1 that cannot be processed" in ended.stderr


def test_a_result_that_is_there(run: Run) -> None:
    make_clip()
    Path("in_x2.mp4").write_text("precious")
    ended = run("in.mp4", *TWICE)
    assert (ended.code, sentences(ended)[0]) == (6, "esc-upscale: 'in_x2.mp4' already exists")
    assert run("in.mp4", *TWICE, "--skip-existing").code == 0
    assert Path("in_x2.mp4").read_text() == "precious"
    assert run("in.mp4", *TWICE, "--overwrite").code == 0
    assert len(formats("in_x2.mp4")) == FRAMES
    assert files() == ["in.mp4", "in_x2.mp4"]


def test_image_sequences_need_a_frame_rate(run: Run) -> None:
    make_clip()
    assert run("in.mp4", *TWICE, "-o", "frames/%d.png").code == 0
    ended = run("frames/%d.png", *TWICE, "-o", "back.mp4")
    assert ended.code == 2
    assert sentences(ended)[0] == "esc-upscale: frames/%d.png: an image sequence has no frame rate"
    assert run("frames/%d.png", *TWICE, "-o", "back.mp4", "--fps", 12.5).code == 0
    with av.open("back.mp4") as container:
        assert container.streams.video[0].average_rate == Fraction(25, 2)
        assert len(list(container.decode(video=0))) == FRAMES
    Path("frames/3.png").unlink()
    ended = run("frames/%d.png", *TWICE, "-o", "again.mp4", "--fps", 25)
    assert ended.code == 3
    assert sentences(ended) == [
        "esc-upscale: frames/%d.png: frames/3.png is missing, but the numbers continue to 6.png"
    ]


# Pipes.


@pytest.fixture
def pipe(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Callable[..., tuple[int, bytes, str]]:
    """Return a function that runs the program in this process with a real pipe as standard input."""

    def run(content: bytes, *arguments: object) -> tuple[int, bytes, str]:
        reading, writing = os.pipe()
        writer = threading.Thread(target=_write, args=(writing, content))
        writer.start()
        monkeypatch.setattr(sys, "argv", ["esc-upscale", *map(str, arguments)])
        with open(reading) as stdin, pytest.raises(SystemExit) as end:  # noqa: PTH123 - a descriptor
            monkeypatch.setattr(sys, "stdin", stdin)
            main()
        writer.join()
        stdout, stderr = capfdbinary.readouterr()
        return int(end.value.code or 0), stdout, stderr.decode()

    return run


def _write(descriptor: int, content: bytes) -> None:
    with open(descriptor, "wb") as file, suppress(BrokenPipeError):
        file.write(content)
        file.flush()


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le", "yuv444p", "gray"])
def test_a_pipe(pipe: Pipe, pixel_format: str) -> None:
    code, stdout, stderr = pipe(raw_frames(pixel_format), "-", *TWICE, "-o", "-")
    assert code == 0
    assert "standard input → standard output (128x96, " in stderr
    assert formats(stdout) == [(96, 128, pixel_format)] * FRAMES


@pytest.mark.parametrize("name", ["in.mp4", "in.mkv", "in.ts", "in.wmv"])
def test_a_clip_through_a_pipe(start: Start, name: str, tmp_path: Path) -> None:
    """A container is read several times, so it is copied to a temporary file, of which nothing stays."""
    if name == "in.wmv":
        make_clip_with_wma()
    else:
        make_clip(name)
    Path("temporary").mkdir()
    variables = {**ONE_THREAD, "TMPDIR": str(tmp_path / "temporary")}
    arguments = ("-", *TWICE, "-o", "out.mkv")
    with start(*arguments, stdin=subprocess.PIPE, variables=variables) as program:
        _, stderr = program.communicate(Path(name).read_bytes(), timeout=TIMEOUT_S)
    assert program.returncode == 0
    assert "standard input → out.mkv (128x96, " in stderr.decode()
    assert formats("out.mkv") == [(96, 128, "yuv420p")] * FRAMES
    with av.open("out.mkv") as file:
        assert len(file.streams.audio) == (name == "in.wmv")
    assert not list(Path("temporary").iterdir())


def test_a_clip_through_a_pipe_that_is_cut_off(run: Run) -> None:
    make_clip()
    ended = run("-", *TWICE, "-o", "out.mkv", stdin=Path("in.mp4").read_bytes()[:-500])
    assert ended.code == 3
    assert "standard input is cut off" in ended.stderr


def test_no_space_for_a_clip_through_a_pipe(start: Start) -> None:
    make_clip()

    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    arguments = ("-", *TWICE, "-o", "out.mkv")
    with start(*arguments, stdin=subprocess.PIPE, variables=ONE_THREAD, preexec_fn=no_room) as program:
        _, stderr = program.communicate(Path("in.mp4").read_bytes(), timeout=TIMEOUT_S)
    assert program.returncode == 6
    assert "standard input cannot be copied to" in stderr.decode()


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_a_pipe_between_two_of_ffmpeg(start: Start) -> None:
    pixel_format = "yuv420p10le"
    make_clip("in.mkv", codec="ffv1", pixel_format=pixel_format)
    ffmpeg = ("ffmpeg", "-v", "error", "-y")
    raw = ("-f", "yuv4mpegpipe", "-strict", "-1", "-")
    with (
        subprocess.Popen([*ffmpeg, "-i", "in.mkv", *raw], stdout=subprocess.PIPE) as before,
        start("-", *TWICE, "-o", "-", "--quiet", stdin=before.stdout, variables=ONE_THREAD) as program,
        subprocess.Popen([*ffmpeg, "-i", "-", "-c:v", "ffv1", "out.mkv"], stdin=program.stdout) as after,
    ):
        assert after.wait(TIMEOUT_S) == 0
    assert (before.returncode, program.returncode) == (0, 0)
    assert formats("out.mkv") == [(96, 128, pixel_format)] * FRAMES


def test_a_pipe_to_a_file_of_any_kind(pipe: Pipe) -> None:
    assert pipe(raw_frames(), "-", *TWICE, "--quiet", "-o", "out.mkv") == (0, b"", "")
    assert formats("out.mkv") == [(96, 128, "yuv420p")] * FRAMES
    assert files() == ["out.mkv"]


def test_a_pipe_gets_the_model_for_its_first_frame(pipe: Pipe) -> None:
    arguments = ("-", "-s", 2, "-d", "cpu", "-p", "float32", "-o", "out.mkv", "--json")
    for more in (("--dry-run",), ()):
        code, stdout, _ = pipe(raw_frames(frames=2), *arguments, *more)
        said = {line["event"]: line.get("model") for line in map(json.loads, stdout.splitlines())}
        assert (code, said["plan"]) == (0, said["engine"] if more else "auto")
    assert said["done"] == said["engine"]


def test_a_reader_that_goes_away(start: Start) -> None:
    make_clip(frames=60)
    with start("in.mp4", *TWICE, "-o", "-", "--quiet", variables=ONE_THREAD) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        assert program.stdout.read(1000).startswith(b"YUV4MPEG2 W128 H96 ")
        program.stdout.close()
        assert program.stderr.read() == b""
        assert program.wait(TIMEOUT_S) == 6
    assert files() == ["in.mp4"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "there is nothing on standard input"),
        (raw_frames()[:20], "the video stream is not a clip that this program can read"),
        (raw_frames()[: raw_frames().index(b"\n") + 1], "the video stream contains no frames"),
        (
            raw_frames()[:-1],
            "the video stream ends in the middle of a frame, at 0.16 s\n"
            "  to enlarge what can be read of it, use --damaged keep",
        ),
    ],
    ids=["nothing", "no header", "no frame", "half a frame"],
)
def test_what_comes_before_ends_early(pipe: Pipe, content: bytes, sentence: str) -> None:
    ended = pipe(content, "-", *TWICE, "-o", "out.mkv", "--quiet")
    assert ended == (3, b"", f"esc-upscale: {sentence}\n")
    assert files() == []


def test_raw_frames_that_end_early_can_be_kept(pipe: Pipe) -> None:
    """The last whole frame stands in for the one that is cut off."""
    code, _, told = pipe(raw_frames()[:-1], "-", *TWICE, "-o", "out.mkv", "--damaged", "keep")
    assert code == 0
    assert "note: 1 frame was damaged, and the last good frame stands in for it" in told
    whole = pipe(raw_frames(), "-", *TWICE, "-o", "whole.mkv")
    assert whole[0] == 0
    assert formats("out.mkv") == formats("whole.mkv")


@pytest.mark.parametrize(
    ("number", "code", "sentence"),
    [
        (signal.SIGINT, 130, b"esc-upscale: interrupted\n"),
        (signal.SIGTERM, 143, b"esc-upscale: terminated\n"),
    ],
)
def test_a_signal_leaves_what_is_done(
    start: Start, number: signal.Signals, code: int, sentence: bytes, run: Run
) -> None:
    make_clip(frames=160)
    with start("in.mp4", *TWICE, "--json", variables=ONE_THREAD) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        for line in program.stdout:
            if json.loads(line).get("done", 0) >= 60 * 48 * 64:
                break
        program.send_signal(number)
        assert program.wait(TIMEOUT_S) == code
        last = json.loads(program.stdout.read().splitlines()[-1])
        said = program.stderr.read()
    kept = sum(int(path.stem.split("_")[1]) for path in Path().rglob("*.mkv"))
    assert 48 <= kept < 160
    hint = f"{kept} of 160 frames of in.mp4 are done and kept; run the same command again to continue"
    assert said == sentence + f"  {hint}\n".encode()
    assert (last["event"], last["hint"], last["exit_code"]) == ("stopped", hint, code)
    assert {Path(name).suffix for name in files()} == {".mp4", ".mkv", ".json"}
    events = [json.loads(line) for line in run("in.mp4", *TWICE, "--json").text.splitlines()]
    progress = [event["done"] for event in events if event["event"] == "progress"]
    assert progress[0] > 48 * 48 * 64
    assert progress[-1] == 160 * 48 * 64
    assert files() == ["in.mp4", "in_x2.mp4"]


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("%d.png", "pictures of in.mp4 are written, which the same command with --overwrite makes again"),
        ("out.y4m", "nothing of in.mp4 is kept"),
    ],
)
def test_an_interrupted_run_that_cannot_go_on_says_so(start: Start, output: str, said: str) -> None:
    make_clip(frames=160)
    with start("in.mp4", *TWICE, "-o", output, "--json", variables=ONE_THREAD) as program:
        assert program.stdout is not None
        for line in program.stdout:
            if json.loads(line).get("done", 0) >= 20 * 48 * 64:
                break
        program.send_signal(signal.SIGINT)
        assert program.wait(TIMEOUT_S) == 130
        hint = json.loads(program.stdout.read().splitlines()[-1])["hint"]
    written = len(list(Path().glob("*.png")))
    assert hint == (f"{written} {said}" if written else said)


def little_room() -> None:
    """Limit files to 20 kB. The signal of the limit is ignored, so that writing fails instead."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def test_files_may_not_be_large(start: Start) -> None:
    make_clip(frames=30)
    arguments = ("in.mp4", *TWICE, "--quiet", "--crf", 0)
    with start(*arguments, preexec_fn=little_room, variables=ONE_THREAD) as program:
        stdout, stderr = program.communicate(timeout=TIMEOUT_S)
    assert (program.returncode, stdout) == (6, b"")
    assert stderr.startswith(b"esc-upscale: in.mp4: cannot write ")
    assert stderr.count(b"\n") == 1
    assert files() == ["in.mp4"]


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[str]:
    """Yield a folder with space for two small files."""
    folder = tmp_path / "full"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield folder.name
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize(
    ("name", "options"), [("out.mp4", ("--crf", 0)), ("out.y4m", ()), ("sheet.bmp", ("--preview", 4))]
)
def test_a_full_disk(run: Run, full_disk: str, name: str, options: tuple[object, ...]) -> None:
    make_clip(frames=30)
    ended = run("in.mp4", *TWICE, "-o", f"{full_disk}/{name}", *options)
    assert ended.code == 6
    assert [line.endswith("the disk is full") for line in sentences(ended)] == [True]
    assert "object" not in ended.stderr
    assert files() == ["in.mp4"]


def make_clip_with_wma(name: str = "in.wmv") -> None:
    """Make a clip with half a second of silence as WMA, which PyAV adds to no Matroska file."""
    with av.open(name, "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        sound: Any = container.add_stream("wmav2", rate=44100, layout="stereo")
        sound.bit_rate = 128_000
        for index in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(picture(index), "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        quiet = av.AudioFrame.from_ndarray(np.zeros((2, 22050), np.float32), "fltp", "stereo")
        quiet.sample_rate, quiet.pts = 44100, 0
        for packets in (stream.encode(None), sound.encode(quiet), sound.encode(None)):
            container.mux(packets)


@pytest.mark.parametrize(
    ("choice", "note", "codecs"),
    [
        ("auto", "note: the audio track 1 (wmav2) is converted to Opus", ["h264", "opus"]),
        ("copy", "note: the audio track 1 (wmav2) cannot be kept in Matroska", ["h264"]),
        ("none", "", ["h264"]),
    ],
)
def test_what_happens_to_sound_is_said_before_the_work(
    run: Run, choice: str, note: str, codecs: list[str]
) -> None:
    make_clip_with_wma()
    ended = run("in.wmv", *TWICE, "--audio", choice)
    assert ended.code == 0
    assert note in ended.stderr.partition("nearest x2")[0]
    assert ("audio" in ended.stderr) == bool(note)
    with av.open("in_x2.mkv") as file:
        assert [stream.codec_context.name for stream in file.streams] == codecs
