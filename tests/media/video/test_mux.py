import io
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av import Packet
from av.container import InputContainer
from av.stream import Stream
from PIL import Image

from esc_cli.errors import DiskFullError, InputError, OutputError
from esc_cli.media.video.containers import MATROSKA, MOV, MP4, WEBM, Container, container_by_extension
from esc_cli.media.video.encode_settings import EncodeSettings
from esc_cli.media.video.encoding import SegmentWriter
from esc_cli.media.video.library import packets_of
from esc_cli.media.video.mux import mux
from esc_cli.media.video.reader import VideoReader
from esc_cli.media.video.settings import check_settings
from esc_cli.media.video.stream_copy import stream_copies

Maker = Callable[..., Path]
Probe = Callable[..., Any]
SOUND = (("aac", "eng"), ("aac", "deu"))
DEFAULT = EncodeSettings()
EXACT = {"x264-params": "keyint=4:bframes=2:scenecut=0"}


def container_of(name: str) -> Container:
    container = container_by_extension(Path(name))
    assert container is not None
    return container


@pytest.fixture
def enlarge(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that doubles a clip's size by repeating pixels, in segments of a few frames."""

    def run(
        source: Path,
        name: str = "out.mp4",
        *,
        frames: int = 4,
        settings: EncodeSettings = DEFAULT,
        start_s: float | None = None,
        end_s: float | None = None,
    ) -> Path:
        target, container = tmp_path / name, container_of(name)
        with VideoReader(source, start_s=start_s, end_s=end_s) as reader:
            clip = reader.clip
            complete = check_settings(clip, container, settings)
            segments: list[Path] = []
            read = list(reader)
            for first in range(0, len(read), frames):
                segments.append(tmp_path / f"segment{first}")
                with SegmentWriter(segments[-1], clip, clip.height * 2, clip.width * 2, complete) as writer:
                    for frame in read[first : first + frames]:
                        color = frame.color.repeat_interleave(2, -1).repeat_interleave(2, -2)
                        writer.write(type(frame)(color, frame.pts, frame.duration))
        mux(segments, source, target, container, clip, start_s=start_s, end_s=end_s)
        return target

    return run


def stamps(probed: Any, index: int) -> list[Fraction]:
    base = Fraction(probed["streams"][index]["time_base"])
    return [int(p["pts"]) * base for p in probed["packets"] if p["stream_index"] == index]


def hashes(probed: Any, index: int) -> list[str]:
    return [packet["data_hash"] for packet in probed["packets"] if packet["stream_index"] == index]


@pytest.fixture
def told(ffprobe: Probe) -> Probe:
    options = ("-show_streams", "-show_packets", "-show_chapters", "-show_format", "-show_data_hash", "md5")
    return lambda path: ffprobe(path, *options)


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv"])
def test_times_sound_and_tags_by_ffprobe(
    make_clip: Maker, enlarge: Callable[..., Path], told: Probe, name: str
) -> None:
    def more(target: Any, stream: Any) -> None:
        target.metadata.update({"title": "A film", "artist": "Somebody"})
        stream.metadata["language"] = "fra"
        unit = Fraction(1, 1000)
        chapter = {"id": 1, "start": 0, "end": 200, "time_base": unit, "metadata": {"title": "One"}}
        second = {"id": 2, "start": 200, "end": 500, "time_base": unit, "metadata": {"title": "Two"}}
        target.set_chapters([chapter, second])

    source = make_clip("in" + name[3:], options=EXACT, sound=SOUND, more=more)
    low, high = told(source), told(enlarge(source, name))
    video = high["streams"][0]
    assert (video["height"], video["width"]) == (96, 128)
    assert sorted(stamps(high, 0)) == sorted(stamps(low, 0))
    assert [stream["codec_name"] for stream in high["streams"]][:3] == ["h264", "aac", "aac"]
    for index in (1, 2):
        assert hashes(high, index) == hashes(low, index)
        assert stamps(high, index) == stamps(low, index)
        tags = low["streams"][index]["tags"]
        assert high["streams"][index]["tags"].get("language", "") == tags.get("language", "")
    # In MOV, FFmpeg finds no name for French.
    assert video["tags"].get("language", "") == low["streams"][0]["tags"].get("language", "")
    tags = {key.lower(): value for key, value in high["format"]["tags"].items()}
    assert (tags["title"], tags["artist"]) == ("A film", "Somebody")
    times = [(c["start_time"], c["end_time"], c["tags"]["title"]) for c in high["chapters"]]
    assert times == [("0.000000", "0.200000", "One"), ("0.200000", "0.500000", "Two")]


@pytest.mark.parametrize("frames", [1, 3, 100])
def test_packets_are_decoded_in_step(
    make_clip: Maker, enlarge: Callable[..., Path], told: Probe, frames: int
) -> None:
    """For all segment lengths, decoding timestamps rise and do not exceed presentation timestamps."""
    source = make_clip(options=EXACT)
    packets = told(enlarge(source, frames=frames))["packets"]
    decoded = [int(packet["dts"]) for packet in packets]
    assert all(a < b for a, b in pairwise(decoded))
    assert all(int(packet["dts"]) <= int(packet["pts"]) for packet in packets)


def test_frames_decode_as_they_were(make_clip: Maker, enlarge: Callable[..., Path]) -> None:
    source = make_clip("in.mkv", codec="ffv1", pixel_format="yuv444p")
    target = enlarge(source, "out.mkv", frames=3, settings=EncodeSettings("ffv1"))
    with VideoReader(source) as low, VideoReader(target) as high:
        for a, b in zip(low, high, strict=True):
            large = a.color.repeat_interleave(2, -1).repeat_interleave(2, -2)
            assert (large.int() - b.color.int()).abs().max() <= 1


def test_the_last_frame_is_shown_as_long(make_clip: Maker, enlarge: Callable[..., Path], told: Probe) -> None:
    high = told(enlarge(make_clip("in.mp4")))["streams"][0]
    assert Fraction(high["duration_ts"]) * Fraction(high["time_base"]) == Fraction(15015 + 1001, 30000)


@pytest.mark.parametrize("codec", ["libx264", "libsvtav1"])
@pytest.mark.parametrize("frames", [1, 2])
def test_the_last_frame_lasts_as_long_as_in_the_source(
    make_clip: Maker, enlarge: Callable[..., Path], frames: int, codec: str
) -> None:
    """libsvtav1 gives its packets no durations."""
    source = make_clip("in.mp4", times=range(0, 1001 * frames, 1001))
    with av.open(enlarge(source, "out.mp4", settings=EncodeSettings(codec))) as high:
        stream = high.streams.video[0]
        assert stream.duration * stream.time_base == Fraction(1001 * frames, 30000)


def test_a_last_frame_of_a_millisecond_lasts_as_long_as_the_one_before(
    make_clip: Maker, enlarge: Callable[..., Path]
) -> None:
    """Some Matroska files wrongly state a rate of 1000 frames per second, their unit of time."""
    source = make_clip("in.mp4", times=range(0, 4004, 1001))
    bare = source.with_name("bare.mkv")
    with av.open(source) as low, av.open(bare, "w") as high:
        template = low.streams.video[0]
        stream = high.add_stream_from_template(template, opaque=True)
        stream.codec_context.framerate = Fraction(1000)
        for packet in low.demux(template):
            if packet.size:
                packet.stream, packet.duration = stream, 0
                high.mux(packet)
    with VideoReader(bare) as reader:
        assert [frame.duration for frame in reader] == [1] * 4
    with av.open(enlarge(bare, "out.mp4")) as high:
        stream = high.streams.video[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(4 * 1001 / 30000, abs=0.002)


def test_rotation_is_kept(make_clip: Maker, enlarge: Callable[..., Path], told: Probe) -> None:
    source = make_clip(more=lambda _, stream: stream.set_display_rotation(90))
    for name in ("out.mp4", "out.mov", "out.mkv"):
        sides = told(enlarge(source, name))["streams"][0]["side_data_list"]
        assert [side["rotation"] for side in sides] == [90]


def test_a_part_with_its_sound_and_chapters(
    make_clip: Maker, enlarge: Callable[..., Path], told: Probe
) -> None:
    def more(target: Any, _: Any) -> None:
        unit = Fraction(1, 1000)
        chapters = [(0, 100, "One"), (100, 300, "Two"), (300, 500, "Three")]
        target.set_chapters(
            [
                {"id": i, "start": start, "end": end, "time_base": unit, "metadata": {"title": title}}
                for i, (start, end, title) in enumerate(chapters)
            ]
        )

    source = make_clip("in.mkv", sound=SOUND, more=more)
    high = told(enlarge(source, "out.mkv", start_s=0.15, end_s=0.35))
    unit = Fraction(1, 1000)
    assert sorted(stamps(high, 0)) == [Fraction(t, 1000) - 150 * unit for t in (167, 300, 334)]
    assert min(stamps(high, 1)) >= 0
    assert max(stamps(high, 1)) < Fraction(1, 5)
    chapters = [(c["start_time"], c["end_time"], c["tags"]["title"]) for c in high["chapters"]]
    assert chapters == [("0.000000", "0.150000", "Two"), ("0.150000", "0.200000", "Three")]


@pytest.mark.parametrize(
    ("start_s", "end_s", "cues"),
    [
        (None, None, [(100, 200), (400, 50)]),
        (0.15, 0.25, [(0, 100)]),
        (None, 0.2, [(100, 100)]),
        (0.35, None, [(50, 50)]),
    ],
)
def test_subtitles_at_the_ends_of_a_part_are_shortened(
    make_clip: Maker,
    enlarge: Callable[..., Path],
    start_s: float | None,
    end_s: float | None,
    cues: list[tuple[int, int]],
) -> None:
    source = with_subtitles(make_clip("in.mp4"), [(100, 300), (400, 450)])
    with av.open(enlarge(source, "out.mkv", start_s=start_s, end_s=end_s)) as high:
        packets = [packet for packet in high.demux(high.streams.subtitles[0]) if packet.size]
        assert [(packet.pts, packet.duration) for packet in packets] == cues  # milliseconds


def test_subtitles_may_begin_together(make_clip: Maker, enlarge: Callable[..., Path]) -> None:
    """A sign and what is said are often shown at the same time."""
    source = with_subtitles(make_clip("in.mp4"), [(100, 300), (100, 200), (300, 450)])
    with av.open(enlarge(source, "out.mkv")) as high:
        packets = [packet for packet in high.demux(high.streams.subtitles[0]) if packet.size]
        assert [(packet.pts, packet.duration) for packet in packets] == [(100, 200), (100, 100), (300, 150)]


def with_subtitles(clip: Path, cues_ms: Sequence[tuple[int, int]]) -> Path:
    """Return the clip with a subtitle track. Each cue has a start and an end."""
    times = [f"00:00:00,{start:03} --> 00:00:00,{end:03}" for start, end in cues_ms]
    text = "".join(f"{number}\n{time}\nwords\n\n" for number, time in enumerate(times, start=1))
    clip.with_suffix(".srt").write_text(text)
    target = clip.with_name("with_subtitles.mkv")
    with av.open(clip) as pictures, av.open(clip.with_suffix(".srt")) as words, av.open(target, "w") as both:
        packets = []
        for stream in (pictures.streams.video[0], words.streams.subtitles[0]):
            made = both.add_stream_from_template(stream)
            for packet in stream.container.demux(stream):
                if packet.size:
                    packet.stream = made
                    packets.append(packet)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            both.mux(packet)
    return target


def test_subtitles_of_pictures_state_their_size(make_clip: Maker, enlarge: Callable[..., Path]) -> None:
    """Without a size, players assume that of the film, which is another one now."""
    source = make_clip("in.mkv", more=lambda target, _: target.add_stream("dvdsub"))
    with av.open(source) as file:
        before = file.streams.subtitles[0].codec_context.extradata
    once = enlarge(source, "once.mkv")
    for target in (once, enlarge(once, "twice.mkv")):
        with av.open(target) as file:
            assert file.streams.subtitles[0].codec_context.extradata == b"size: 64x48\n" + before


def test_attachments_and_dispositions(make_clip: Maker, enlarge: Callable[..., Path], told: Probe) -> None:
    def more(target: Any, _: Any) -> None:
        target.add_attachment("font.ttf", "application/x-truetype-font", b"abc" * 40)
        target.streams.audio[1].disposition = av.stream.Disposition.comment

    source = make_clip("in.mkv", sound=SOUND, more=more)
    target = enlarge(source, "out.mkv")
    streams = told(target)["streams"]
    assert [stream["codec_type"] for stream in streams] == ["video", "audio", "audio", "attachment"]
    assert streams[2]["disposition"]["comment"] == 1
    assert streams[3]["tags"]["filename"] == "font.ttf"
    assert streams[3]["tags"]["mimetype"] == "application/x-truetype-font"
    with av.open(target) as file:
        assert file.streams.attachments[0].data == b"abc" * 40


def with_cover(path: Path, picture: bytes) -> Path:
    """Make a clip with a cover: a file in Matroska, and a track that is marked as a picture in MP4."""
    with av.open(path, "w") as target:
        film: Any = target.add_stream("mpeg4", rate=25)
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        if path.suffix == ".mkv":
            target.add_attachment("cover.jpg", "image/jpeg", picture)
        else:
            cover: Any = target.add_stream("mjpeg", rate=1)
            cover.width, cover.height, cover.pix_fmt = 8, 6, "yuvj420p"
            cover.disposition = av.stream.Disposition.attached_pic
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number * 20, np.uint8), "rgb24")
            target.mux(film.encode(frame.reformat(format="yuv420p")))
        target.mux(film.encode(None))
        if path.suffix != ".mkv":
            packet = Packet(picture)
            packet.stream, packet.pts, packet.dts, packet.time_base = cover, 0, 0, Fraction(1, 25)
            target.mux(packet)
    return path


