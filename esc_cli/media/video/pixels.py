"""Conversion between the frames of a stream and RGB tensors, with swscale.

With accurate rounding and full chroma, 8-bit values differ by at most half a step (0.51) from the formulas of
H.273, and 4:4:4 of limited range survives a round trip unchanged. In swscale, 16-bit white is 65280
(255 * 256) in conversions to YUV, and to RGB from a limited range. In this program it is 65535.
"""

import re
from dataclasses import replace
from fractions import Fraction
from typing import cast

import av
import numpy as np
import numpy.typing as npt
import torch
from av import VideoFrame
from av.video.frame import PictureType
from av.video.reformatter import ColorRange, Interpolation
from torch import Tensor
from torch.nn import functional as F

from esc_cli.media.pixels.alpha import composite
from esc_cli.media.video.clip import UNSPECIFIED, Clip, ColorTags
from esc_cli.media.video.decoding import filter_graph

_EXACT = (
    Interpolation.AREA
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
)
"""Chroma is upsampled linearly and downsampled as a mean. Of six methods, this one has the smallest error: on
SMPTE bars enlarged by repetition, at most 0.72 of 255 in a plane, against 0.84 for bilinear and 0.82 for
bicubic."""

_RGB, _BT709, _BT601 = 0, 1, 6
_WHITE = (255, 255, 255)
_HIGH_DEFINITION_PX = 720
_PLANES = (2, 0, 1, 3)
"""Indices of red, green, blue and alpha in FFmpeg's planar RGB, which begins with green."""


def matrix_of(color: ColorTags, height: int) -> int:
    """Return the color matrix of a stream.

    If the stream states none, the result is what players assume: BT.709 from 720 rows on, BT.601 below.

    Args:
        color: Color tags of the stream.
        height: Height of its frames, in pixels.
    """
    if color.matrix not in (UNSPECIFIED, _RGB):
        return color.matrix
    return _BT709 if height >= _HIGH_DEFINITION_PX else _BT601


_ONLY_LIMITED_RANGE = re.compile(r"prores|dnxhd|mpeg[124]|msmpeg4|libxvid|h26[13]|flv|wmv|libvpx$|libtheora")
"""Encoders whose streams cannot state the range. Decoders assume the limited one."""


def written_tags(
    color: ColorTags, low_height: int, high_height: int, pixel_format: str, encoder: str
) -> ColorTags:
    """Return the color tags of an upscaled stream.

    The tags are those of the source. The matrix is set only if the source states none and players would
    assume another one at the larger size. The range is limited if the encoder's streams cannot state it.
    """
    if av.VideoFormat(pixel_format).is_rgb:
        return replace(color, matrix=_RGB, full_range=True)
    if color.full_range and _ONLY_LIMITED_RANGE.match(encoder):
        color = replace(color, full_range=False)
    matrix = matrix_of(color, low_height)
    if color.matrix == _RGB or matrix != matrix_of(color, high_height):
        return replace(color, matrix=matrix)
    return color


def resized(frame: VideoFrame, clip: Clip) -> VideoFrame:
    """Return a frame in the size of its clip, as players show it when a stream changes its size."""
    how = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
    return frame.reformat(width=clip.width, height=clip.height, interpolation=how)


def to_rgb(frame: VideoFrame, clip: Clip) -> tuple[Tensor, Tensor | None]:
    """Convert a decoded frame to RGB.

    Args:
        frame: The frame, an av.VideoFrame.
        clip: The clip to which the frame belongs.

    Returns:
        Colors (1, 3, H, W), and alpha (1, 1, H, W) or None; uint8, or uint16 for more than 8 bits.
    """
    if not frame.format.is_rgb:
        frame.colorspace = matrix_of(clip.color, frame.height)
        frame.color_range = ColorRange.JPEG if clip.color.full_range else ColorRange.MPEG
    format = ("gbrap" if clip.alpha else "gbrp") + ("16le" if clip.depth_bits > 8 else "")
    planes = frame.reformat(format=format, dst_color_range=ColorRange.JPEG, interpolation=_EXACT)
    order = _PLANES if clip.alpha else _PLANES[:3]
    values = np.stack([_plane(planes, index)[:, : frame.width] for index in order])
    if values.dtype == np.uint16 and not (clip.color.full_range or clip.gray or frame.format.is_rgb):
        wide = values[:3].astype(np.uint32)
        values[:3] = np.minimum(wide + (wide >> 8), 65535)
    tensor = torch.from_numpy(values)[None]  # (1, 3 or 4, H, W)
    return tensor[:, :3], tensor[:, 3:] if clip.alpha else None


