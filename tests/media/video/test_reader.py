import os
from collections.abc import Callable
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from torch.nn import functional

from esc_cli.errors import DamageError, InputError
from esc_cli.media.video.decoding import _Awaited
from esc_cli.media.video.reader import Damage, VideoReader

Maker = Callable[..., Path]
Probe = Callable[..., Any]

RATE = Fraction(1001, 30000)
TIMES = (0, 1001, 2002, 4004, 5005, 9009, 10010, 11011, 12012, 15015)


def times(reader: VideoReader) -> list[int]:
    return [frame.pts for frame in reader]


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_every_frame_with_its_time_by_ffprobe(make_clip: Maker, ffprobe: Probe, name: str) -> None:
    path = make_clip(name)
    seen = [int(frame["pts"]) for frame in ffprobe(path, "-show_frames")["frames"]]
    with VideoReader(path) as reader:
        assert times(reader) == seen
    assert len(seen) == len(TIMES)


def test_tensors(make_clip: Maker) -> None:
    with VideoReader(make_clip()) as reader:
        frame = next(iter(reader))
    assert frame.color.shape == (1, 3, 48, 64)
    assert frame.color.dtype == torch.uint8
    assert frame.alpha is None
    assert frame.duration == 1001
    with VideoReader(make_clip("b.mkv", codec="ffv1", pixel_format="yuv420p10le")) as reader:
        assert next(iter(reader)).color.dtype == torch.uint16


def test_the_first_frame_is_seen_and_still_to_be_read(make_clip: Maker) -> None:
    with make_clip().open("rb") as file, VideoReader(file) as reader:
        seen = reader.peek()
        frames = list(reader)
    assert len(frames) == len(TIMES)
    assert torch.equal(seen, frames[0].color)


def test_alpha_of_webm(make_clip: Maker) -> None:
    path = make_clip("a.webm", codec="libvpx-vp9", pixel_format="yuva420p")
    with VideoReader(path) as reader:
        assert reader.clip.alpha
        frames = list(reader)
    assert [frame.alpha is not None and frame.alpha.shape == (1, 1, 48, 64) for frame in frames] == [
        True
    ] * 10


def test_gray_stays_gray(make_clip: Maker) -> None:
    with VideoReader(make_clip("a.mkv", codec="ffv1", pixel_format="gray")) as reader:
        red, green, blue = next(iter(reader)).color[0]
    assert torch.equal(red, green)
    assert torch.equal(red, blue)


@pytest.mark.parametrize("first", range(len(TIMES)))
def test_frames_from_a_time_are_those_of_the_whole(make_clip: Maker, first: int) -> None:
    path = make_clip(options={"x264-params": "keyint=4:bframes=2:scenecut=0"})
    with VideoReader(path) as reader:
        whole = list(reader)
        part = list(reader.frames_from(TIMES[first]))
    assert [frame.pts for frame in part] == list(TIMES[first:])
    assert all(torch.equal(a.color, b.color) for a, b in zip(whole[first:], part, strict=True))


def test_start_and_end_are_exact(make_clip: Maker) -> None:
    with VideoReader(make_clip(), start_s=2003 / 30000, end_s=10010 / 30000) as reader:
        assert times(reader) == [4004, 5005, 9009]
        assert times(reader) == [4004, 5005, 9009]


def test_a_frame_without_a_time_follows_the_one_before(make_clip: Maker) -> None:
    """AVI has no presentation timestamps."""
    path = make_clip("a.avi", codec="mpeg4", times=range(10), time_base=RATE, options={"bf": "2"})
    with VideoReader(path) as reader:
        seen = times(reader)
    assert len(seen) == 10
    assert len({b - a for a, b in pairwise(seen)}) == 1


def test_a_pipe_of_yuv4mpeg2(make_clip: Maker, ffmpeg: Callable[..., bytes]) -> None:
    path = make_clip()
    content = ffmpeg("-i", path, "-fps_mode", "passthrough", "-f", "yuv4mpegpipe", "-")
    low, high = os.pipe()
    with os.fdopen(high, "wb") as writer, os.fdopen(low, "rb") as pipe:
        writer.write(content)
        writer.close()
        with VideoReader(pipe) as reader:
            assert reader.clip.container == "yuv4mpegpipe"
            assert times(reader) == list(range(10))