@pytest.mark.parametrize("name", ["in.mp4", "in.mkv"])
@pytest.mark.parametrize("target", ["out.mp4", "out.mkv"])
def test_a_cover_stays_a_cover(tmp_path: Path, enlarge: Callable[..., Path], name: str, target: str) -> None:
    content = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(content, "JPEG")
    source = with_cover(tmp_path / name, content.getvalue())
    with av.open(enlarge(source, target)) as file:
        film, cover = file.streams.video
        pictured = av.stream.Disposition.attached_pic
        assert (bool(film.disposition & pictured), bool(cover.disposition & pictured)) == (False, True)
        packets = [bytes(packet) for packet in file.demux(cover) if packet.size]
        assert packets == [content.getvalue()]
        if target == "out.mkv":
            assert (cover.metadata["filename"], cover.metadata["mimetype"]) == ("cover.jpg", "image/jpeg")
    called = "'cover.jpg'" if name == "in.mkv" else "1"
    assert stream_copies(source, MOV).lost == (f"the cover {called} cannot be kept in QuickTime",)


def test_h265_in_mp4_is_called_hvc1(make_clip: Maker, enlarge: Callable[..., Path], told: Probe) -> None:
    source = make_clip(codec="libx265", pixel_format="yuv420p10le", options={"x265-params": "log-level=none"})
    assert told(enlarge(source))["streams"][0]["codec_tag_string"] == "hvc1"


