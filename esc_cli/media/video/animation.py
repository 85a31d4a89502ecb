"""Animations (GIF, APNG, animated WebP) as clips, and the frames of clips as animations.

All frames of an animation are in memory: formats with patches and palettes are decoded and encoded as a
whole.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from esc_cli.errors import InputError
from esc_cli.media.color.conversion import to_srgb
from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.limitations import limitations
from esc_cli.media.picture import AnimationTiming, Picture, PictureFile
from esc_cli.media.pillow import LARGEST_INPUT_PX
from esc_cli.media.pixels.depth import with_depth
from esc_cli.media.probe import Probe, probe
from esc_cli.media.read import read_file
from esc_cli.media.video.clip import Clip
from esc_cli.media.video.frame import Frame
from esc_cli.media.video.picture_clips import clip_of_pictures, notes_on_pictures, notes_on_streams

_SHOWN_WITHOUT_DURATION_S = Fraction(1, 10)
"""How long browsers show a frame that states no duration. Source: Chromium and Firefox, image decoders."""

_USUAL_TIME_BASE = Fraction(1, 90_000)
_MOST_UNITS = 1_000_000
"""The finest time base, in units in a second. Durations that need a finer one are rounded."""

_OPAQUE = 255


class AnimationReader:
    """A context manager that reads an animation as the frames of a clip.

    Frames are complete canvases. Their timestamps are the sums of the durations before them, exactly.

    Attributes:
        clip: Facts about the clip that will be encoded from the frames: BT.709 of limited range with 4:2:0
            chroma, which every player supports. See ``SequenceReader``.
        skipped: Always 0.

    Args:
        path: The animation.
        start_s: Start time. The first frame is the first one at or after this time. None means the beginning.
        end_s: End time. Frames at or after this time are left out. None means the end.
        largest_px: Maximum number of pixels of all frames together.
        keep_damaged: Whether to read what is left of a damaged animation. The clip's notes say so.

    Raises:
        InputError: The file cannot be read, is damaged, or is not an animation.
    """

    def __init__(
        self,
        path: Path,
        *,
        start_s: float | None = None,
        end_s: float | None = None,
        largest_px: int = LARGEST_INPUT_PX,
        keep_damaged: bool = False,
    ) -> None:
        probed = probe(path, largest_px, keep_damaged=keep_damaged)
        file = read_file(path, largest_px, keep_damaged=keep_damaged)
        if file.timing is None:
            raise InputError(f"{path} is not an animation")
        self.skipped = 0
        self._pictures = file.pictures
        time_base, self._ends = exact_times(file.timing.durations_ms)
        self.clip: Clip = _clip_of(probed, file, time_base, self._ends[-1])
        self._begin = 0 if start_s is None else max(0, self.clip.pts_at(start_s))
        self._end = self._ends[-1] if end_s is None else self.clip.pts_at(end_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing, because no file stays open."""

    def __iter__(self) -> Iterator[Frame]:
        """Iterate over the frames; this is possible any number of times."""
        return self.frames_from(self._begin)

    def times(self) -> tuple[int, ...]:
        """Return the timestamps of the frames that iteration yields."""
        return tuple(pts for pts, _ in self._spans() if self._begin <= pts < self._end)

    def peek(self) -> Tensor:
        """Return the color of the first frame, (1, 3, H, W)."""
        return self._frame(0, 0, 0).color

    def frames_from(self, pts: int) -> Iterator[Frame]:
        """Yield the frames from a timestamp on."""
        for index, (begin, end) in enumerate(self._spans()):
            if pts <= begin < self._end:
                yield self._frame(index, begin, end - begin)

    def frames_after(self, count: int, pts: int | None) -> Iterator[Frame]:
        """Yield the frames that iteration yields after its first ones.

        Args:
            count: Number of frames to leave out.
            pts: Unused, because it follows from the count.
        """
        times = self.times()[count:]
        return self.frames_from(times[0]) if times else iter(())

    def _spans(self) -> Iterator[tuple[int, int]]:
        """Return the beginning and the end of each frame."""
        return pairwise((0, *self._ends))

    def _frame(self, index: int, pts: int, duration: int) -> Frame:
        picture = to_srgb(self._pictures[index])
        alpha = picture.alpha
        if self.clip.alpha and alpha is None:
            alpha = torch.full_like(picture.color[:, :1], _OPAQUE)
        return Frame(picture.color, pts, duration, alpha if self.clip.alpha else None)


