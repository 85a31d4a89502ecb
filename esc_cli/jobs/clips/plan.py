"""All decisions about a clip before any work."""

import os
from collections.abc import Callable
from fractions import Fraction
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, cast

from esc_cli.enhancement.size import Geometry
from esc_cli.errors import InputError, OutputError, UsageError
from esc_cli.jobs.clips.options import NO_SETTINGS, ClipOptions
from esc_cli.jobs.clips.task import ClipTask, FrameSource
from esc_cli.jobs.naming import Destination, choose_clip_format, target_path
from esc_cli.jobs.sources import Source
from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.formats.registry import FORMATS, check_fits
from esc_cli.media.probe import Probe
from esc_cli.media.video.clip import Clip
from esc_cli.media.video.encoding import EncodeSettings, check_settings, padding_notes
from esc_cli.media.video.formats import CLIP_EXTENSIONS, ClipFormat
from esc_cli.media.video.image_sequence import SequenceReader, sequence_losses
from esc_cli.media.video.library import head_of
from esc_cli.media.video.mux import copies
from esc_cli.media.video.reader import VideoReader
from esc_cli.media.video.sequence_names import Numbered, is_sequence, numbered
from esc_cli.media.video.settings import alpha_notes
from esc_cli.media.video.signatures import looks_like_clip

_USUAL_RATE = Fraction(25)


def is_clip(source: Source) -> bool:
    """Tell whether a source is a clip, numbered pictures or a stream of frames."""
    content = source.content
    if not isinstance(content, Path):
        return isinstance(content, BufferedReader)
    if is_sequence(str(content)) or content.suffix.lower() in CLIP_EXTENSIONS:
        return True
    return os.path.isfile(content) and looks_like_clip(head_of(content))  # noqa: PTH113 - as in sources


def plan_clip(source: Source, destination: Destination, size: Geometry, options: ClipOptions) -> ClipTask:
    """Plan what is made of a clip.

    Args:
        source: The clip.
        destination: Where results go.
        size: Of the result, as it is shown.
        options: What was asked for.

    Raises:
        InputError: It cannot be read, is interlaced, or has nothing in the part that is kept.
        OutputError: The format cannot hold it.
        UsageError: The options do not fit it.
    """
    opener = _opener(source, destination, options)
    clip, opened = _looked_at(source, opener)
    height, width = _size_of(clip, size)
    format = _format(source, destination, clip, options)
    if isinstance(format, PictureFormat):
        check_fits(height, width, format)
    settings = _settings(clip, format, options)
    return ClipTask(
        source=source,
        target=_target(source, destination, format, size, options),
        numbered_targets=_numbered_targets(source, destination, format, options),
        probe=_probe(clip, options),
        height=height,
        width=width,
        lost=_losses(source, clip, format, (height, width), settings, options),
        clip=clip,
        open=opened,
        format=format,
        settings=settings,
        options=options,
    )


def _opener(source: Source, destination: Destination, options: ClipOptions) -> Callable[[], FrameSource]:
    content = source.content
    if isinstance(content, Path) and is_sequence(str(content)):
        rate = _rate(destination, options)
        return lambda: SequenceReader(str(content), rate, start_s=options.start_s, end_s=options.end_s)
    if options.frame_rate is not None:
        raise UsageError("--fps is for numbered pictures: a clip keeps the times of its frames")
    return lambda: VideoReader(
        content if isinstance(content, Path) else cast(BinaryIO, content),
        deinterlace=options.deinterlace,
        start_s=options.start_s,
        end_s=options.end_s,
    )


def _rate(destination: Destination, options: ClipOptions) -> Fraction:
    if destination.path is None:
        raise UsageError("numbered pictures need a name for the result", hint="give it with -o")
    if options.frame_rate is None and not is_sequence(str(destination.path)):
        raise UsageError("numbered pictures have no speed", hint="give frames a second with --fps")
    return options.frame_rate or _USUAL_RATE


def _looked_at(source: Source, opener: Callable[[], FrameSource]) -> tuple[Clip, Callable[[], FrameSource]]:
    """Give the facts of a clip, and what opens it; a stream, which can be read but once, stays open."""
    if isinstance(source.content, Path):
        with opener() as reader:
            return reader.clip, opener
    stream = opener()
    return stream.clip, lambda: stream