def test_interlaced_is_refused_and_made_whole(make_clip: Maker) -> None:
    def more(_: Any, stream: Any) -> None:
        stream.codec_context.flags |= int(
            av.codec.context.Flags.interlaced_dct | av.codec.context.Flags.interlaced_me
        )

    path = make_clip(options={"x264-params": "tff=1:interlaced=1"}, more=more)
    with pytest.raises(InputError, match="is interlaced") as refused, VideoReader(path):
        pass
    assert refused.value.hint == "use --deinterlace"
    with VideoReader(path, deinterlace=True) as reader:
        assert reader.clip.interlaced
        assert times(reader) == list(TIMES)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.99])
def test_a_cut_off_file_is_refused(make_clip: Maker, name: str, part: float) -> None:
    path = make_clip(name)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(InputError, match="cut off"), VideoReader(path) as reader:
        list(reader)


CODECS = {
    "a.mp4": ("libx264", {"x264-params": "keyint=12:bframes=2:scenecut=0"}),
    "a.mkv": ("libx264", {"x264-params": "keyint=12:bframes=2:scenecut=0"}),
    "b.mp4": ("mpeg4", {"g": "12", "bf": "2"}),
    "b.avi": ("mpeg4", {"g": "12", "bf": "2"}),
    "d.mov": ("mjpeg", {"strict": "unofficial"}),
}
COUNT = 30


@pytest.fixture
def make_damaged(make_clip: Maker) -> Callable[..., tuple[list[int], Path]]:
    """Return a function that makes a clip and overwrites packets.

    The function returns the timestamps of all frames when they were whole, and the damaged file.
    """

    def make(name: str, *numbers: int) -> tuple[list[int], Path]:
        codec, options = CODECS[name]
        path = make_clip(name, codec=codec, options=options, times=range(COUNT), time_base=RATE)
        with VideoReader(path) as reader:
            whole = times(reader)
        content = path.read_bytes()
        with av.open(path) as file:
            packets = [bytes(packet) for packet in file.demux(video=0) if packet.size]
        for number in numbers:
            assert content.count(packets[number]) == 1
            content = content.replace(packets[number], bytes(len(packets[number])))
        path.write_bytes(content)
        return whole, path

    return make


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("number", [15, COUNT - 1])
def test_the_last_good_frame_stands_in_for_a_lost_one(
    make_damaged: Callable[..., Any], name: str, number: int
) -> None:
    whole, path = make_damaged(name, number)
    with VideoReader(path) as reader:
        frames = list(reader)
    assert [frame.pts for frame in frames] == whole
    (lost,) = [index for index, frame in enumerate(frames) if frame.damage.lost]
    assert torch.equal(frames[lost].color, frames[lost - 1].color)
    with pytest.raises(DamageError, match="is damaged at"), VideoReader(path, strict=True) as reader:
        list(reader)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_frames_that_depend_on_a_lost_keyframe_are_lost(make_damaged: Callable[..., Any], name: str) -> None:
    whole, path = make_damaged(name, 12)
    with VideoReader(path) as reader:
        frames = list(reader)
    assert [frame.pts for frame in frames] == whole
    lost = [index for index, frame in enumerate(frames) if frame.damage.lost]
    assert 8 < len(lost) < 12
    assert all(torch.equal(frames[index].color, frames[lost[0] - 1].color) for index in lost)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "b.mp4", "b.avi"])
@pytest.mark.parametrize("number", [12, 15])
def test_frames_from_a_time_are_those_of_the_whole_also_where_they_are_lost(
    make_damaged: Callable[..., Any], name: str, number: int
) -> None:
    _, path = make_damaged(name, number)
    with VideoReader(path) as reader:
        whole = list(reader)
        for first in range(8, 28):
            part = list(reader.frames_from(whole[first].pts))
            assert [(frame.pts, frame.damage) for frame in part] == [
                (frame.pts, frame.damage) for frame in whole[first:]
            ]
            assert all(torch.equal(a.color, b.color) for a, b in zip(whole[first:], part, strict=True))


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("start_s", [None, 0.3])
def test_the_rest_of_a_damaged_clip_is_that_of_the_whole(
    make_damaged: Callable[..., Any], name: str, start_s: float | None
) -> None:
    _, path = make_damaged(name, 15)
    with VideoReader(path, start_s=start_s) as reader:
        whole = list(reader)
        assert sum(frame.damage.lost for frame in whole) == 1
        for count in range(len(whole) + 1):
            rest = list(reader.frames_after(count, whole[count - 1].pts if count else None))
            assert [(frame.pts, frame.damage) for frame in rest] == [
                (frame.pts, frame.damage) for frame in whole[count:]
            ]
            assert all(torch.equal(a.color, b.color) for a, b in zip(whole[count:], rest, strict=True))