class AnimationWriter:
    """A context manager that collects frames, from which ``file`` makes an animation.

    Timestamps become durations. Frames that are one tensor stay one picture, which formats encode once.

    Args:
        clip: The source clip, whose rotation is applied to the frames.
    """

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self._pictures: list[Picture] = []
        self._times: list[int] = []
        self._last: Frame | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, frame: Frame) -> None:
        """Add a frame, in 8 bits."""
        same = self._last is not None and self._last.color is frame.color
        self._pictures.append(self._pictures[-1] if same else self._picture(frame))
        self._times.append(frame.pts)
        self._last = frame

    @property
    def file(self) -> PictureFile | None:
        """The animation, which is played forever. None if there are no frames."""
        if self._last is None:
            return None
        end = self._last.pts + (self._last.duration or self._clip.usual_duration)
        spans = pairwise((*self._times, end))
        unit_ms = 1000 * self._clip.time_base
        timing = AnimationTiming(tuple(float((after - before) * unit_ms) for before, after in spans))
        return PictureFile(tuple(self._pictures), timing if len(self._pictures) > 1 else None)

    def _picture(self, frame: Frame) -> Picture:
        upright = frame.turned(self._clip.rotation_deg)
        return with_depth(upright.as_picture(gray=self._clip.gray), 8)


def is_animation(path: Path, largest_px: int = LARGEST_INPUT_PX, *, keep_damaged: bool = False) -> bool:
    """Return whether a file is a picture of several frames. A file that cannot be read is not one."""
    try:
        return probe(path, largest_px, keep_damaged=keep_damaged).several == "frames"
    except InputError:
        return False


def animation_limitations(clip: Clip, format: PictureFormat) -> tuple[str, ...]:
    """Return what a clip loses when its frames are written as an animation.

    Args:
        clip: The source clip.
        format: Format of the animation.

    Returns:
        One sentence for each loss, without a full stop.
    """
    one = Probe("", clip.height, clip.width, 1, clip.alpha, gray=clip.gray)
    deep = (f"{clip.depth_bits} bits per channel are reduced to 8, as frames of animations have",)
    return (
        *notes_on_streams(clip, "an animation has no sound, subtitles or chapters"),
        *(deep if clip.depth_bits > 8 else ()),
        *limitations(one, format, frozenset()),
        *format.timing_limitations(float(clip.rate)),
    )


def exact_times(durations_ms: Sequence[float]) -> tuple[Fraction, tuple[int, ...]]:
    """Return a time base in which the durations of frames are whole numbers, and the end of each frame.

    Durations of 0 become those that browsers show. If the time base would be too fine, the ends are rounded,
    so that errors do not add up.
    """
    exact = [
        Fraction(duration_ms / 1000).limit_denominator(_MOST_UNITS) or _SHOWN_WITHOUT_DURATION_S
        for duration_ms in durations_ms
    ]
    units = math.lcm(*(duration.denominator for duration in exact))
    time_base = Fraction(1, units) if units <= _MOST_UNITS else _USUAL_TIME_BASE
    return time_base, tuple(round(end / time_base) for end in accumulate(exact))


def _clip_of(probed: Probe, file: PictureFile, time_base: Fraction, duration: int) -> Clip:
    alpha = any(picture.alpha is not None and _is_seen(picture.alpha) for picture in file.pictures)
    gray = all(picture.gray for picture in file.pictures)
    count, length_s = len(file.pictures), duration * time_base
    rate = (count / length_s).limit_denominator(1001) or Fraction(1, round(length_s / count))
    shown = replace(probed, alpha=alpha, depth_bits=8)
    clip = clip_of_pictures(shown, count, gray, rate, tuple(_notes(probed, file)))
    return replace(clip, container=probed.format, time_base=time_base, duration_s=float(length_s))


def _is_seen(alpha: Tensor) -> bool:
    return bool((alpha != _OPAQUE).any())


def _notes(probed: Probe, file: PictureFile) -> Iterator[str]:
    yield from dict.fromkeys((*notes_on_pictures(probed), *file.first.notes))
    timing = file.timing
    if timing is not None and timing.loop != 1:
        yield "the result is not repeated, as the animation is"
    if timing is not None and not all(timing.durations_ms):
        yield "frames without a duration are shown for 0.1 s, as browsers do"
