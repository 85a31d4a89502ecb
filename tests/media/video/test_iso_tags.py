"""The tags of phones and iTunes in MP4 and MOV, written into files by hand and read with FFmpeg."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from esc_cli.media.video.containers import CONTAINERS, MATROSKA, MOV, MP4, Container
from esc_cli.media.video.encode_settings import EncodeSettings
from esc_cli.media.video.encoding import SegmentWriter
from esc_cli.media.video.mux import mux
from esc_cli.media.video.reader import VideoReader
from esc_cli.media.video.settings import check_settings

Maker = Callable[..., Path]
PHONE = {
    "com.apple.quicktime.make": "Apple",
    "com.apple.quicktime.model": "iPhone 15",
    "com.apple.quicktime.creationdate": "2024-05-06T07:08:09+0200",
    "com.apple.quicktime.location.ISO6709": "+48.1372+011.5755+519.000/",
    "com.android.version": "14",
}
ITUNES = {b"sonm": "sort_name", b"soar": "sort_artist", b"soal": "sort_album"}


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def handler(kind: bytes) -> bytes:
    return box(b"hdlr", struct.pack(">II4s4sIIB", 0, 0, kind, b"appl", 0, 0, 0))


def data(value: bytes, kind: int = 1) -> bytes:
    return box(b"data", struct.pack(">II", kind, 0) + value)


def phone_meta(*, in_mov: bool) -> bytes:
    """Return QuickTime's metadata. In MOV it is no full box: version and flags are missing."""
    keys = [*PHONE, "com.android.capture.fps"]
    table = b"".join(box(b"mdta", key.encode()) for key in keys)
    values = [data(value.encode()) for value in PHONE.values()] + [data(struct.pack(">f", 30.0), 23)]
    items = b"".join(struct.pack(">II", 8 + len(v), n) + v for n, v in enumerate(values, start=1))
    content = handler(b"mdta") + box(b"keys", struct.pack(">II", 0, len(keys)) + table) + box(b"ilst", items)
    return box(b"meta", content if in_mov else bytes(4) + content)


def with_boxes(path: Path, *added: bytes, into: tuple[bytes, ...] = ()) -> Path:
    """Add boxes at the end of the index, or of boxes inside it. FFmpeg writes all of them last."""
    content = bytearray(path.read_bytes())
    start = content.rindex(b"moov") - 4
    places = [start]
    for kind in into:
        places.append(content.rindex(kind) - 4)
    more = b"".join(added)
    end = places[-1] + int.from_bytes(content[places[-1] : places[-1] + 4], "big")
    content[end:end] = more
    for place in places:
        content[place : place + 4] = struct.pack(
            ">I", int.from_bytes(content[place : place + 4], "big") + len(more)
        )
    path.write_bytes(content)
    return path


def enlarged(source: Path, container: Container) -> Path:
    target = source.with_name(f"out{container.extensions[0]}")
    with VideoReader(source) as reader:
        clip = reader.clip
        settings = check_settings(clip, container, EncodeSettings())
        with SegmentWriter(source.with_name("segment"), clip, clip.height, clip.width, settings) as writer:
            for frame in reader:
                writer.write(frame)
    mux([source.with_name("segment")], source, target, container, clip)
    return target


def tags(path: Path) -> dict[str, str]:
    with av.open(path) as file:
        assert sum(1 for _ in file.decode(video=0)) == 10
        return {key.lower(): value for key, value in file.metadata.items()}


def titled(target: Any, _: Any) -> None:
    target.metadata.update({"title": "A film", "artist": "Somebody"})


@pytest.mark.parametrize("container", [MP4, MOV, MATROSKA], ids=lambda one: one.name)
@pytest.mark.parametrize("name", ["in.mov", "in.mp4"])
def test_tags_of_phones_are_kept(make_clip: Maker, name: str, container: Container) -> None:
    source = with_boxes(make_clip(name, more=titled), phone_meta(in_mov=name == "in.mov"))
    before, after = tags(source), tags(enlarged(source, container))
    expected = {key.lower(): value for key, value in PHONE.items()} | {"title": "A film"}
    assert before.items() >= expected.items()
    assert after.items() >= expected.items()
    assert after["com.android.capture.fps"] == before["com.android.capture.fps"]


