"""Sound that a container does not hold is converted in step, in its layout, and without loss if possible."""

import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from esc_cli.media.video.containers import CONTAINERS, MATROSKA, MOV, MP4, WEBM, Container
from esc_cli.media.video.encode_settings import EncodeSettings
from esc_cli.media.video.encoding import SegmentWriter
from esc_cli.media.video.mux import mux
from esc_cli.media.video.reader import VideoReader
from esc_cli.media.video.settings import check_settings
from esc_cli.media.video.stream_copy import stream_copies

Clicks = Callable[..., Path]
CLICKS_S = (0.25, 0.75, 1.25, 1.75)
FILES = [container for container in CONTAINERS if not container.is_raw]


def clicks(rate: int, channels: int, seconds: int = 2) -> Any:
    """Return soft clicks, 2 ms long, one after the other; those of the second channel are half as loud."""
    times = np.arange(seconds * rate) / rate
    one = sum(
        np.exp(-(((times - click) / 0.001) ** 2)) * np.cos(2 * np.pi * 1500 * (times - click))
        for click in CLICKS_S
    )
    return np.stack([one * 0.8 / (1 + channel) for channel in range(channels)]).astype(np.float32)


@pytest.fixture
def clicking(tmp_path: Path) -> Clicks:
    """Return a function that makes a clip with clicks in a track of sound."""

    def make(
        name: str,
        codec: str,
        *,
        rate: int = 44100,
        layout: str = "stereo",
        gap: bool = False,
        begins_s: int = 0,
    ) -> Path:
        with av.open(tmp_path / name, "w") as target:
            pictures = target.add_stream("mpeg4", rate=25)
            pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
            sound = target.add_stream(codec, rate=rate, layout=layout)
            sound.bit_rate = {"libopencore_amrnb": 12200}.get(codec, 128000)
            sound.metadata.update({"language": "fra", "title": "Commentary"})
            for number in range(0, 50 + 25 * begins_s, 5 if begins_s else 1):
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number % 50 * 4, np.uint8), "rgb24")
                frame = frame.reformat(format="yuv420p")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                target.mux(pictures.encode(frame))
            target.mux(pictures.encode(None))
            signal = clicks(rate, sound.codec_context.layout.nb_channels)
            step = rate // 50
            for start in range(0, signal.shape[1], step):
                if gap and 0.9 * rate <= start < 1.1 * rate:
                    continue  # nothing was recorded here
                part = np.ascontiguousarray(signal[:, start : start + step])
                frame = av.AudioFrame.from_ndarray(part, "fltp", layout)
                frame.sample_rate, frame.pts = rate, start + begins_s * rate
                frame.time_base = Fraction(1, rate)
                target.mux(sound.encode(frame))
            target.mux(sound.encode(None))
        return tmp_path / name

    return make


def enlarged(source: Path, container: Container, **cut: float) -> Path:
    target = source.with_name(f"out{container.extensions[0]}")
    with VideoReader(source, **cut) as reader:
        clip = reader.clip
        settings = check_settings(clip, container, EncodeSettings())
        with SegmentWriter(source.with_name("segment"), clip, 96, 128, settings) as writer:
            for frame in reader:
                color = frame.color.repeat_interleave(2, -1).repeat_interleave(2, -2)
                writer.write(type(frame)(color, frame.pts, frame.duration))
    mux([source.with_name("segment")], source, target, container, clip, **cut)
    return target


def heard_s(path: Path) -> list[float]:
    """Return the times of the clicks in a file, as a player hears them."""
    times, values, end_s = [], [], 0.0
    with av.open(path) as file:
        resampler = av.AudioResampler("fltp")
        for frame in file.decode(audio=0):
            for part in resampler.resample(frame):
                loud = np.abs(part.to_ndarray()[0])
                start_s = end_s if frame.pts is None else float(frame.pts * frame.time_base)
                times.append(start_s + np.arange(len(loud)) / part.sample_rate)
                end_s = start_s + len(loud) / part.sample_rate
                values.append(loud)
    time, value = np.concatenate(times), np.concatenate(values)
    found, least = [], value.max() / 2
    while value.max() > least:
        peak = time[value.argmax()]
        near = np.abs(time - peak) < 0.01
        found.append(float((time[near] * value[near] ** 2).sum() / (value[near] ** 2).sum()))
        value[np.abs(time - peak) < 0.1] = 0
    return sorted(found)


