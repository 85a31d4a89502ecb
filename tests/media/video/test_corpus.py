"""Test that every frame of real clips is read, with the timestamp that ffprobe reports."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from esc_cli.media.video.containers import MATROSKA, MP4
from esc_cli.media.video.reader import VideoReader
from esc_cli.media.video.stream_copy import stream_copies

CLIPS = ("nasa_rotated.mp4", "nasa_vfr_noaudio.mp4", "odd_321x241_vp9.mp4", "hevc_10bit.mp4")


@pytest.mark.parametrize("name", CLIPS)
def test_every_frame(shared: Path, ffprobe: Callable[..., Any], name: str) -> None:
    path = shared / "corpus" / "video" / name
    if not path.is_file():
        pytest.skip("the clip is not here")
    probed = ffprobe(path, "-select_streams", "v:0", "-show_streams", "-show_frames")
    base = Fraction(probed["streams"][0]["time_base"])
    with VideoReader(path) as reader:
        times = [frame.pts * reader.clip.time_base for frame in reader]
    assert times == [int(frame["pts"]) * base for frame in probed["frames"]]


def test_two_films_and_their_subtitles_are_copied(shared: Path) -> None:
    path = shared / "corpus" / "video" / "nasa_multistream_subs.mp4"
    assert stream_copies(path, MP4).streams == (1, 2, 3, 4, 5)
    assert [sentence.split(" cannot")[0] for sentence in stream_copies(path, MATROSKA).lost] == [
        "the subtitle track 2 (mov_text, eng)",
        "the subtitle track 5 (mov_text, eng)",
    ]