def test_tags_of_phones_keep_their_types_and_place(make_clip: Maker) -> None:
    """Android reads the frame rate only as a float, and Apple's programs look only in the index itself."""
    meta = phone_meta(in_mov=True)
    target = enlarged(with_boxes(make_clip("in.mov"), meta), MOV).read_bytes()
    assert target.endswith(meta)
    assert len(target) == target.rindex(b"moov") - 4 + int.from_bytes(
        target[target.rindex(b"moov") - 4 : target.rindex(b"moov")], "big"
    )


def test_tags_that_ffmpeg_wrote_as_keys_are_kept(make_clip: Maker, tmp_path: Path) -> None:
    plain, source = make_clip(), tmp_path / "keys.mp4"
    with av.open(plain) as low, av.open(source, "w", options={"movflags": "use_metadata_tags"}) as high:
        stream = high.add_stream_from_template(low.streams.video[0])
        high.metadata.update({"com.apple.quicktime.make": "Apple", "director": "Somebody", "title": "A film"})
        for packet in low.demux(video=0):
            if packet.size:
                packet.stream = stream
                high.mux(packet)
    expected = {"com.apple.quicktime.make": "Apple", "director": "Somebody", "title": "A film"}
    assert tags(enlarged(source, MP4)).items() >= expected.items()


def test_tags_of_itunes_are_kept(make_clip: Maker) -> None:
    free = box(b"mean", bytes(4) + b"com.apple.iTunes") + box(b"name", bytes(4) + b"iTunEXTC")
    items = [box(kind, data(name.encode())) for kind, name in ITUNES.items()]
    items += [box(b"rtng", data(b"\x04", 21)), box(b"----", free + data(b"mpaa|PG-13|300|"))]
    source = with_boxes(make_clip(more=titled), *items, into=(b"udta", b"meta", b"ilst"))
    before, after = tags(source), tags(enlarged(source, MP4))
    kept = {*ITUNES.values(), "rating", "itunextc", "title", "artist"}
    assert before.keys() >= kept
    assert {key: after.get(key) for key in kept} == {key: before[key] for key in kept}
    assert before["encoder"] == after["encoder"]


def test_user_data_of_cameras_is_kept(make_clip: Maker) -> None:
    source = with_boxes(make_clip("in.mov", more=titled), box(b"FIRM", b"HD9.01"), into=(b"udta",))
    for container in (MOV, MP4):
        target = enlarged(source, container)
        assert box(b"FIRM", b"HD9.01") in target.read_bytes()
        assert tags(target)["title"] == "A film"


def test_user_data_of_an_index_to_the_end_of_the_file(make_clip: Maker) -> None:
    source = with_boxes(make_clip("in.mov", more=titled), box(b"FIRM", b"HD9.01"), into=(b"udta",))
    content = source.read_bytes()
    start = content.rindex(b"moov") - 4
    source.write_bytes(content[:start] + bytes(4) + content[start + 4 :])
    assert box(b"FIRM", b"HD9.01") in enlarged(source, MOV).read_bytes()


@pytest.mark.parametrize("container", [MP4, MOV], ids=lambda one: one.name)
def test_any_tag_of_another_container_is_kept(make_clip: Maker, container: Container) -> None:
    def more(target: Any, stream: Any) -> None:
        titled(target, stream)
        target.metadata.update({"DIRECTOR": "Agnès Varda", "com.apple.quicktime.make": "Apple"})

    after = tags(enlarged(make_clip("in.mkv", more=more), container))
    expected = {"title": "A film", "director": "Agnès Varda", "com.apple.quicktime.make": "Apple"}
    assert after.items() >= expected.items()


@pytest.mark.parametrize("container", [one for one in CONTAINERS if not one.is_raw], ids=lambda one: one.name)
def test_other_sources_change_nothing(make_clip: Maker, container: Container) -> None:
    assert tags(enlarged(make_clip("in.mkv", more=titled), container))["title"] == "A film"
