import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
import torch
from av import VideoFrame, VideoStream
from hypothesis import given
from hypothesis import strategies as st

from esc_cli.errors import InputError
from esc_cli.media.video.clip import Clip, ColorTags
from esc_cli.media.video.frame import Frame
from esc_cli.media.video.frame_times import FrameTimes, Placed
from esc_cli.media.video.reader import VideoReader

Maker = Callable[..., Path]

RATE = Fraction(1, 25)
DELAY = 4
B_FRAMES = {"x264-params": "keyint=12:bframes=3:b-adapt=0:scenecut=0"}


def place(frame: Frame) -> int:
    """Return the index of a frame, which is half the first column of its red square; see ``pattern``."""
    red = frame.color[0, 0, 8:24].float().mean(0).numpy()
    return int(np.convolve(red, np.ones(16), "valid").argmax()) // 2


def given_times(source: Path, name: str, shown: Sequence[int]) -> Path:
    """Copy a clip of intra frames; packet ``i`` gets the timestamp ``shown[i]``, in frames."""
    target = source.with_name(name)
    with av.open(source) as low, av.open(target, "w", options={"use_editlist": "0"}) as high:
        stream = high.add_stream_from_template(low.streams.video[0])
        unit = int(RATE / low.streams.video[0].time_base)
        packets = [packet for packet in low.demux(video=0) if packet.size]
        for number, (packet, time) in enumerate(zip(packets, shown, strict=True)):
            packet.stream = stream
            packet.dts, packet.pts = number * unit, (time + DELAY) * unit
            high.mux(packet)
    return target


@pytest.fixture
def intra(make_clip: Maker) -> Callable[..., Path]:
    """Return a function that makes a clip in which the decoder gives each frame as it comes."""

    def make(name: str, shown: Sequence[int]) -> Path:
        options = {"x264-params": "keyint=1"}
        source = make_clip("source.mp4", times=range(len(shown)), time_base=RATE, options=options)
        return given_times(source, name, shown)

    return make