def test_lost_frames_of_an_interlaced_clip(make_clip: Maker) -> None:
    def interlace(_: Any, stream: Any) -> None:
        flags = av.codec.context.Flags
        stream.codec_context.flags |= int(flags.interlaced_dct | flags.interlaced_me)

    options = {"x264-params": "tff=1:interlaced=1:keyint=4:bframes=0:scenecut=0"}
    path = make_clip("in.mkv", times=range(12), time_base=RATE, options=options, more=interlace)
    with VideoReader(path, deinterlace=True) as reader:
        whole = times(reader)
    content = path.read_bytes()
    with av.open(path) as file:
        packet = [bytes(packet) for packet in file.demux(video=0)][6]
    path.write_bytes(content.replace(packet, bytes(len(packet))))
    with VideoReader(path, deinterlace=True) as reader:
        frames = list(reader)
    assert [frame.pts for frame in frames] == whole
    assert [number for number, frame in enumerate(frames) if frame.damage.lost] == [6]


def test_frames_before_the_first_good_one_are_counted(make_damaged: Callable[..., Any]) -> None:
    whole, path = make_damaged("a.mp4", 0)
    with VideoReader(path) as reader:
        assert times(reader) == whole[12:]
        assert reader.skipped == 12


@pytest.mark.parametrize("name", ["b.mp4", "b.avi"])
def test_frames_behind_a_lost_first_one_keep_their_times(make_damaged: Callable[..., Any], name: str) -> None:
    """The decoder yields frames out of order and twice."""
    whole, path = make_damaged(name, 0)
    with VideoReader(path) as reader:
        seen = times(reader)
        assert [time for time in whole if time >= seen[0]] == seen
        assert len(seen) >= COUNT - 3


def test_a_frame_that_is_missing_in_the_file_leaves_the_others_their_times(
    make_clip: Maker, tmp_path: Path
) -> None:
    path, cut = make_clip("a.mkv", codec="mpeg4", times=range(COUNT), time_base=RATE), tmp_path / "cut.mkv"
    with av.open(path) as file, av.open(cut, "w") as target:
        stream = target.add_stream_from_template(file.streams.video[0])
        for number, packet in enumerate(file.demux(video=0)):
            if packet.size and number != 15:
                packet.stream = stream
                target.mux(packet)
    with VideoReader(path) as reader:
        whole = times(reader)
    with VideoReader(cut) as reader:
        assert times(reader) == whole[:15] + whole[16:]


def test_damaged_packets_of_a_stream_with_several_for_a_frame() -> None:
    """The second field of a frame has a packet of its own, and no frame comes out for it."""
    awaited = _Awaited()

    def decode(fails: bool, pts: int) -> list[int | None]:
        for time in (pts, pts + 1):
            packet = av.Packet(b"1")
            packet.pts = time
            awaited.add(packet)
            if fails:
                awaited.fail(time)
        if fails:
            return []
        frame = av.VideoFrame(16, 16)
        frame.pts = pts
        return awaited.arrived(frame)

    assert [decode(False, pts) for pts in (0, 2, 4)] == [[], [], []]
    decode(True, 6)
    assert decode(False, 8) == [6, 7]
    assert decode(False, 10) == []  # 9 is a second field, although the damage is not long ago


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "b.avi"])
@pytest.mark.parametrize("rest", [b"\n", b"hello, world, this is no box", b"\xff" * 40])
def test_stray_bytes_behind_a_clip_do_not_matter(make_clip: Maker, name: str, rest: bytes) -> None:
    codec, options = CODECS[name]
    path = make_clip(name, codec=codec, options=options)
    path.write_bytes(path.read_bytes() + rest)
    with VideoReader(path) as reader:
        assert len(times(reader)) == len(TIMES)


@pytest.mark.parametrize("deinterlace", [False, True])
def test_frames_of_another_size_are_resized(tmp_path: Path, make_clip: Maker, deinterlace: bool) -> None:
    """Broadcasts change their size between programs, and browsers when a network is slow."""
    small = make_clip("a.ts", codec="mpeg2video", times=range(10), time_base=RATE, size=(48, 64))
    large = make_clip("b.ts", codec="mpeg2video", times=range(10), time_base=RATE, size=(96, 128))
    both = tmp_path / "both.ts"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    with av.open(both) as file:
        heights = [frame.height for frame in file.decode(video=0)]
    with VideoReader(large) as reader:
        expected = functional.interpolate(next(iter(reader)).color.float(), (48, 64), mode="area")
    with VideoReader(both, deinterlace=deinterlace) as reader:
        frames = list(reader)
        rest = list(reader.frames_after(15, None))
    assert [frame.damage for frame in frames] == [Damage(resized=height != 48) for height in heights]
    assert set(heights) == {48, 96}
    assert {frame.color.shape for frame in frames} == {(1, 3, 48, 64)}
    difference = (frames[heights.index(96)].color.float() - expected).abs()
    assert difference.mean() < 3
    assert all(torch.equal(a.color, b.color) for a, b in zip(rest, frames[15:], strict=True))
    with pytest.raises(InputError, match="from 64x48 to 128x96"), VideoReader(both, strict=True) as reader:
        list(reader)


