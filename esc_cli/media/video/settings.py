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
from esc_cli.media.video.clip import USUAL_RATE, Clip
from esc_cli.media.video.containers import MATROSKA, Container
from esc_cli.media.video.encode_settings import QUALITY_OPTIONS, EncodeSettings, rival_of_crf
from esc_cli.media.video.pixel_formats import RAW_FORMATS, choose_pixel_format, nearest_format
from esc_cli.media.video.pixels import encoded_size

_DEFAULT_CRF = {"libx264": 15.0, "libx265": 14.0, "libvpx-vp9": 18.0, "libsvtav1": 17.0}
"""Values for which the mean PSNR of luma is 38 dB or more, even with strong grain, and 36 dB for pure noise.

Measured on 12 frames of 432x272, against the frames given to the encoder: cartoon shapes 55 to 63 dB, a
photograph, panned, 48 to 52, with grain 38 to 41, grain on smooth ground 38 to 43, colored noise 38 to 40,
noise of full contrast in luma 36 and more. ``docs/clips.md`` has the table.
"""

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
_OF_MPEG_ENCODERS = "mpv_flags"
"""An option that FFmpeg's own encoders have in common: MPEG-1, MPEG-2, MPEG-4, H.263 and their relatives.

Their constant quality is a quantizer of 1 to 31, which has no option of its own. Without one, they get 200
kbit/s, which is 20 to 42 dB. Source: FFmpeg, libavcodec/mpegvideoenc.h.
"""

_DEFAULT_QUANTIZER, _QUANTIZER_UNIT = 2.0, 118
"""The quantizer 2 keeps 40 dB of strong grain. Source of the unit: FFmpeg, FF_QP2LAMBDA."""


def check_settings(clip: Clip, container: Container, settings: EncodeSettings) -> EncodeSettings:
    """Complete the settings and try them on an encoder, before any work.

    The default is H.264 for 8 bits and H.265 for more bits, at the quality of ``_DEFAULT_CRF``. WebM gets
    VP9, or AV1 for more than 8 bits. Clips with alpha get ProRes 4444 in MOV, and VP9 in WebM and Matroska;
    MP4 does not support alpha. The chroma subsampling and the bit depth are the nearest to the clip's own.

    Args:
        clip: The source clip.
        container: Container of the target.
        settings: The user's settings.

    Returns:
        Settings for the writers: codec and pixel format are set, and everything else is in the options.

    Raises:
        UsageError: The codec is unknown, the container does not support it, it does not take an option, or
            options contradict each other.
    """
    if container.is_raw:
        return _raw_settings(clip, container, settings)
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
        pixel_format=choose_pixel_format(held, encoder, settings.pixel_format),
        options=tuple(options.items()),
        crf=None,
        preset=None,
    )
    _try(complete, container, _as_stated(settings))
    if settings.codec is not None:
        _try_segments(complete)
    return complete


def _raw_settings(clip: Clip, container: Container, settings: EncodeSettings) -> EncodeSettings:
    """Return the settings of a stream of raw frames, which has a pixel format and nothing else to choose."""
    raw = EncodeSettings("wrapped_avframe", pixel_format=settings.pixel_format)
    if settings not in (raw, replace(raw, codec=None)):
        raise UsageError(f"the options of video encoders do not apply to {container.name}")
    return replace(raw, pixel_format=settings.pixel_format or nearest_format(clip, RAW_FORMATS))


def _as_stated(settings: EncodeSettings) -> str:
    """Return the settings that an encoder may refuse, as the user wrote them."""
    named = {
        "--crf": None if settings.crf is None else f"{settings.crf:g}",
        "--preset": settings.preset,
        "--pixel-format": settings.pixel_format,
    }
    words = [f"{name} {value}" for name, value in named.items() if value is not None]
    return ", ".join((*words, *(f"{name}={value}" for name, value in settings.options)))


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
    options = _quality(context.codec.name, known, settings)
    if settings.preset is not None:
        if "preset" not in known:
            raise UsageError(f"{context.codec.name} does not support --preset")
        options["preset"] = settings.preset
    return options | dict(settings.options)


def _quality(encoder: str, known: set[str], settings: EncodeSettings) -> dict[str, str]:
    """Return the options for constant quality. The default gives way to a quality or rate in the options.

    Encoders differ in which of the two they ignore, so ``--crf`` is refused beside one in the options.
    """
    by_quantizer = _OF_MPEG_ENCODERS in known
    quality = next((name for name in QUALITY_OPTIONS if name in known), None)
    crf = settings.crf
    rival = next(filter(None, (rival_of_crf(*option) for option in settings.options)), None)
    if crf is not None and rival is not None:
        raise UsageError(
            f"--crf and --codec-option {rival} contradict each other", hint="leave one of them out"
        )
    if crf is None and rival is None:
        crf = _DEFAULT_QUANTIZER if by_quantizer else _DEFAULT_CRF.get(encoder)
    if crf is None:
        return {}
    if quality is None and not by_quantizer:
        raise UsageError(f"{encoder} does not support --crf")
    best, worst = (1.0, 31.0) if by_quantizer else (-math.inf, _GREATEST_CRF.get(encoder, math.inf))
    if not best <= crf <= worst:
        hint = f"use a value from {max(0, best):g} (best) to {worst:g}"
        raise UsageError(f"--crf {crf:g} is out of range for {encoder}", hint=hint)
    if quality is None:
        return {"flags": "+qscale", "global_quality": f"{crf * _QUANTIZER_UNIT:.0f}"}
    return {quality: f"{crf:g}"}