def test_alpha_passes_webm(make_clip: Maker, enlarge: Callable[..., Path]) -> None:
    source = make_clip("in.webm", codec="libvpx-vp9", pixel_format="yuva420p")
    with VideoReader(enlarge(source, "out.webm")) as reader:
        assert reader.clip.alpha
        assert len(list(reader)) == 10


def test_what_the_container_cannot_hold_is_said(make_clip: Maker, enlarge: Callable[..., Path]) -> None:
    source = with_subtitles(make_clip("in.mp4"), [(100, 300)])
    held = stream_copies(source, WEBM)
    assert held.streams == ()
    assert held.lost == held.notes == ("the subtitle track 1 (srt) cannot be kept in WebM",)
    with av.open(enlarge(source, "out.webm")) as file:
        assert [stream.type for stream in file.streams] == ["video"]


def test_lost_data_of_broadcasts_is_said(make_clip: Maker) -> None:
    """FFmpeg writes cues for advertisements (SCTE-35) to MPEG-TS as data of an unknown kind."""

    def more(target: Any, _: Any) -> None:
        for codec in ("scte_35", "klv"):
            target.add_data_stream(codec)

    source = make_clip(
        "in.ts", times=[index * 3600 for index in range(10)], time_base=TS_TIME_BASE, more=more
    )
    assert stream_copies(source, MATROSKA).lost == (
        "the data track 1 (bin_data) cannot be kept in Matroska",
        "the data track 2 (klv) cannot be kept in Matroska",
    )


