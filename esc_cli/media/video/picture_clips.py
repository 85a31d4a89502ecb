"""Facts and notes on clips that are made of pictures, and notes on pictures that are made of clips."""

from collections.abc import Iterator
from fractions import Fraction

from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.probe import Probe
from esc_cli.media.video.clip import Clip, ColorTags

_CONTAINER = "image2"
_WITHOUT_STREAMS = (_CONTAINER, "yuv4mpegpipe")
"""Containers that hold only frames, without timestamps."""

_BT709 = 1
_BT2020 = 9
_HDR_TRANSFERS = (16, 18)
"""PQ and HLG. Source: ITU-T H.273, table 3."""


def clip_of_pictures(
    first: Probe, frames: int, gray: bool, frame_rate: Fraction, notes: tuple[str, ...]
) -> Clip:
    """Return the facts about the clip that is encoded from pictures; see ``SequenceReader``.

    Args:
        first: The header of the first picture.
        frames: Number of pictures.
        gray: Whether all of them are gray.
        frame_rate: Frames per second.
        notes: One sentence for each unusual property.
    """
    deep = first.depth_bits > 8
    chroma = "gray" if gray and not first.alpha else "yuva420p" if first.alpha else "yuv420p"
    return Clip(
        container=_CONTAINER,
        codec=first.format.lower(),
        height=first.height,
        width=first.width,
        pixel_format=f"{chroma}10le" if deep else chroma,
        depth_bits=10 if deep else 8,
        alpha=first.alpha,
        gray=gray,
        interlaced=False,
        time_base=1 / frame_rate,
        frame_rate=frame_rate,
        frames=frames,
        duration_s=float(frames / frame_rate),
        # swscale always treats gray as full range.
        color=ColorTags(chroma == "gray", matrix=_BT709, primaries=_BT709, transfer=_BT709),
        sample_aspect_ratio=None,
        rotation_deg=0,
        display_matrix=(),
        start_pts=0,
        origin_s=Fraction(0),
        hdr=None,
        stream_index=0,
        notes=notes,
        of_pictures=True,
    )


def notes_on_pictures(probed: Probe) -> Iterator[str]:
    """Yield a sentence for each change of a picture that becomes a frame."""
    yield from probed.notes
    if probed.floating and FORMATS[probed.format].scene_linear:
        yield "light is converted to sRGB, and what is brighter than white becomes white"
    elif probed.floating:
        yield "floats are converted to 16 bits per channel, and NaN to black"
    if "icc_profile" in probed.parts:
        yield "the pictures are converted from their color profiles to sRGB"
    if probed.parts - {"icc_profile", "dpi"}:
        yield "the pictures' EXIF, XMP, captions, text and comments are not kept: frames cannot store them"


def notes_on_streams(clip: Clip, missing: str) -> Iterator[str]:
    """Yield a sentence for each thing besides the frames that a clip loses when it becomes pictures.

    Args:
        clip: The source clip.
        missing: A clause that says what the pictures do not have.
    """
    if clip.container not in _WITHOUT_STREAMS:
        yield f"only the frames are kept: {missing}"
    if clip.captions:
        yield "closed captions are not kept"
    if clip.hdr is not None or clip.color.transfer in _HDR_TRANSFERS or clip.color.primaries == _BT2020:
        yield "HDR and BT.2020 colors are not converted, and the pictures do not state their color space"
    if clip.sample_aspect_ratio not in (None, 1):
        yield f"the pixel aspect ratio {clip.sample_aspect_ratio} is not kept: pictures have square pixels"