def _merged(defaults: tuple[tuple[str, str], ...], stated: dict[str, str]) -> dict[str, str]:
    """Return the defaults with the stated options.

    Parameter lists within an option are joined; if a parameter occurs twice, the encoder uses the last one.
    """
    options = dict(defaults)
    for name, value in stated.items():
        joined = name.endswith("-params") and name in options
        options[name] = f"{options[name]}:{value}" if joined else value
    return options


def _try(settings: EncodeSettings, container: Container, stated: str) -> None:
    """Try the encoder and the container by starting a file with small frames in memory.

    Args:
        settings: Complete settings.
        container: Container of the target.
        stated: What the user chose, for the message.

    Raises:
        UsageError: The encoder does not take an option, or the container does not support its stream.
    """
    codec = settings.codec or ""
    with av.open(io.BytesIO(), "w", format=container.ffmpeg_name) as target:
        try:
            context = cast(VideoCodecContext, target.add_stream(codec).codec_context)
            _open(context, settings, stated)
            target.start_encoding()
        except (ValueError, av.FFmpegError) as error:
            raise UsageError(f"{container.name} cannot hold a video stream of {codec}") from error


def _try_segments(settings: EncodeSettings) -> None:
    """Try whether Matroska, in which finished parts of a clip are kept, holds the encoder's stream.

    FFmpeg's Matroska crashes with raw video, so that is not tried.
    """
    codec = settings.codec or ""
    hint = "choose another encoder, such as ffv1 or libx264"
    if codec == "rawvideo":
        raise UsageError(f"finished parts of a clip cannot be kept with the encoder {codec}", hint=hint)
    try:
        _try(settings, MATROSKA, "")
    except UsageError as error:
        message = f"finished parts of a clip cannot be kept with the encoder {codec}"
        raise UsageError(message, hint=hint) from error


def _open(context: VideoCodecContext, settings: EncodeSettings, stated: str) -> None:
    _check_names(settings)
    context.width, context.height, context.pix_fmt = 256, 256, settings.pixel_format
    context.time_base, context.framerate = 1 / USUAL_RATE, USUAL_RATE
    context.options = dict(settings.options)
    try:
        context.open()
    except av.FFmpegError as error:
        raise UsageError(f"{settings.codec} does not start{stated and f' with {stated}'}") from error
    if context.options:
        raise UsageError(f"{settings.codec} has no option {next(iter(context.options))!r}")


def open_at(clip: Clip, size: tuple[int, int], settings: EncodeSettings) -> bool:
    """Return whether an encoder starts with frames of a size, in the time base that it gets for a clip.

    Args:
        clip: The source clip.
        size: Size of the frames, (height, width), in pixels.
        settings: Complete settings.
    """
    context = cast(VideoCodecContext, av.CodecContext.create(settings.codec or "", "w"))
    context.height, context.width = encoded_size(*size, settings.pixel_format or clip.pixel_format)
    context.pix_fmt = settings.pixel_format
    context.time_base, context.framerate = encoders_clock(settings.codec or "", clip)
    context.options = dict(settings.options)
    try:
        context.open()
    except av.FFmpegError:
        return False
    return True


_LARGEST_UNIT = {"mpeg4": 65_535}
"""The most units of time in a second that some encoders take. Source: FFmpeg, libavcodec/mpeg4videoenc.c."""


def encoders_clock(codec: str, clip: Clip) -> tuple[Fraction, Fraction]:
    """Return the time base and the frame rate for an encoder.

    They are those of the clip, unless the encoder has only some rates, as for MPEG-2, or a coarser time base.
    It then counts frames at the nearest rate that it has, and the container keeps the timestamps.
    """
    rate = clip.rate
    rates = [Fraction(each.numerator, each.denominator) for each in av.Codec(codec, "w").frame_rates or ()]
    if rates:
        rate = min(rates, key=lambda known: abs(known / rate - 1))
    elif clip.time_base.denominator <= _LARGEST_UNIT.get(codec, clip.time_base.denominator):
        return clip.time_base, rate
    return 1 / rate, rate


def _check_names(settings: EncodeSettings) -> None:
    for option, value in settings.options if settings.codec == "libx264" else ():
        names = _X264_NAMES.get(option)
        if names is not None and not set(re.split(r"[,./+-]", value)) <= set(names.split()):
            raise UsageError(f"libx264 does not start with {option}={value}", hint=f"use one of: {names}")
