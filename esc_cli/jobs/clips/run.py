"""Make a clip: decode, enlarge and encode at once, in segments which a later run goes on with."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, cast

import torch

from esc_cli.enhancement.enlarge import Enlarger
from esc_cli.errors import InputError
from esc_cli.jobs.clips.pipeline import in_order
from esc_cli.jobs.clips.samples import samples
from esc_cli.jobs.clips.sinks import SEGMENT_FRAMES, SegmentSink, Sink, as_picture
from esc_cli.jobs.clips.task import ClipTask
from esc_cli.jobs.clips.work_folder import WorkFolder
from esc_cli.jobs.record import Stamp
from esc_cli.jobs.streams import stdout_errors, stdout_file, write_stdout
from esc_cli.media.contact_sheet import contact_sheet
from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.picture import Picture, PictureFile, WriteSettings
from esc_cli.media.video.encoding import StreamWriter
from esc_cli.media.video.formats import ClipFormat
from esc_cli.media.video.image_sequence import SequenceWriter
from esc_cli.media.video.mux import join
from esc_cli.media.video.reader import Frame, turned
from esc_cli.media.video.sequence_names import numbered
from esc_cli.media.write import encode_file
from esc_cli.storage.whole_files import atomic_path, make_folder, write_whole

Publish = Callable[[Path | None], None]
"""Takes the complete file of a result before it gets its name, None where there is none; may prevent that."""

Report = Callable[[int, float], None]
"""Takes the frames that are done, those of earlier runs too, and how many are done in a second."""


@dataclass(frozen=True)
class Made:
    """What was made of a clip.

    Attributes:
        notes: What could not be kept, a sentence each.
        ways: How the frames went through the network.
    """

    notes: tuple[str, ...]
    ways: tuple[str, ...]


def make_clip(
    task: ClipTask, enlarger: Enlarger, write: WriteSettings, publish: Publish, report: Report
) -> Made:
    """Make what a task says of a clip.

    Args:
        task: What to make.
        enlarger: Of frames.
        write: How pictures are written.
        publish: Called when the result is complete but for its name; what it raises prevents that.
        report: Is told of each frame.

    Raises:
        InputError: The clip is damaged, or there is no frame in the part that is kept.
        OutputError: The result cannot be written.
        DiskFullError: There is no space left.
    """
    frames = _FrameEnlarger(enlarger, task)
    if task.target is not None:
        make_folder(task.target.parent)
    if task.options.preview is not None:
        damaged = _make_sheet(task, frames, write, publish, report)
    elif isinstance(task.format, PictureFormat):
        damaged = _make_pictures(task, task.format, frames, write, publish, report)
    elif task.format.is_raw:
        damaged = _make_stream(task, frames, publish, report)
    else:
        damaged = _make_file(task, task.format, frames, publish, report)
    mended = (f"{damaged} damaged frames were mended by the decoder",) if damaged else ()
    return Made((*task.lost, *mended), frames.ways)


class _FrameEnlarger:
    """Enlarges frames; one that equals the frame before it is not computed again.

    Attributes:
        model: The name of what enlarges them.
        ways: How the last one went through the network.
    """

    def __init__(self, enlarger: Enlarger, task: ClipTask) -> None:
        self._enlarger = enlarger
        self.model = enlarger.models.name
        self._clip = task.clip
        self._size = task.height, task.width
        self._before: Frame | None = None
        self._high: Picture | None = None
        self.ways: tuple[str, ...] = ()

    def __call__(self, frame: Frame) -> Frame:
        if self._high is None or self._before is None or not _are_equal(frame, self._before):
            low = as_picture(frame, self._clip)
            result = self._enlarger.to_size(low, self._size)
            self._high, self.ways = result.picture, result.ways
        self._before = frame
        return replace(frame, color=self._high.color, alpha=self._high.alpha)


def _are_equal(frame: Frame, other: Frame) -> bool:
    if frame.alpha is None or other.alpha is None:
        return torch.equal(frame.color, other.color)
    return torch.equal(frame.color, other.color) and torch.equal(frame.alpha, other.alpha)


def _make_file(
    task: ClipTask,
    format: ClipFormat,
    frames: _FrameEnlarger,
    publish: Publish,
    report: Report,
) -> int:
    """Encode what no earlier run has, and join everything."""
    identity = _identity(task, frames.model)
    with task.open() as reader, WorkFolder(cast(Path, task.target), identity) as folder:
        rest = iter(reader) if folder.last_pts is None else reader.frames_from(folder.last_pts + 1)
        _run(rest, frames, SegmentSink(folder, task), report, len(folder.segments) * SEGMENT_FRAMES)
        if not folder.segments:
            raise _no_frame(task)
        with atomic_path(folder.target) as partial:
            _join(task, format, folder, partial)
            publish(partial)
        return reader.damaged_frames


def _identity(task: ClipTask, model: str) -> dict[str, object] | None:
    """Say what the segments depend on: the input's bytes, the recipe, and the model that was chosen by them.

    None for a pipe: it is read once.
    """
    source = task.source.content
    if not isinstance(source, Path):
        return None
    if source.is_file():
        stamp = Stamp.of(source)
        return {
            "size_bytes": stamp.size_bytes,
            "sha256": stamp.sha256,
            "recipe": task.identity,
            "model": model,
        }
    digests = {file.name: Stamp.of(file).sha256 for file in numbered(str(source)).files()}
    return {"files": digests, "recipe": task.identity, "model": model}


def _join(task: ClipTask, format: ClipFormat, folder: WorkFolder, target: Path) -> None:
    source, options = task.source.content, task.options
    join(
        folder.segments,
        source if isinstance(source, Path) and source.is_file() else None,
        target,
        format.container,
        task.clip,
        start_s=options.start_s,
        end_s=options.end_s,
    )


def _make_stream(task: ClipTask, frames: _FrameEnlarger, publish: Publish, report: Report) -> int:
    """Write raw frames to standard output or a file, for other programs."""
    with task.open() as reader, _stream_target(task, publish) as file:
        writer = StreamWriter(file, task.clip, task.height, task.width, task.settings)
        _run(iter(reader), frames, writer, report)
        return reader.damaged_frames


@contextmanager
def _stream_target(task: ClipTask, publish: Publish) -> Iterator[BinaryIO]:
    if task.target is None:
        with stdout_errors():
            yield stdout_file()
        return
    with atomic_path(task.target) as partial:
        with partial.open("wb") as file:
            yield file
        publish(partial)


def _make_pictures(
    task: ClipTask,
    format: PictureFormat,
    frames: _FrameEnlarger,
    write: WriteSettings,
    publish: Publish,
    report: Report,
) -> int:
    """Write each frame as a picture of its own."""
    publish(None)
    clip = task.clip
    sink = SequenceWriter(str(task.target), format, write, gray=clip.gray, rotation_deg=clip.rotation_deg)
    with task.open() as reader:
        _run(iter(reader), frames, sink, report)
        return reader.damaged_frames


def _make_sheet(
    task: ClipTask,
    frames: _FrameEnlarger,
    write: WriteSettings,
    publish: Publish,
    report: Report,
) -> int:
    """Put a few frames, at equal distances, on one sheet."""
    pictures: list[Picture] = []
    begun = time.monotonic()
    with task.open() as reader:
        for number, low in enumerate(samples(reader, task, task.options.preview or 1), start=1):
            pictures.append(as_picture(turned(frames(low), task.clip.rotation_deg), task.clip))
            report(number, _speed(number, begun))
        if not pictures:
            raise _no_frame(task)
        file = PictureFile((contact_sheet(pictures),))
        content = encode_file(file, cast(PictureFormat, task.format), write)
        publish(None)
        if task.target is None:
            write_stdout(content)
        else:
            write_whole(task.target, content)
        return reader.damaged_frames


def _run(
    frames: Iterator[Frame],
    enlarge: _FrameEnlarger,
    sink: Sink,
    report: Report,
    done_before: int = 0,
) -> None:
    begun, done = time.monotonic(), 0

    def make(frame: Frame) -> Frame:
        nonlocal done
        high = enlarge(frame)
        done += 1
        report(done_before + done, _speed(done, begun))
        return high

    with sink:
        in_order(frames, make, sink.write)


def _speed(frames: int, begun: float) -> float:
    """Give frames a second."""
    return frames / max(time.monotonic() - begun, 1e-9)


def _no_frame(task: ClipTask) -> InputError:
    return InputError(f"{task.source.name} has no frame in the part that was asked for")
