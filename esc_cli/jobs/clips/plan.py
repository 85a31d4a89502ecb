"""Make all decisions about a clip before any work."""

import os
from collections.abc import Callable
from fractions import Fraction
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, cast

from esc_cli.enhancement.size import Geometry
from esc_cli.errors import InputError, UsageError
from esc_cli.jobs.clips.encoded_outputs import ContainerFile, RawStream
from esc_cli.jobs.clips.options import ClipOptions
from esc_cli.jobs.clips.outputs import ClipOutput
from esc_cli.jobs.clips.picture_outputs import Animation, ImageSequence, PreviewSheet
from esc_cli.jobs.clips.task import ClipTask, FrameSource
from esc_cli.jobs.memory import check_room_for_animation
from esc_cli.jobs.naming import Destination, choose_clip_format, target_path
from esc_cli.jobs.sources import Source
from esc_cli.media.probe import Probe
from esc_cli.media.video.animation import AnimationReader, is_animation
from esc_cli.media.video.clip import USUAL_RATE, Clip, counted
from esc_cli.media.video.containers import CLIP_EXTENSIONS, Container, looks_like_clip
from esc_cli.media.video.image_sequence import SequenceReader
from esc_cli.media.video.library import head_of
from esc_cli.media.video.reader import VideoReader
from esc_cli.media.video.sequence_names import is_sequence, sequence_names


def is_clip(source: Source) -> bool:
    """Return whether a source is a clip, an image sequence or a stream of frames."""
    content = source.content
    if not isinstance(content, Path):
        return isinstance(content, BufferedReader)
    if source.is_sequence or content.suffix.lower() in CLIP_EXTENSIONS:
        return True
    return os.path.isfile(content) and looks_like_clip(head_of(content))  # noqa: PTH113 - as in sources


def becomes_clip(source: Source, destination: Destination, largest_px: int, options: ClipOptions) -> bool:
    """Return whether a source is an animation, of which a clip or an image sequence is to be made."""
    named = destination.path
    is_for_frames = named is not None and not destination.is_folder and is_sequence(str(named))
    is_for_frames &= options.preview is None
    return (
        (isinstance(destination.format, Container) or is_for_frames)
        and isinstance(source.content, Path)
        and is_animation(source.content, largest_px, keep_damaged=options.may_end_early)
    )


def plan_clip(
    source: Source, destination: Destination, size: Geometry, options: ClipOptions, largest_px: int
) -> ClipTask:
    """Plan the result of a clip.

    Args:
        source: The source clip.
        destination: The destination of all results.
        size: The rule for the size of the result, as it is displayed.
        options: The options for clips.
        largest_px: Maximum number of pixels of all frames of an animation, which are in memory.

    Raises:
        OutOfMemoryError: The result does not fit in memory.
        InputError: The clip cannot be read, is interlaced, or has no frames in the part that is kept.
        OutputError: The format cannot hold the result.
        UsageError: The options do not fit the clip.
    """
    opener = _opener(source, destination, options, largest_px)
    clip, opened = _looked_at(source, opener)
    height, width = _size_of(clip, size)
    output = _choose_output(source, destination, clip, options)
    settings = output.complete_settings(clip, options.encode, (height, width))
    displayed = output.displayed_size(clip, (height, width), settings)
    labels = (f"{label}{output.label}" for label in (size.label, size.file_label(displayed)))
    frames = _frames(source, clip, options)
    if output.holds_all_frames:
        check_room_for_animation(output.format, frames, displayed, alpha=clip.alpha)
    return ClipTask(
        source=source,
        target=target_path(source, destination, output.format, *labels),
        output=output,
        probe=_probe(clip, frames),
        height=height,
        width=width,
        lost=output.limitations(source, clip, (height, width), settings),
        clip=clip,
        open=opened,
        format=output.format,
        settings=settings,
        options=options,
    )