def sound_of(path: Path) -> Any:
    """Return the name, layout, language and title of the track of sound."""
    with av.open(path) as file:
        (stream,) = file.streams.audio
        tags = {key.lower(): value for key, value in stream.metadata.items()}
        title = tags.get("title") or tags.get("name")
        return stream.codec_context.name, stream.codec_context.layout.name, stream.language, title


CONVERSIONS = (
    ("in.wmv", "wmav2", 44100, "stereo", MATROSKA, "opus", "Opus"),
    ("in.avi", "adpcm_ms", 44100, "stereo", MATROSKA, "opus", "Opus"),
    ("in.avi", "adpcm_ima_wav", 22050, "mono", MATROSKA, "opus", "Opus"),
    ("in.avi", "pcm_mulaw", 8000, "mono", MATROSKA, "opus", "Opus"),
    ("in.3gp", "libopencore_amrnb", 8000, "mono", MP4, "aac", "AAC"),
    ("in.mkv", "wavpack", 44100, "stereo", MP4, "flac", "FLAC"),
    ("in.mkv", "flac", 44100, "stereo", MOV, "alac", "Apple Lossless"),
    ("in.mp4", "aac", 48000, "5.1", WEBM, "opus", "Opus"),
    ("in.mkv", "ac3", 48000, "5.1(side)", WEBM, "opus", "Opus"),
    ("in.mkv", "libopus", 48000, "stereo", MOV, "aac", "AAC"),
)


@pytest.mark.parametrize("case", CONVERSIONS, ids=lambda case: f"{case[1]} to {case[5]}")
def test_converted_sound_stays_in_step(
    clicking: Clicks, case: tuple[str, str, int, str, Container, str, str]
) -> None:
    name, codec, rate, layout, container, made, said = case
    source = clicking(name, codec, rate=rate, layout=layout)
    copies = stream_copies(source, container)
    assert (copies.streams, copies.lost) == ((), ())
    (note,) = copies.notes
    assert note.startswith("the audio track 1 (")
    assert f") is converted to {said}" in note
    target = enlarged(source, container)
    before, after = heard_s(source), heard_s(target)
    assert len(before) == len(CLICKS_S)
    assert after == pytest.approx(before, abs=0.002)
    assert sound_of(target)[:2] == (made, layout.replace("(side)", ""))


def test_a_part_stays_in_step(clicking: Clicks) -> None:
    source = clicking("in.wmv", "wmav2")
    for container in (MATROSKA, MP4):
        heard = heard_s(enlarged(source, container, start_s=0.52, end_s=1.52))
        assert heard == pytest.approx([time - 0.52 for time in heard_s(source)[1:3]], abs=0.002)


def test_gaps_in_sound_stay_gaps(clicking: Clicks) -> None:
    source = clicking("in.mkv", "ac3", gap=True)
    assert heard_s(enlarged(source, WEBM)) == pytest.approx(heard_s(source), abs=0.002)


def test_lossless_sound_stays_the_same_to_the_last_bit(clicking: Clicks) -> None:
    source = clicking("in.mkv", "wavpack")
    with av.open(source) as low, av.open(enlarged(source, MP4)) as high:
        before, after = (
            np.concatenate([part.to_ndarray() for part in _integers(file)], axis=1) for file in (low, high)
        )
    assert before.shape[1] > 80_000
    assert (before == after).all()


def _integers(file: Any) -> list[Any]:
    resampler = av.AudioResampler("s32p")
    return [part for frame in file.decode(audio=0) for part in resampler.resample(frame)]


@pytest.mark.parametrize("container", FILES, ids=lambda one: one.name)
def test_each_container_holds_what_it_converts_to(clicking: Clicks, container: Container) -> None:
    source = clicking("in.wmv", "wmav2")
    name = sound_of(enlarged(source, container))[0]
    assert name == container.sound[0].ffmpeg_name.removeprefix("lib")
    with av.open(io.BytesIO(), "w", format=container.ffmpeg_name) as file:
        for encoder in container.sound:
            assert file.add_stream(encoder.ffmpeg_name, rate=48000).type == "audio"
        file.start_encoding()


