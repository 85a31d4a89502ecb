"""Tags of MP4 and MOV that FFmpeg's muxer does not write: those of phones, iTunes and cameras.

The muxer writes either QuickTime's keys or the ordinary tags, never both, and knows only some of the latter.
Therefore, what it leaves out is copied from the source's boxes as it is.

Source: QuickTime File Format (metadata; user data), ISO/IEC 14496-12, 8.10 and 8.11.
"""

import io
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from esc_cli.media.iso_boxes import boxes_of, packed_box

_Boxes = list[tuple[bytes, bytes]]
"""Boxes in their order: the type of each and its content."""

_MADE_AGAIN = (b"meta", b"chpl", b"covr", b"\xa9too", b"\xa9enc")
"""Boxes that the muxer makes from other facts: chapters, the cover and the name of the program."""


_UTF8 = 1
_TEXT = ("utf-8", "surrogateescape")


def keep_iso_tags(source: Path, target: Path, tags: Mapping[str, str]) -> None:
    """Add the tags of a source that are missing in a target.

    Args:
        source: The source clip. If it is MP4 or MOV, too, its own boxes are copied.
        target: An MP4 or MOV whose last box is its index, as FFmpeg's muxer writes it.
        tags: Tags of other sources that the target lacks. They become QuickTime's keys.

    Raises:
        OSError: A file cannot be read or written.
    """
    with source.open("rb") as file:
        low = _movie(file)
    boxes = _boxes(low[1]) if low is not None else [(b"meta", _keys(tags))] if tags else []
    with target.open("r+b") as file:
        high = _movie(file)
        if not boxes or high is None or not high[2]:
            return
        start, index, _ = high
        merged = packed_box(b"moov", _joined(_merged(boxes, _boxes(index))))
        file.seek(start)
        file.write(merged)


def _movie(file: BinaryIO) -> tuple[int, bytes, bool] | None:
    """Return the start and content of the index (`moov`), and whether it is the last box, or None."""
    for box in boxes_of(file):
        if box.kind == b"moov":
            return box.start, file.read(box.content_bytes), not box.is_cut and box.end == file.seek(0, 2)
    return None


def _merged(low: _Boxes, high: _Boxes) -> _Boxes:
    """Return the content of the target's index with what it lacks."""
    low_udta, high_udta = _boxes(_content(low, b"udta")), _boxes(_content(high, b"udta"))
    added = _missing(low_udta, high_udta)
    items = _missing(_items(low_udta), _items(high_udta))
    others = [(kind, content) for kind, content in high if kind != b"udta"]
    udta = [(kind, content) for kind, content in high_udta if not items or kind != b"meta"] + added
    if items:
        udta.append((b"meta", _itunes_meta(_items(high_udta) + items)))
    keys = [
        content for kind, content in (*low, *low_udta) if kind == b"meta" and _handler(content) == b"mdta"
    ]
    return [*others, *([(b"udta", _joined(udta))] if udta else []), *((b"meta", key) for key in keys[:1])]


def _missing(low: _Boxes, high: _Boxes) -> _Boxes:
    there = {*_MADE_AGAIN, *(kind for kind, _ in high)}
    return [(kind, content) for kind, content in low if kind not in there]


def _items(udta: _Boxes) -> _Boxes:
    """Return the tags in the form of iTunes."""
    for kind, content in udta:
        if kind == b"meta" and _handler(content) == b"mdir":
            return _boxes(_content(_boxes(_inside(content)), b"ilst"))
    return []


def _itunes_meta(items: _Boxes) -> bytes:
    return bytes(4) + _joined([(b"hdlr", _handler_of(b"mdir")), (b"ilst", _joined(items))])


def _keys(tags: Mapping[str, str]) -> bytes:
    """Return tags as QuickTime's keys and values, which are numbered from 1."""
    keys = struct.pack(">II", 0, len(tags)) + _joined([(b"mdta", key.encode(*_TEXT)) for key in tags])
    values = [
        (struct.pack(">I", number), packed_box(b"data", struct.pack(">II", _UTF8, 0) + value.encode(*_TEXT)))
        for number, value in enumerate(tags.values(), start=1)
    ]
    return _joined([(b"hdlr", _handler_of(b"mdta")), (b"keys", keys), (b"ilst", _joined(values))])


def _handler_of(kind: bytes) -> bytes:
    return struct.pack(">II4s4sIIB", 0, 0, kind, b"appl", 0, 0, 0)


def _inside(meta: bytes) -> bytes:
    """Return the boxes of a `meta` box, which has four bytes of version and flags in MP4, and none in MOV."""
    return meta if meta[4:8] == b"hdlr" else meta[4:]


def _handler(meta: bytes) -> bytes:
    return _content(_boxes(_inside(meta)), b"hdlr")[8:12]


def _content(boxes: Sequence[tuple[bytes, bytes]], kind: bytes) -> bytes:
    return next((content for name, content in boxes if name == kind), b"")


def _boxes(content: bytes) -> _Boxes:
    """Return the whole boxes. QuickTime's lists may end with a zero, which is no box here."""
    boxes = (box for box in boxes_of(io.BytesIO(content)) if box.length and not box.is_cut)
    return [(box.kind, content[box.content_start : box.end]) for box in boxes]


def _joined(boxes: _Boxes) -> bytes:
    return b"".join(packed_box(kind, content) for kind, content in boxes)