def to_frame(
    color: Tensor,
    alpha: Tensor | None,
    pixel_format: str,
    tags: ColorTags,
    captions: VideoFrame | None = None,
) -> VideoFrame:
    """Make an av.VideoFrame for an encoder.

    If chroma is subsampled, the last row or column is repeated until the size can be halved. If the pixel
    format has no alpha, transparent areas are composited on white.

    Args:
        color: RGB tensor, (1, 3, H, W), uint8 or uint16.
        alpha: Alpha tensor, (1, 1, H, W), same dtype as `color`; None means opaque if the format has alpha.
        pixel_format: FFmpeg's name of the pixel format that the encoder takes.
        tags: Color tags of the stream.
        captions: A frame whose closed captions the new frame gets; None if there are none.
    """
    if alpha is not None and not has_alpha(pixel_format):
        color, alpha = composite(color, alpha, _WHITE), None
    planes = color if alpha is None else torch.cat((color, alpha), dim=1)
    height, width = encoded_size(planes.shape[-2], planes.shape[-1], pixel_format)
    values = _padded(planes, height, width)[0].numpy()  # (3 or 4, H, W)
    format = ("gbrap" if len(values) == 4 else "gbrp") + ("16le" if values.dtype == np.uint16 else "")
    if values.dtype == np.uint16 and not av.VideoFormat(pixel_format).is_rgb:
        values = np.concatenate((values[:3] - (values[:3] >> 8), values[3:]))
    frame = _new_frame(height, width, format, captions)
    for index, plane in zip(_PLANES, values, strict=False):
        _plane(frame, index)[:, :width] = plane
    return _converted(frame, pixel_format, tags)


def _new_frame(height: int, width: int, format: str, captions: VideoFrame | None) -> VideoFrame:
    """Return a frame with the captions of another one, but without its other properties."""
    if captions is None:
        return av.VideoFrame(width, height, format)
    frame = captions.reformat(width=width, height=height, format=format)
    frame.pict_type = PictureType.NONE  # an encoder would choose the same type
    frame.color_primaries = frame.color_trc = UNSPECIFIED
    return frame


def encoded_size(height: int, width: int, pixel_format: str) -> tuple[int, int]:
    """Return the size of the frames in a stream; chroma planes of half the size need an even size.

    Args:
        height: Height of the frames, in pixels.
        width: Width of the frames, in pixels.
        pixel_format: FFmpeg's name of the pixel format.

    Returns:
        Height and width, each rounded up to the next size that the pixel format supports.
    """
    format = av.VideoFormat(pixel_format)
    across, down = 64 // format.chroma_width(64), 64 // format.chroma_height(64)
    return height + -height % down, width + -width % across


def has_alpha(pixel_format: str) -> bool:
    """Return whether a pixel format, given by FFmpeg's name, has alpha."""
    return any(component.is_alpha for component in av.VideoFormat(pixel_format).components)


def _converted(frame: VideoFrame, pixel_format: str, tags: ColorTags) -> VideoFrame:
    frame.color_range = ColorRange.JPEG
    rgb = av.VideoFormat(pixel_format).is_rgb
    frame.colorspace = _RGB if rgb else matrix_of(tags, frame.height)
    if not rgb:
        frame = _with_left_chroma(frame)
    full = rgb or tags.full_range
    target_range = ColorRange.JPEG if full else ColorRange.MPEG
    made = frame.reformat(format=pixel_format, dst_color_range=target_range, interpolation=_EXACT)
    made.colorspace, made.color_primaries, made.color_trc = tags.matrix, tags.primaries, tags.transfer
    made.color_range = target_range if tags.range_stated else ColorRange.UNSPECIFIED
    return made


def _with_left_chroma(frame: VideoFrame) -> VideoFrame:
    """Return a frame from which swscale makes chroma at the left of its pixels, in the middle of two rows.

    This is where decoders of H.264, H.265 and most others expect chroma if nothing is stated; swscale's own
    default is the center of the pixels. PyAV has no other way to set the location.

    Source: ITU-T H.273, 8.7 (chroma sample location type 0).
    """
    graph = filter_graph(frame, frame.time_base or Fraction(1), "setparams", "chroma_location=left")
    graph.push(frame)
    return cast(VideoFrame, graph.pull())


def _padded(planes: Tensor, height: int, width: int) -> Tensor:
    """Repeat the last row and column; the values pass through int32, because torch does not pad uint16."""
    down, across = height - planes.shape[-2], width - planes.shape[-1]
    if not down and not across:
        return planes
    return F.pad(planes.to(torch.int32).float(), (0, across, 0, down), mode="replicate").to(planes.dtype)


def _plane(frame: VideoFrame, index: int) -> npt.NDArray[np.generic]:
    """Return a plane of a planar frame as an array that shares its memory, including the row padding."""
    plane = frame.planes[index]
    dtype = np.uint16 if frame.format.name.endswith("16le") else np.uint8
    return np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)
