"""Rehearse the work with an encoder that the user chose: encode and join a few frames before the work.

Encoders and containers do not always do what they promise. Some encoders start and then refuse frames of
some size, rate or unit of time, and some streams lose their timestamps on the way.
"""

import tempfile
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import torch

from esc_cli.errors import EscError, UsageError
from esc_cli.media.video.clip import Clip, main_stream
from esc_cli.media.video.containers import Container
from esc_cli.media.video.encode_settings import EncodeSettings
from esc_cli.media.video.encoding import SegmentWriter
from esc_cli.media.video.frame import Frame
from esc_cli.media.video.library import open_clip, packets_of
from esc_cli.media.video.mux import mux
from esc_cli.media.video.settings import open_at

_FRAMES = 8
_LARGEST_SIDE_PX = 256
"""Side of the frames that are encoded; encoders of graphics cards refuse much smaller ones."""

_TOLERANCE_S = Fraction(1, 500)
"""Matroska and its muxer round timestamps to a millisecond each."""

_HINT = "choose another encoder, such as libx264 or ffv1"


def rehearse(clip: Clip, container: Container, size: tuple[int, int], settings: EncodeSettings) -> None:
    """Refuse an encoder with which the clip cannot be made.

    The encoder is opened for frames of the full size, and makes a clip of a few small ones.

    Args:
        clip: The source clip.
        container: Container of the target.
        size: Size of the frames, (height, width), in pixels.
        settings: Complete settings, from ``check_settings``.

    Raises:
        UsageError: The clip cannot be made with these settings.
    """
    height, width = size
    refused = UsageError(
        f"{settings.codec} cannot make this clip in {container.name}, with frames of {width}x{height}",
        hint=_HINT,
    )
    if not open_at(clip, size, settings):
        raise refused
    steady = replace(clip, start_pts=0, origin_s=Fraction(0), display_matrix=(), captions=False)
    small = min(height, _LARGEST_SIDE_PX), min(width, _LARGEST_SIDE_PX)
    try:
        with tempfile.TemporaryDirectory() as folder:
            shown = _made(Path(folder), steady, container, small, settings)
    except (EscError, OSError) as error:
        raise refused from error
    times = [frame.pts * clip.time_base for frame in _frames(steady, small)]
    if len(shown) != len(times) or any(abs(a - b) > _TOLERANCE_S for a, b in zip(shown, times, strict=True)):
        raise refused


def _made(
    folder: Path, clip: Clip, container: Container, size: tuple[int, int], settings: EncodeSettings
) -> list[Fraction]:
    """Make a clip and return the times of its frames."""
    segment, target = folder / "segment.mkv", folder / f"clip{container.extensions[0]}"
    with SegmentWriter(segment, clip, *size, settings) as writer:
        for frame in _frames(clip, size):
            writer.write(frame)
    mux([segment], None, target, container, clip, frames=_FRAMES)
    with closing(open_clip(target)) as file:
        stream = main_stream(file, "")
        packets = [packet for packet in packets_of(file, stream) if packet.size]
        return sorted((packet.pts or 0) * Fraction(packet.time_base) for packet in packets)


def _frames(clip: Clip, size: tuple[int, int]) -> list[Frame]:
    dtype = torch.uint8 if clip.depth_bits <= 8 else torch.uint16
    alpha = torch.zeros((1, 1, *size), dtype=dtype) if clip.alpha else None
    frames = []
    for number in range(_FRAMES):
        color = torch.zeros((1, 3, *size), dtype=dtype)
        color[..., number : 2 * number] = 200
        frames.append(Frame(color, number * clip.usual_duration, clip.usual_duration, alpha))
    return frames