def test_language_and_title_are_kept(clicking: Clicks) -> None:
    source = clicking("in.mkv", "wavpack")
    for container in (WEBM, MP4):
        assert sound_of(enlarged(source, container))[2:] == ("fra", "Commentary")
    for container in (MATROSKA, MP4):
        assert sound_of(enlarged(clicking("in.mp4", "aac"), container))[2:] == ("fra", "Commentary")


def test_sound_is_left_out_on_request(clicking: Clicks) -> None:
    source = clicking("in.wmv", "wmav2")
    copies = stream_copies(source, MATROSKA, "copy")
    assert copies.notes == copies.lost == ("the audio track 1 (wmav2, fre) cannot be kept in Matroska",)
    for choice in ("copy", "none"):
        assert not stream_copies(source, MATROSKA, choice).conversions
    held = clicking("in.mp4", "aac")
    assert stream_copies(held, MP4, "copy").streams == (1,)
    assert stream_copies(held, MP4, "none").streams == stream_copies(held, MP4, "none").notes == ()


def test_sound_that_begins_late_is_copied(clicking: Clicks) -> None:
    """FFmpeg looks for the parameters of a track only in the first seconds of a file."""
    source = clicking("in.ts", "aac", begins_s=60)
    with av.open(source) as file:
        assert file.streams.audio[0].codec_context.channels == 0
    copies = stream_copies(source, MATROSKA)
    assert (copies.streams, copies.notes) == ((1,), ())
    target = enlarged(source, MATROSKA, start_s=59.5)
    assert sound_of(target)[:2] == ("aac", "stereo")
    assert heard_s(target) == pytest.approx([time + 0.5 for time in CLICKS_S], abs=0.002)


def test_packets_that_a_muxer_refuses_are_converted(clicking: Clicks, tmp_path: Path) -> None:
    """The muxer of MOV takes AMR, but not several frames of it in one packet."""
    source, joined = clicking("in.3gp", "libopencore_amrnb", rate=8000, layout="mono"), tmp_path / "in.nut"
    assert stream_copies(source, MOV).streams == (1,)
    with av.open(source) as low, av.open(joined, "w") as high:
        streams = [high.add_stream_from_template(stream, opaque=True) for stream in low.streams]
        first: Any = None
        for packet in low.demux():
            if packet.size and packet.stream.type == "video":
                packet.stream = streams[0]
                high.mux(packet)
            elif packet.size and first is None:
                first = packet
            elif packet.size:
                both = av.Packet(bytes(first) + bytes(packet))
                both.pts, both.dts, both.time_base = first.pts, first.dts, first.time_base
                both.stream, both.is_keyframe, first = streams[1], True, None
                high.mux(both)
    copies = stream_copies(joined, MOV)
    assert copies.streams == ()
    assert copies.notes == ("the audio track 1 (amrnb) is converted to AAC",)
    assert heard_s(enlarged(joined, MOV)) == pytest.approx(heard_s(joined), abs=0.002)


@pytest.mark.parametrize(
    ("codec", "rate", "container", "said"),
    [
        ("pcm_s16le", 44100, MP4, "FLAC"),
        ("pcm_s24le", 44100, MP4, "FLAC"),
        ("pcm_f32le", 44100, MP4, "FLAC, and its floats of 32 bits become 24 bits"),
        ("pcm_s16le", 48000, WEBM, "Opus, which is lossy"),
        ("flac", 96000, WEBM, "Opus, which is lossy, and its 96000 Hz become 48000 Hz"),
    ],
)
def test_what_becomes_less_is_said(
    clicking: Clicks, codec: str, rate: int, container: Container, said: str
) -> None:
    source = clicking("in.mkv", codec, rate=rate)
    notes = stream_copies(source, container).notes
    assert notes == (f"the audio track 1 ({codec}, fra) is converted to {said}",)