def test_everything_is_held_by_its_own_kind(make_clip: Maker) -> None:
    assert stream_copies(make_clip(sound=SOUND), MP4).streams == (1, 2)


def test_segments_of_other_settings_are_refused(
    tmp_path: Path, make_clip: Maker, make_frames: Callable[..., list[Any]]
) -> None:
    source = make_clip()
    with VideoReader(source) as reader:
        clip = reader.clip
    paths = write_segments(tmp_path, clip, make_frames(), ["libx264", "ffv1"])
    with pytest.raises(InputError, match="encoded differently"):
        mux(paths, source, tmp_path / "out.mkv", MATROSKA, clip)


def test_a_clip_is_no_segment(tmp_path: Path, make_clip: Maker) -> None:
    source = make_clip()
    with VideoReader(source) as reader, pytest.raises(InputError, match="is not a segment"):
        mux([source], source, tmp_path / "out.mkv", MATROSKA, reader.clip)


def test_a_full_disk(tmp_path: Path, make_clip: Maker, make_frames: Callable[..., list[Any]]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    source = make_clip()
    with VideoReader(source) as reader:
        clip = reader.clip
    paths = write_segments(tmp_path, clip, make_frames(), ["libx264"])
    with pytest.raises(DiskFullError, match="the disk is full"):
        mux(paths, source, Path("/dev/full"), MATROSKA, clip)


def write_segments(folder: Path, clip: Any, frames: Sequence[Any], codecs: Sequence[str]) -> list[Path]:
    paths = [folder / codec for codec in codecs]
    for path, codec in zip(paths, codecs, strict=True):
        settings = check_settings(clip, MATROSKA, EncodeSettings(codec))
        with SegmentWriter(path, clip, 48, 64, settings) as writer:
            for frame in frames:
                writer.write(frame)
    return paths


def test_a_recording_begins_at_zero(make_clip: Maker, enlarge: Callable[..., Path], told: Probe) -> None:
    rate = Fraction(1001, 30000)
    source = make_clip("in.ts", codec="mpeg2video", times=range(10), time_base=rate)
    assert min(stamps(told(source), 0)) > 0
    assert min(stamps(told(enlarge(source)), 0)) == 0


# Recordings


def packets_in(path: Path) -> dict[str, list[int | None]]:
    """Return the decoding timestamps of the packets of each kind of stream."""
    stamps: dict[str, list[int | None]] = {"video": [], "audio": []}
    with av.open(path) as file:
        for packet in packets_of(file):
            if packet.size:
                stamps[packet.stream.type].append(packet.dts)
    return stamps


def recording(make_clip: Maker, name: str = "in.ts", *, sound: bool = True) -> Path:
    tracks = (("aac", "eng"),) if sound else ()
    return make_clip(name, times=[index * 3600 for index in range(20)], time_base=TS_TIME_BASE, sound=tracks)


TS_TIME_BASE, TS_PACKET_BYTES = Fraction(1, 90000), 188


def test_joined_recordings_are_written_whole(
    make_clip: Maker, enlarge: Callable[..., Path], tmp_path: Path
) -> None:
    once = recording(make_clip)
    twice = tmp_path / "twice.ts"
    twice.write_bytes(2 * once.read_bytes())
    found, expected = packets_in(enlarge(twice, "out.mkv")), packets_in(once)
    for kind in ("video", "audio"):
        stamps = [stamp for stamp in found[kind] if stamp is not None]
        assert stamps == sorted(set(stamps))
    assert len(found["video"]) == 2 * len(expected["video"])
    assert len(found["audio"]) >= 2 * len(expected["audio"]) - 1  # a packet is cut where the files meet


def test_lost_packets_of_sound_cost_no_more_than_themselves(
    make_clip: Maker, enlarge: Callable[..., Path], tmp_path: Path
) -> None:
    content = recording(make_clip).read_bytes()
    packets = [content[at : at + TS_PACKET_BYTES] for at in range(0, len(content), TS_PACKET_BYTES)]
    sound = [number for number, packet in enumerate(packets) if int.from_bytes(packet[1:3]) & 0x1FFF == 0x101]
    damaged = tmp_path / "damaged.ts"
    lost = {sound[len(sound) // 3], sound[2 * len(sound) // 3]}
    damaged.write_bytes(b"".join(packet for number, packet in enumerate(packets) if number not in lost))
    before, found = packets_in(damaged), packets_in(enlarge(damaged, "out.mkv"))
    assert len(found["video"]) == len(before["video"])
    assert len(found["audio"]) >= len(before["audio"]) - 2 * len(lost) > 0


@pytest.mark.parametrize("target", ["out.mkv", "out.mp4"])
def test_sound_stays_in_step_behind_equal_timestamps(
    make_clip: Maker, enlarge: Callable[..., Path], target: str
) -> None:
    """Of a packet that is damaged, FFmpeg may make two with one timestamp. The others must not come later."""
    source = with_doubled_packets(make_clip("in.mkv", sound=SOUND[:1]), 1)
    before, found = packets_in(source)["audio"], packets_in(enlarge(source, target))["audio"]
    assert len(set(before)) < len(before)
    with av.open(enlarge(source, target)) as file:
        unit_ms = 1000 * file.streams.audio[0].time_base
    begun = before[0], found[0]
    late_ms = [
        (high - begun[1]) * unit_ms - (low - begun[0]) for low, high in zip(before, found, strict=True)
    ]
    assert found == sorted(set(found))
    assert max(map(abs, late_ms)) < 3


def test_another_video_keeps_packets_with_equal_timestamps(
    make_clip: Maker, enlarge: Callable[..., Path], tmp_path: Path
) -> None:
    """The muxer of MP4 refuses the second of two packets of video with one timestamp."""
    both = tmp_path / "both.mkv"
    with av.open(make_clip("in.mkv")) as low, av.open(both, "w") as high:
        streams = [high.add_stream_from_template(low.streams.video[0], opaque=True) for _ in range(2)]
        for packet in low.demux():
            for stream in streams if packet.size else ():
                high.mux(copy_of(packet, stream))
    source = with_doubled_packets(both, 1)
    with av.open(source) as low, av.open(enlarge(source, "out.mp4")) as high:
        counts = [sum(1 for packet in file.demux(video=1) if packet.size) for file in (low, high)]
    assert counts[0] == counts[1]


def with_doubled_packets(clip: Path, index: int) -> Path:
    """Return the clip with each third packet of a stream twice, with the same timestamp."""
    target = clip.with_name("doubled.mkv")
    with av.open(clip) as low, av.open(target, "w") as high:
        streams = [high.add_stream_from_template(stream, opaque=True) for stream in low.streams]
        number = 0
        for packet in low.demux():
            number += packet.stream.index == index
            for _ in range(2 if packet.stream.index == index and number % 3 == 0 else 1):
                if packet.size:
                    high.mux(copy_of(packet, streams[packet.stream.index]))
    return target


def copy_of(packet: Any, stream: Stream) -> "Packet[Stream]":
    again = Packet(bytes(packet))
    again.pts, again.dts, again.duration = packet.pts, packet.dts, packet.duration
    again.time_base, again.stream = packet.time_base, stream
    again.is_keyframe = packet.is_keyframe
    return again


def test_a_frame_that_the_muxer_refuses_is_said(make_clip: Maker, enlarge: Callable[..., Path]) -> None:
    """The only frame of this clip lasts for days, because a byte of its header is wrong."""
    path = make_clip("in.mov", codec="mpeg4", times=(0,))
    content = bytearray(path.read_bytes())
    at = content.index(b"stts") + 16  # the duration, behind the name, the version, and two counts
    content[at : at + 4] = b"\xff\0\0\0"
    path.write_bytes(content)
    with pytest.raises(OutputError, match="QuickTime refuses frames of the video"):
        enlarge(path, "out.mov")


def test_a_stream_that_appears_late_does_not_end_the_work(make_clip: Maker) -> None:
    """At the end of such a file, PyAV flushes the streams before the new one, and raises an IndexError."""

    class Late:
        def __init__(self, container: InputContainer) -> None:
            self._container, self.streams = container, container.streams

        def demux(self, streams: list[Stream]) -> "Iterator[Packet[Stream]]":
            yield from (packet for packet in self._container.demux(streams) if packet.size)
            flush = Packet()
            flush.stream = streams[0]
            yield flush
            raise IndexError

    with av.open(recording(make_clip)) as file:
        packets = list(packets_of(cast(InputContainer, Late(file))))
        flushed = [packet.stream.index for packet in packets if not packet.size]
        assert sorted(flushed) == [stream.index for stream in file.streams]
        assert len(packets) > 20


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_tags_that_are_not_utf_8_stay_as_they_are(
    make_clip: Maker, enlarge: Callable[..., Path], name: str
) -> None:
    def more(target: Any, stream: Any) -> None:
        target.metadata["title"] = stream.metadata["handler_name"] = mark
        chapter = {"id": 1, "start": 0, "end": 9, "time_base": Fraction(1, 30), "metadata": {"title": mark}}
        target.set_chapters([chapter])

    mark = "marked"
    source = make_clip("in" + name[3:], sound=SOUND, more=more)
    source.write_bytes(source.read_bytes().replace(b"marked", b"Caf\xe9 !"))
    with av.open(enlarge(source, name), metadata_errors="surrogateescape") as high:
        tags = [high.metadata, *(chapter["metadata"] for chapter in high.chapters())]
        assert [held.get("title", held.get("TITLE")) for held in tags] == ["Caf\udce9 !"] * 2