def test_a_stream_without_a_container_is_read_from_its_middle(tmp_path: Path) -> None:
    """It has no index, so it is opened again and decoded from the beginning."""
    path = tmp_path / "in.264"
    with av.open(path, "w", format="h264") as target:
        stream: Any = target.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for index in range(12):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * index, np.uint8), "rgb24")
            frame.pts = index
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    with VideoReader(path) as reader:
        whole = list(reader)
        rest = list(reader.frames_after(5, None))
        later = list(reader.frames_from(whole[7].pts))
    assert len(whole) == 12
    for part, expected in ((rest, whole[5:]), (later, whole[7:])):
        assert [frame.pts for frame in part] == [frame.pts for frame in expected]
        assert all(torch.equal(a.color, b.color) for a, b in zip(part, expected, strict=True))


PARTS = {
    "closed.mp4": ("libx264", {"x264-params": "keyint=12:bframes=2:scenecut=0"}),
    "open.mkv": ("libx264", {"x264-params": "keyint=12:bframes=3:b-adapt=0:scenecut=0:open-gop=1"}),
    "refreshed.mp4": ("libx264", {"x264-params": "keyint=12:scenecut=0:intra-refresh=1:bframes=0"}),
    "recorded.ts": ("libx264", {"x264-params": "keyint=12:bframes=2:scenecut=0"}),
    "h265.mp4": ("libx265", {"x265-params": "keyint=12:bframes=3:scenecut=0:open-gop=1:log-level=0"}),
    "mpeg4.mov": ("mpeg4", {"g": "12", "bf": "2"}),
    "mpeg2.mkv": ("mpeg2video", {"g": "12", "bf": "2"}),
    "vp9.webm": ("libvpx-vp9", {"g": "12", "deadline": "realtime", "cpu-used": "8"}),
    "raw.y4m": ("wrapped_avframe", {}),
}
VARIABLE_TIMES = [number * 1001 + 400 * (number % 3) for number in range(40)]


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize(("start_s", "end_s"), [(None, None), (0.3, 1.1)])
def test_parts_of_a_clip_are_those_of_the_whole(
    make_clip: Maker, name: str, start_s: float | None, end_s: float | None
) -> None:
    codec, options = PARTS[name]
    steady = name in ("raw.y4m", "mpeg2.mkv")
    path = make_clip(
        name,
        codec=codec,
        options=options,
        times=range(40) if steady else VARIABLE_TIMES,
        time_base=RATE if steady else Fraction(1, 30000),
    )
    with VideoReader(path, start_s=start_s, end_s=end_s) as reader:
        whole = list(reader)
    with VideoReader(path, start_s=start_s, end_s=end_s) as reader:
        expected = reader.times()
        assert expected == tuple(frame.pts for frame in whole)
        for first in range(7, len(whole), 7):
            part = islice(reader.frames_after(first, expected[first - 1]), 7)
            for frame, other in zip(part, whole[first : first + 7], strict=True):
                assert (frame.pts, frame.duration) == (other.pts, other.duration)
                assert torch.equal(frame.color, other.color)


@pytest.mark.parametrize("kind", ["AVI", "interlaced", "skipped", "joined"])
def test_clips_whose_packets_do_not_tell_the_frames(
    make_clip: Maker, make_damaged: Callable[..., Any], tmp_path: Path, kind: str
) -> None:
    if kind == "skipped":
        _, path = make_damaged("a.mp4", 0)
    elif kind == "joined":
        once = make_clip("in.ts", times=range(20), time_base=RATE).read_bytes()
        path = tmp_path / "twice.ts"
        path.write_bytes(once + once)
    else:
        path = make_clip("in.avi" if kind == "AVI" else "in.mkv", times=range(20), time_base=RATE)
    with VideoReader(path, deinterlace=kind == "interlaced") as reader:
        assert reader.times() is None