def test_frames_that_a_decoder_gives_too_early_are_put_in_order(intra: Callable[..., Path]) -> None:
    with VideoReader(intra("in.mp4", [1, 0, 2, 5, 3, 4, 6])) as reader:
        frames = list(reader)
        unit = int(RATE / reader.clip.time_base)
        again = list(reader)
    assert [place(frame) for frame in frames] == [1, 0, 2, 4, 5, 3, 6]
    assert [frame.pts // unit - DELAY for frame in frames] == list(range(7))
    assert [frame.pts for frame in again] == [frame.pts for frame in frames]


def test_equal_times_share_the_time_to_the_next_frame(intra: Callable[..., Path]) -> None:
    with VideoReader(intra("in.mp4", [0, 1, 1, 2, 3, 3, 3, 4])) as reader:
        frames = list(reader)
        unit = int(RATE / reader.clip.time_base)
    assert [place(frame) for frame in frames] == list(range(8))
    times = [Fraction(frame.pts, unit) - DELAY for frame in frames]
    third = Fraction(1, 3)
    assert [float(t) for t in times] == pytest.approx(
        [0, 1, 1.5, 2, 3, 3 + third, 3 + 2 * third, 4], abs=1e-2
    )


def test_avi_has_the_times_of_the_display_in_order(make_clip: Maker) -> None:
    """The times that are stated for these frames are 1, 4, 3, 5, 2, ..."""
    path = make_clip("in.avi", times=range(20), time_base=RATE, options=B_FRAMES)
    with av.open(path) as file:
        stated = [frame.pts for frame in file.decode(video=0)]
    assert stated != sorted(stated)
    with VideoReader(path) as reader:
        frames = list(reader)
    assert [place(frame) for frame in frames] == list(range(20))
    assert [frame.pts for frame in frames] == sorted(stated)


@pytest.mark.parametrize("name", ["in.mp4", "in.avi"])
@pytest.mark.parametrize("count", [1, 7, 12, 13, 19, 20])
def test_the_rest_of_a_clip_is_that_of_the_whole(
    make_clip: Maker, intra: Callable[..., Path], name: str, count: int
) -> None:
    if name == "in.mp4":
        path = intra(name, [1, 0, *range(2, 8), 8, 8, 9, 11, 10, *range(12, 19)])
    else:
        path = make_clip(name, times=range(20), time_base=RATE, options=B_FRAMES)
    with VideoReader(path) as reader:
        whole = list(reader)
        last = whole[count - 1]
        assert not whole[-1].can_be_sought
        rests = [list(reader.frames_after(count, pts)) for pts in (None, last.pts)]
    for rest in rests:
        assert [frame.pts for frame in rest] == [frame.pts for frame in whole[count:]]
        assert [place(frame) for frame in rest] == [place(frame) for frame in whole[count:]]


def test_the_rest_of_an_interlaced_clip_is_deinterlaced_alike(make_clip: Maker) -> None:
    """The filter needs the frame before, which is the last one that is left out."""

    def more(_: Any, stream: Any) -> None:
        flags = av.codec.context.Flags
        stream.codec_context.flags |= int(flags.interlaced_dct | flags.interlaced_me)

    options = {"x264-params": "tff=1:interlaced=1:keyint=4:bframes=0:scenecut=0"}
    path = make_clip("in.mkv", times=range(12), time_base=RATE, options=options, more=more)
    with VideoReader(path, deinterlace=True) as reader:
        assert reader.clip.interlaced
        whole = list(reader)
        for count in range(1, len(whole)):
            rest = list(reader.frames_after(count, whole[count - 1].pts))
            assert [frame.pts for frame in rest] == [frame.pts for frame in whole[count:]]
            assert all(torch.equal(a.color, b.color) for a, b in zip(rest, whole[count:], strict=True))


@pytest.mark.parametrize("first", [0, 5, 11, 12, 17, 30, 39])
@pytest.mark.parametrize("kind", ["open AVI", "joined TS"])
def test_a_part_is_the_same_where_a_seek_would_find_another_frame(
    make_clip: Maker, tmp_path: Path, kind: str, first: int
) -> None:
    """A seek finds a frame of the second part of joined recordings, and not all of an open group in AVI."""
    if kind == "open AVI":
        options = {"x264-params": "keyint=12:bframes=3:b-adapt=0:scenecut=0:open-gop=1:b-pyramid=normal"}
        path = make_clip("in.avi", times=range(40), time_base=RATE, options=options)
    else:
        once = make_clip("in.ts", times=range(20), time_base=RATE, options=B_FRAMES).read_bytes()
        path = tmp_path / "twice.ts"
        path.write_bytes(once + once)
    with VideoReader(path) as reader:
        whole, clip = list(reader), reader.clip
        rest = list(reader.frames_after(first, whole[first - 1].pts if first else None))
    assert len(whole) == 40
    assert [(frame.pts, place(frame)) for frame in rest] == [(f.pts, place(f)) for f in whole[first:]]
    start_s = whole[first].pts * clip.time_base - clip.origin_s
    with VideoReader(path, start_s=float(start_s)) as reader:
        assert [(frame.pts, place(frame)) for frame in reader] == [(f.pts, place(f)) for f in whole[first:]]


def test_the_rest_of_an_ordinary_clip_is_sought(make_clip: Maker) -> None:
    with VideoReader(make_clip(options={"x264-params": "keyint=4:bframes=2:scenecut=0"})) as reader:
        whole = list(reader)
        assert all(frame.can_be_sought for frame in whole)
        for count in range(1, len(whole) + 1):
            rest = reader.frames_after(count, whole[count - 1].pts)
            assert [frame.pts for frame in rest] == [frame.pts for frame in whole[count:]]
        # A count that is wrong makes no difference, because the last frame is found by its timestamp.
        assert [frame.pts for frame in reader.frames_after(1, whole[5].pts)] == [f.pts for f in whole[6:]]


CLIP = Clip(
    container="matroska", codec="h264", height=16, width=16, pixel_format="gray", depth_bits=8, alpha=False,
    gray=True, interlaced=False, time_base=Fraction(1, 1000), frame_rate=Fraction(25), frames=None,
    duration_s=None, color=ColorTags(), sample_aspect_ratio=None, rotation_deg=0, display_matrix=(),
    start_pts=0, origin_s=Fraction(0), hdr=None, stream_index=0,
)  # fmt: skip


def frame_times(container: str = "matroska", codec: str = "h264", start_pts: int = 0) -> FrameTimes:
    with av.open(io.BytesIO(), "w", format="matroska") as file:
        stream = cast(VideoStream, file.add_stream(codec, rate=25))
        return FrameTimes(replace(CLIP, container=container, start_pts=start_pts), stream)


def timed(
    stamps: Sequence[int | None], container: str = "matroska", codec: str = "h264"
) -> list[tuple[int, int]]:
    """Return the number and the timestamp of each frame, for given timestamps in the decoder's order."""

    def frames() -> Iterator[Placed]:
        for number, stamp in enumerate(stamps):
            frame = VideoFrame(16, 16, "gray")
            np.frombuffer(memoryview(frame.planes[0]), np.uint8)[0] = number
            yield Placed(frame, stamp, 40)

    made = frame_times(container, codec, stamps[0] or 0).ordered(frames())
    return [(memoryview(placed.frame.planes[0])[0], placed.pts or 0) for placed in made]


def test_frames_without_a_time_follow() -> None:
    assert timed([100, None, None, 300]) == [(0, 100), (1, 140), (2, 180), (3, 300)]


@pytest.mark.parametrize("codec", ["h264", "ffv1"])
@pytest.mark.parametrize("frames", [10, 60])
def test_times_that_begin_again_go_on(frames: int, codec: str) -> None:
    once = [40 * index for index in range(frames)]
    assert timed(once + once, codec=codec) == [(index, 40 * index) for index in range(2 * frames)]


def test_frames_of_a_codec_without_reordering_are_not_exchanged() -> None:
    assert timed([0, 80, 40, 120], codec="ffv1") == [(0, 0), (1, 40), (2, 80), (3, 120)]


def test_frames_before_damage_are_given() -> None:
    def broken() -> Iterator[Placed]:
        for stamp in (0, 40, 80):
            yield Placed(VideoFrame(16, 16, "gray"), stamp, 40)
        raise InputError("damaged")

    times = frame_times()
    frames = times.ordered(broken())
    assert [next(frames).pts for _ in range(3)] == [0, 40, 80]
    with pytest.raises(InputError, match="damaged"):
        next(frames)


@given(st.lists(st.none() | st.integers(0, 4000), min_size=1, max_size=60), st.sampled_from(["avi", "mp4"]))
def test_every_frame_is_given_once_and_later_than_the_one_before(
    stamps: list[int | None], container: str
) -> None:
    made = timed(stamps, container)
    assert sorted(number for number, _ in made) == list(range(len(stamps)))
    assert all(a < b for (_, a), (_, b) in pairwise(made))


@given(st.sets(st.integers(0, 10**6), min_size=1, max_size=60))
def test_times_in_order_stay(stamps: set[int]) -> None:
    assert [pts for _, pts in timed(sorted(stamps))] == sorted(stamps)