def _size_of(clip: Clip, size: Geometry) -> tuple[int, int]:
    """Give height and width of the frames; the geometry is about the clip as it is shown, turned."""
    if clip.rotation_deg % 180 == 0:
        return size.size_of(clip.height, clip.width)
    width, height = size.size_of(clip.width, clip.height)
    return height, width


def _format(
    source: Source, destination: Destination, clip: Clip, options: ClipOptions
) -> ClipFormat | PictureFormat:
    if options.preview is not None:
        return _format_of_preview(destination)
    format = choose_clip_format(destination, clip.container)
    if isinstance(format, PictureFormat) and not _to_sequence(destination):
        raise UsageError(
            f"{source.name} is a clip, and {format.name} holds pictures",
            hint="name its frames, such as -o frames/%06d.png, or see some with --preview 9",
        )
    return format


def _format_of_preview(destination: Destination) -> PictureFormat:
    if isinstance(destination.format, PictureFormat):
        return destination.format
    if destination.format is not None and not destination.is_folder:
        raise UsageError(f"a preview is a picture, and {destination.format.name} holds clips")
    return FORMATS["PNG"]


def _to_sequence(destination: Destination) -> bool:
    return destination.path is not None and is_sequence(str(destination.path))


def _settings(clip: Clip, format: ClipFormat | PictureFormat, options: ClipOptions) -> EncodeSettings:
    if isinstance(format, ClipFormat):
        return check_settings(clip, format.container, options.encode)
    if options.encode != NO_SETTINGS:
        raise UsageError(f"the options of video encoders mean nothing for {format.name}")
    return options.encode


def _target(
    source: Source,
    destination: Destination,
    format: ClipFormat | PictureFormat,
    size: Geometry,
    options: ClipOptions,
) -> Path | None:
    label = f"{size.label}_preview" if options.preview is not None else size.label
    return target_path(source, destination, format, label)


def _numbered_targets(
    source: Source, destination: Destination, format: ClipFormat | PictureFormat, options: ClipOptions
) -> Numbered | None:
    """Give the names of pictures.

    Raises:
        OutputError: They are those of inputs.
    """
    if not _to_sequence(destination) or isinstance(format, ClipFormat) or options.preview is not None:
        return None
    targets = numbered(str(destination.path))
    if _is_numbered(source) and _real_names(numbered(str(source.content))) & _real_names(targets):
        raise OutputError(
            f"'{targets}' names inputs, and results never replace inputs", hint="choose another place with -o"
        )
    return targets


def _real_names(names: Numbered) -> set[str]:
    return {os.path.realpath(path) for path in names.found()}


def _is_numbered(source: Source) -> bool:
    return isinstance(source.content, Path) and is_sequence(str(source.content))


def _probe(clip: Clip, options: ClipOptions) -> Probe:
    return Probe(
        format=clip.container,
        height=clip.height,
        width=clip.width,
        frames=_frames(clip, options),
        alpha=clip.alpha,
        depth_bits=8 if clip.depth_bits <= 8 else 16,
        gray=clip.gray,
        notes=clip.notes,
    )


def _frames(clip: Clip, options: ClipOptions) -> int:
    """Estimate the frames of the part that is kept; 1 where nothing is known.

    Raises:
        InputError: There are none.
    """
    if options.preview is not None:
        return options.preview
    frames = clip.frames or 1
    if clip.frame_rate is None or clip.duration_s is None:
        return frames
    start_s = options.start_s or 0
    end_s = min(clip.duration_s, options.end_s or clip.duration_s)
    if start_s >= clip.duration_s:
        raise InputError(f"the clip ends at {clip.duration_s:.2f} s, before the start that was asked for")
    kept = (end_s - start_s) / clip.duration_s
    return max(1, round(frames * kept))


def _losses(
    source: Source,
    clip: Clip,
    format: ClipFormat | PictureFormat,
    size: tuple[int, int],
    settings: EncodeSettings,
    options: ClipOptions,
) -> tuple[str, ...]:
    """Say what the result cannot hold, and what else differs from what one would expect."""
    if isinstance(format, PictureFormat):
        return clip.notes if options.preview is not None else (*clip.notes, *sequence_losses(clip, format))
    lost = [*clip.notes, *padding_notes(clip, *size, settings), *alpha_notes(clip, settings)]
    if format.is_raw:
        lost.append(f"{format.name} holds frames alone, and no times of theirs")
    elif isinstance(source.content, Path) and not _is_numbered(source):
        lost += copies(source.content, format.container).lost
    return tuple(lost)
