"""The choice of an encoder and its options: the user's settings, completed to suit clip and container."""

import io
import math
import os
import re
from dataclasses import replace
from fractions import Fraction
from typing import cast

import av
from av import Codec, CodecContext
from av.video.codeccontext import VideoCodecContext

from esc_cli.errors import UsageError
from esc_cli.media.video.clip import Clip
from esc_cli.media.video.containers import Container, EncodeSettings
from esc_cli.media.video.pixels import encoded_size, has_alpha

__all__ = ["EncodeSettings", "alpha_notes", "check_settings", "encoded_size", "padding_notes"]

_DEFAULT_CRF = {"libx264": 16.0, "libx265": 16.0, "libvpx-vp9": 18.0, "libsvtav1": 18.0}
"""Visually lossless values: 47.5 to 48.6 dB PSNR in RGB, on 17 frames of a NASA film, upscaled x2."""

_GREATEST_CRF = {"libx264": 51, "libx265": 51}
"""Maximum for encoders that silently clamp greater values; other encoders refuse such values themselves."""

_X264_NAMES = {
    "preset": "ultrafast superfast veryfast faster fast medium slow slower veryslow placebo",
    "tune": "film animation grain stillimage psnr ssim fastdecode zerolatency touhou",
    "profile": "baseline main high high10 high422 high444",
}
"""Valid values, checked here because x264 itself prints errors, past FFmpeg's log. Source: x264.h."""

_DEFAULT_OPTIONS = {
    "libx265": (("x265-params", "log-level=none:open-gop=0"),),
    "libvpx-vp9": (("row-mt", "1"), ("deadline", "good"), ("cpu-used", "2")),
    "prores_ks": (("profile", "4444"),),
}
_QUALITY_OPTIONS = ("crf", "cq", "qp", "global_quality")
"""Options for constant quality: crf in most encoders, cq in NVIDIA's, qp in AMD's, the last in Intel's."""

_SUBSAMPLING = {(1, 1): "444", (2, 1): "422", (2, 2): "420"}


def check_settings(clip: Clip, container: Container, settings: EncodeSettings) -> EncodeSettings:
    """Complete the settings and try them on an encoder, before any work.

    The default is H.264 for 8 bits and H.265 for more bits, at a visually lossless quality. WebM gets VP9,
    or AV1 for more than 8 bits. Clips with alpha get ProRes 4444 in MOV, and VP9 in WebM and Matroska; MP4
    does not support alpha. The chroma subsampling and the bit depth are those of the clip.

    Args:
        clip: The source clip.
        container: Container of the target.
        settings: The user's settings.

    Returns:
        Settings for the writers: codec and pixel format are set, and everything else is in the options.

    Raises:
        UsageError: The codec is unknown, the container does not support it, or it does not take an option.
    """
    if container.is_raw:
        return EncodeSettings("wrapped_avframe", pixel_format=settings.pixel_format or _raw_format(clip))
    held = replace(clip, alpha=clip.alpha and container.alpha_codec is not None)
    name = settings.codec or container.default_codec(held.depth_bits, held.alpha)
    encoder = _encoder(name)
    if encoder.type != "video":
        raise UsageError(f"{name!r} is not a video encoder")
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 prints its settings to stderr; no option prevents it
    context = cast(VideoCodecContext, av.CodecContext.create(encoder, "w"))
    options = _merged(_DEFAULT_OPTIONS.get(encoder.name, ()), _stated_options(context, settings))
    complete = replace(
        settings,
        codec=encoder.name,
        pixel_format=_pixel_format(held, encoder, settings.pixel_format),
        options=tuple(options.items()),
        crf=None,
        preset=None,
    )
    _try(complete, container)
    return complete


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


def caption_notes(clip: Clip, settings: EncodeSettings) -> tuple[str, ...]:
    """Return a note if the clip has closed captions in its frames, but the encoder does not write them.

    Args:
        clip: The source clip.
        settings: Complete settings.
    """
    codec = settings.codec or ""
    if not clip.captions or _CAPTION_OPTIONS & _private_options(av.CodecContext.create(codec, "w")):
        return ()
    return (f"the encoder {codec} cannot keep closed captions (libx264 and libx265 can)",)


def _private_options(context: CodecContext) -> set[str]:
    return {option.name for option in context.supported_options.private}


def _encoder(name: str) -> Codec:
    try:
        return av.Codec(name, "w")
    except (av.codec.codec.UnknownCodecError, ValueError) as error:
        raise UsageError(f"there is no video encoder named {name!r}", hint=_ENCODERS_HINT) from error


_CAPTION_OPTIONS = {"a53cc", "a53_cc"}
"""The options with which encoders write captions of frames. Source: FFmpeg's manual."""

_ENCODERS_HINT = "use libx264, libx265, libvpx-vp9, libsvtav1, prores_ks or ffv1, which are always available"


