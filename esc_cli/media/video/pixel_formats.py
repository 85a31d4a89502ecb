"""Choose the pixel format of a stream, and say what it changes."""

import re
from collections.abc import Sequence

import av
from av import Codec

from esc_cli.errors import UsageError
from esc_cli.media.video.clip import Clip
from esc_cli.media.video.encode_settings import EncodeSettings
from esc_cli.media.video.pixels import encoded_size, has_alpha

_USUAL_FORMATS = re.compile(r"gray(\d+le)?|yuv[aj]?4\d\dp(\d+le)?|p010le")
"""Formats to choose from: planar ones, and the hardware encoders' name for 4:2:0 with 10 bits.

Those with a ``j`` are of full range.
"""

_REFUSED_FORMATS = {
    "libvpx-vp9": frozenset(("yuva422p", "yuva444p", "gbrap")),
    "mjpeg": frozenset(("yuv420p", "yuv422p", "yuv444p")),
}
"""Pixel formats that FFmpeg lists for an encoder, but which the encoder does not start with."""

RAW_FORMATS = (
    *("gray", "gray10le", "gray12le", "gray16le", "yuv411p"),
    *(
        f"yuv{chroma}p{bits}"
        for chroma in ("420", "422", "444")
        for bits in ("", "10le", "12le", "14le", "16le")
    ),
)
"""Pixel formats of YUV4MPEG2. Source: FFmpeg, libavformat/yuv4mpegenc.c."""


def choose_pixel_format(clip: Clip, encoder: Codec, stated: str | None) -> str:
    """Return the pixel format for an encoder, by default its nearest one to the clip's chroma and bit depth.

    Args:
        clip: The source clip.
        encoder: The encoder.
        stated: The pixel format that the user chose, or None.

    Raises:
        UsageError: The encoder does not support the chosen pixel format, or it does not exist.
    """
    formats = [format.name for format in encoder.video_formats or ()]
    if stated is not None:
        if formats and stated not in formats:
            raise UsageError(f"{encoder.name} does not support the pixel format {stated!r}")
        return _checked(stated)
    refused = _REFUSED_FORMATS.get(encoder.name, frozenset())
    formats = [name for name in formats if name not in refused]
    return nearest_format(clip, formats) if formats else clip.pixel_format


def _checked(pixel_format: str) -> str:
    try:
        av.VideoFormat(pixel_format)
    except ValueError as error:
        raise UsageError(f"there is no pixel format named {pixel_format!r}") from error
    return pixel_format


def nearest_format(clip: Clip, formats: Sequence[str]) -> str:
    """Return the pixel format that loses least of a clip and, among those, adds least.

    Bits are more important than chroma resolution. 4:4:0 becomes 4:4:4 and 4:1:1 becomes 4:2:2 if an encoder
    does not support them, since this loses nothing. RGB becomes 4:4:4.
    """
    usual = [name for name in formats if _USUAL_FORMATS.fullmatch(name)]
    return min(usual, key=lambda name: _distance(clip, name)) if usual else formats[0]


def _distance(clip: Clip, pixel_format: str) -> tuple[float, ...]:
    """Return what a pixel format loses of a clip and what it adds, the most important first."""
    format = av.VideoFormat(pixel_format)
    bits, (across, down) = format.components[0].bits, _subsampling(format)
    source_across, source_down = _subsampling(av.VideoFormat(clip.pixel_format))
    lost = max(0, clip.depth_bits - bits), max(1, across / source_across) * max(1, down / source_down)
    gray = pixel_format.startswith("gray")
    return (
        clip.alpha and not has_alpha(pixel_format),
        gray and not clip.gray,
        *((lost[0],) if clip.gray else lost),
        clip.gray and not gray,
        not clip.alpha and has_alpha(pixel_format),
        max(1, source_across / across) * max(1, source_down / down),
        bits,
    )


def padding_notes(clip: Clip, height: int, width: int, settings: EncodeSettings) -> tuple[str, ...]:
    """Return a note if the stream is larger than the frames because its chroma needs even sizes.

    Args:
        clip: The source clip.
        height: Height of the upscaled frames, in pixels.
        width: Width of the upscaled frames, in pixels.
        settings: Complete settings.
    """
    high = encoded_size(height, width, settings.pixel_format or clip.pixel_format)
    if high == (height, width):
        return ()
    return (
        f"{settings.pixel_format} needs even sizes: the last row or column is repeated, and {width}x{height} "
        f"becomes {high[1]}x{high[0]} (--pixel-format yuv444p keeps the size)",
    )


def alpha_notes(clip: Clip, settings: EncodeSettings) -> tuple[str, ...]:
    """Return a note if the clip has alpha but the stream does not; the writers composite it on white.

    Args:
        clip: The source clip.
        settings: Complete settings.
    """
    if not clip.alpha or has_alpha(settings.pixel_format or clip.pixel_format):
        return ()
    return (f"{settings.pixel_format} cannot hold transparency: transparent areas are blended with white",)


def format_notes(clip: Clip, settings: EncodeSettings) -> tuple[str, ...]:
    """Return a note if the stream has fewer bits or a coarser chroma than the clip.

    Args:
        clip: The source clip.
        settings: Complete settings.
    """
    name = settings.pixel_format or clip.pixel_format
    low, high = av.VideoFormat(clip.pixel_format), av.VideoFormat(name)
    lost = []
    bits = high.components[0].bits
    if bits < clip.depth_bits:
        lost.append(f"{clip.depth_bits} bits per value become {bits}")
    pairs = zip(_subsampling(low), _subsampling(high), strict=True)
    if not clip.gray and any(after > before for before, after in pairs):
        lost.append("the resolution of chroma is reduced")
    return (f"{' and '.join(lost)} in {name}",) if lost else ()


def _subsampling(format: av.VideoFormat) -> tuple[int, int]:
    """Return how many columns and rows share one value of chroma; gray counts as 4:2:0."""
    if format.has_palette:
        return 1, 1
    if len(format.components) < 3:
        return 2, 2
    return 64 // format.chroma_width(64), 64 // format.chroma_height(64)
