"""Test that sound stays where it was against the picture, in every container and with every cut."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.container import InputContainer

from esc_cli.media.video.containers import container_by_extension
from esc_cli.media.video.encode_settings import EncodeSettings
from esc_cli.media.video.encoding import SegmentWriter
from esc_cli.media.video.mux import mux
from esc_cli.media.video.reader import VideoReader
from esc_cli.media.video.settings import check_settings

FRAMES, RATE, SAMPLES = 40, 25, 48000
FLASH, CLICK_S = 20, 0.8
"""The white frame, and the time of the click in the sound, which are at the same time without an offset."""

TOLERANCE_S = 0.002
OPTIONS = {"x264-params": "bframes=2:b-adapt=0", "preset": "ultrafast"}
CUTS = ((None, None), (None, 1.35), (0.2, 1.35))


def pictures(stream: Any) -> list[Any]:
    packets = []
    for index in range(FRAMES):
        picture = np.full((32, 32), 235 if index == FLASH else 16, np.uint8)
        frame = av.VideoFrame.from_ndarray(picture, "gray").reformat(format="yuv420p")
        frame.pts, frame.time_base = index * 1000 // RATE, Fraction(1, 1000)
        packets += stream.encode(frame)
    return packets + list(stream.encode(None))


def sound(stream: Any) -> list[Any]:
    samples = np.zeros((1, FRAMES * SAMPLES // RATE), np.float32)
    samples[0, int(CLICK_S * SAMPLES) :][:48] = 0.9
    packets = []
    for start in range(0, samples.shape[1], 1536):
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples[:, start : start + 1536]), "fltp", "mono"
        )
        frame.sample_rate, frame.pts = SAMPLES, start
        packets += stream.encode(frame)
    return packets + list(stream.encode(None))


def made(path: Path, offset_ms: int, video_codec: str = "libx264", sound_codec: str = "ac3") -> Path:
    """Make a clip with a flash and a click, which comes later by an offset."""
    options = OPTIONS if video_codec == "libx264" else {}
    with av.open(path, "w") as target:
        video: Any = target.add_stream(video_codec, rate=RATE, options=options)
        video.height = video.width = 32
        unit = Fraction(1, RATE) if path.suffix == ".avi" else Fraction(1, 1000)
        video.pix_fmt, video.codec_context.time_base = "yuv420p", unit
        audio = target.add_stream(sound_codec, rate=SAMPLES, layout="mono")
        streams = [(pictures(video), max(0, -offset_ms)), (sound(audio), max(0, offset_ms))]
        for packets, delay_ms in streams:
            for packet in packets:
                delay = round(Fraction(delay_ms, 1000) / packet.time_base)
                packet.pts, packet.dts = packet.pts + delay, packet.dts + delay
        both = [packet for packets, _ in streams for packet in packets]
        for packet in sorted(both, key=lambda packet: packet.dts * packet.time_base):
            target.mux(packet)
    return path


def doubled(source: Path, target: Path, start_s: float | None, end_s: float | None) -> Path:
    container = container_by_extension(target)
    assert container is not None
    segment = target.with_suffix(".segment")
    with VideoReader(source, start_s=start_s, end_s=end_s) as reader:
        clip, settings = reader.clip, EncodeSettings(options=tuple(OPTIONS.items()))
        with SegmentWriter(segment, clip, 32, 32, check_settings(clip, container, settings)) as writer:
            for frame in reader:
                writer.write(frame)
    mux([segment], source, target, container, clip, start_s=start_s, end_s=end_s)
    return target


def distance_s(path: Path) -> float:
    """Return the time from the flash to the click, as a player has it."""
    with av.open(path) as file:
        flash = next(
            frame.time for frame in file.decode(video=0) if frame.to_ndarray(format="gray").mean() > 128
        )
    with av.open(path) as file:
        return click_s(file) - flash


def click_s(file: InputContainer) -> float:
    for frame in file.decode(audio=0):
        loud = (np.abs(frame.to_ndarray()[0]) > 0.4).nonzero()[0]
        if len(loud):
            return float(frame.time + loud[0] / SAMPLES)
    raise AssertionError("there is no click")


@pytest.mark.parametrize("offset_ms", [-500, -11, 67, 500])
@pytest.mark.parametrize("kind", ["mp4", "mov", "mkv", "ts"])
def test_sound_keeps_its_distance_to_the_picture(tmp_path: Path, kind: str, offset_ms: int) -> None:
    source = made(tmp_path / f"in.{kind}", offset_ms)
    before = distance_s(source)
    assert before == pytest.approx(offset_ms / 1000, abs=0.01)  # the delay of the codec of the sound
    moved = {}
    for extension in ("mp4", "mkv", "mov"):
        for cut in CUTS:
            target = doubled(source, tmp_path / f"out.{extension}", *cut)
            moved[extension, cut] = abs(distance_s(target) - before)
    assert {where: s for where, s in moved.items() if s > TOLERANCE_S} == {}


@pytest.mark.parametrize("sound_codec", ["ac3", "aac", "adpcm_ms"])
def test_a_container_that_counts_frames_and_packets_stays_synchronous(
    tmp_path: Path, sound_codec: str
) -> None:
    source = made(tmp_path / "in.avi", 0, "mpeg4", sound_codec)
    with av.open(source) as file:
        assert file.streams.video[0].time_base == Fraction(1, RATE)
    before = distance_s(source)
    moved = {}
    for extension in ("mp4", "mkv", "mov"):
        for start_s in (0.13, 0.19, 0.41, 0.72):
            target = doubled(source, tmp_path / f"out.{extension}", start_s, None)
            moved[extension, start_s] = abs(distance_s(target) - before)
    assert {where: s for where, s in moved.items() if s > TOLERANCE_S} == {}


@pytest.mark.parametrize("kind", ["mp4", "mov", "mkv", "ts", "vob"])
def test_nothing_is_cut_off_without_a_cut(tmp_path: Path, kind: str) -> None:
    source = made(tmp_path / f"in.{kind}", -11)
    packets: list[list[bytes]] = []
    for path in (source, doubled(source, tmp_path / "out.mkv", None, None)):
        with av.open(path) as file:
            packets.append([bytes(packet) for packet in file.demux(audio=0) if packet.size])
    assert packets[0] == packets[1]