def _stated_options(context: VideoCodecContext, settings: EncodeSettings) -> dict[str, str]:
    """Return the quality, the preset and the further options under the encoder's own names."""
    known = _private_options(context)
    options: dict[str, str] = {}
    quality = next((name for name in _QUALITY_OPTIONS if name in known), None)
    crf = settings.crf if settings.crf is not None else _DEFAULT_CRF.get(context.codec.name)
    if settings.crf is not None and quality is None:
        raise UsageError(f"{context.codec.name} does not support --crf")
    if (crf or 0) > _GREATEST_CRF.get(context.codec.name, math.inf):
        raise UsageError(
            f"--crf {crf:g} is out of range for {context.codec.name}", hint="use a value from 0 (best) to 51"
        )
    if crf is not None and quality is not None:
        options[quality] = f"{crf:g}"
    if settings.preset is not None:
        if "preset" not in known:
            raise UsageError(f"{context.codec.name} does not support --preset")
        options["preset"] = settings.preset
    return options | dict(settings.options)


def _merged(defaults: tuple[tuple[str, str], ...], stated: dict[str, str]) -> dict[str, str]:
    """Return the defaults with the stated options.

    Parameter lists within an option are joined; if a parameter occurs twice, the encoder uses the last one.
    """
    options = dict(defaults)
    for name, value in stated.items():
        joined = name.endswith("-params") and name in options
        options[name] = f"{options[name]}:{value}" if joined else value
    return options


def _pixel_format(clip: Clip, encoder: Codec, stated: str | None) -> str:
    """Return the requested pixel format, or the encoder's nearest one to the clip's chroma and bit depth."""
    formats = [format.name for format in encoder.video_formats or ()]
    if stated is not None:
        if formats and stated not in formats:
            raise UsageError(f"{encoder.name} does not support the pixel format {stated!r}")
        return _checked(stated)
    for wanted in _wanted_formats(clip):
        if not formats or wanted in formats:
            return wanted
    return str(formats[0])


def _checked(pixel_format: str) -> str:
    try:
        av.VideoFormat(pixel_format)
    except ValueError as error:
        raise UsageError(f"there is no pixel format named {pixel_format!r}") from error
    return pixel_format


def _wanted_formats(clip: Clip) -> list[str]:
    """Return pixel formats for a clip, the most faithful one first."""
    bits = next((f"{depth}le" for depth in (10, 12, 16) if 8 < clip.depth_bits <= depth), "")
    prefix, chroma = "yuva" if clip.alpha else "yuv", _subsampling(clip.pixel_format)
    grays = [f"gray{bits}", "gray"] if clip.gray and not clip.alpha else []
    chromas = dict.fromkeys((chroma, "444" if chroma != "420" else chroma, "420"))
    depths = dict.fromkeys((bits, "10le" if bits else "", ""))
    # ProRes 4444 supports alpha only with 10 bits or more, so formats with 10 bits come last.
    wanted = [f"{prefix}{c}p{d}" for d in depths for c in chromas]
    deeper = [f"{prefix}{c}p10le" for c in (*chromas, "444")]
    if bits and not clip.alpha:
        wanted.insert(len(chromas), "p010le")  # the hardware encoders' name for 4:2:0 with 10 bits
    return grays + wanted + deeper + [name.replace("yuva", "yuv") for name in wanted]


def _subsampling(pixel_format: str) -> str:
    format = av.VideoFormat(pixel_format)
    if format.is_rgb:
        return "444"
    if len(format.components) < 3:
        return "420"
    return _SUBSAMPLING.get((64 // format.chroma_width(64), 64 // format.chroma_height(64)), "420")


def _raw_format(clip: Clip) -> str:
    """Return a pixel format that YUV4MPEG2 supports: planes of 8, 10 or 12 bits, without alpha."""
    if clip.gray:
        return "gray" if clip.depth_bits == 8 else "gray10le" if clip.depth_bits <= 10 else "gray12le"
    bits = "" if clip.depth_bits == 8 else "10le" if clip.depth_bits <= 10 else "12le"
    return f"yuv{_subsampling(clip.pixel_format)}p{bits}"


def _try(settings: EncodeSettings, container: Container) -> None:
    """Try the encoder and the container by starting a file with small frames in memory.

    Raises:
        UsageError: The encoder does not take an option, or the container does not support its stream.
    """
    codec = settings.codec or ""
    with av.open(io.BytesIO(), "w", format=container.ffmpeg_name) as target:
        try:
            context = cast(VideoCodecContext, target.add_stream(codec).codec_context)
            _open(context, settings)
            target.start_encoding()
        except (ValueError, av.FFmpegError) as error:
            raise UsageError(f"{container.name} cannot hold a video stream of {codec}") from error


def _open(context: VideoCodecContext, settings: EncodeSettings) -> None:
    _check_names(settings)
    context.width, context.height, context.pix_fmt = 256, 256, settings.pixel_format
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    context.options = dict(settings.options)
    try:
        context.open()
    except av.FFmpegError as error:
        stated = ", ".join(f"{name}={value}" for name, value in settings.options)
        raise UsageError(f"{settings.codec} does not start{stated and f' with {stated}'}") from error
    if context.options:
        raise UsageError(f"{settings.codec} has no option {next(iter(context.options))!r}")


def _check_names(settings: EncodeSettings) -> None:
    for option, value in settings.options if settings.codec == "libx264" else ():
        names = _X264_NAMES.get(option)
        if names is not None and not set(re.split(r"[,./+-]", value)) <= set(names.split()):
            raise UsageError(f"libx264 does not start with {option}={value}", hint=f"use one of: {names}")