def _opener(
    source: Source, destination: Destination, options: ClipOptions, largest_px: int
) -> Callable[[], FrameSource]:
    content = source.content
    if source.is_sequence:
        rate = _rate(destination, options)
        return lambda: SequenceReader(
            str(content), rate, start_s=options.start_s, end_s=options.end_s, strict=options.strict
        )
    if options.frame_rate is not None:
        raise UsageError("--fps applies only to image sequences, as a clip keeps its own timestamps")
    if isinstance(content, Path) and not is_clip(source):
        return lambda: AnimationReader(
            content,
            start_s=options.start_s,
            end_s=options.end_s,
            largest_px=largest_px,
            keep_damaged=options.may_end_early,
        )
    return lambda: VideoReader(
        content if isinstance(content, Path) else cast(BinaryIO, content),
        deinterlace=options.deinterlace,
        start_s=options.start_s,
        end_s=options.end_s,
        strict=options.strict,
        may_end_early=options.may_end_early,
    )


def _rate(destination: Destination, options: ClipOptions) -> Fraction:
    if destination.path is None:
        raise UsageError("an image sequence needs a name for the result", hint="name it with -o")
    if options.frame_rate is None and not is_sequence(str(destination.path)):
        raise UsageError("an image sequence has no frame rate", hint="set the frames per second with --fps")
    return options.frame_rate or USUAL_RATE


def _looked_at(source: Source, opener: Callable[[], FrameSource]) -> tuple[Clip, Callable[[], FrameSource]]:
    """Return the properties of a clip and a function that opens it.

    A stream stays open, because it can be read only once.
    """
    if isinstance(source.content, Path):
        with opener() as reader:
            return reader.clip, opener
    stream = opener()
    return stream.clip, lambda: stream


def _size_of(clip: Clip, size: Geometry) -> tuple[int, int]:
    """Return the height and width of the frames.

    The geometry applies to the clip as it is displayed, after rotation.
    """
    if not clip.swaps_sides:
        return size.size_of(clip.height, clip.width)
    width, height = size.size_of(clip.width, clip.height)
    return height, width


def _choose_output(source: Source, destination: Destination, clip: Clip, options: ClipOptions) -> ClipOutput:
    """Choose the kind of result that is made of a clip.

    Raises:
        UsageError: The destination and the options contradict each other.
        OutputError: Results would replace inputs.
    """
    if options.preview is not None:
        return PreviewSheet(destination)
    format = choose_clip_format(destination, clip.container)
    if isinstance(format, Container):
        return RawStream(format) if format.is_raw else ContainerFile(format, options.audio)
    if destination.path is not None and is_sequence(str(destination.path)):
        return ImageSequence(format, source, sequence_names(str(destination.path)))
    if format.several == "frames" and source.folder is None:
        return Animation(format)
    raise UsageError(
        f"{source.name} is a clip, but {format.name} is a picture format",
        hint="name its frames, for example -o frames/%06d.png, or use --preview 9 to see some",
    )


def _probe(clip: Clip, frames: int) -> Probe:
    return Probe(
        format=clip.container,
        height=clip.height,
        width=clip.width,
        frames=frames,
        several="frames",
        alpha=clip.alpha,
        depth_bits=8 if clip.depth_bits <= 8 else 16,
        gray=clip.gray,
        notes=clip.notes,
    )


def _frames(source: Source, clip: Clip, options: ClipOptions) -> int:
    """Estimate the number of frames that are read: all in the part that is kept, or those of a preview.

    It is 1 if nothing is known, as for a pipe.

    Raises:
        InputError: The part that is kept has no frames.
    """
    if isinstance(source.content, Path) and source.content.is_file():
        clip = counted(source.content, clip)
    kept = _kept(clip, options)
    if options.preview is not None:
        return options.preview if kept is None else min(options.preview, kept)
    return kept or 1


def _kept(clip: Clip, options: ClipOptions) -> int | None:
    """Estimate the number of frames in the part that is kept; None if nothing is known."""
    if clip.frames is None or not clip.duration_s:
        return clip.frames
    start_s = options.start_s or 0
    end_s = min(clip.duration_s, options.end_s or clip.duration_s)
    if start_s >= clip.duration_s:
        raise InputError(f"the clip ends at {clip.duration_s:.2f} s, before the requested start")
    return max(1, round(clip.frames * (end_s - start_s) / clip.duration_s))
