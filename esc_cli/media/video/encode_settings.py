"""Settings for encoding the frames of a clip, and the names of encoders' options for quality."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EncodeSettings:
    """Settings for encoding the frames; None means that the clip and its container decide.

    Attributes:
        codec: FFmpeg's name of an encoder (`libx264`, `hevc_nvenc`) or of a codec (`h264`).
        crf: Constant quality, in the encoder's own scale; lower is better.
        preset: The encoder's preset: `slow`, `medium`, ...
        pixel_format: FFmpeg's name of the pixel format.
        options: More of the encoder's own options, as names and values.
    """

    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    pixel_format: str | None = None
    options: tuple[tuple[str, str], ...] = ()


QUALITY_OPTIONS = ("crf", "cq", "qp", "global_quality")
"""Options for constant quality: crf in most encoders, cq in NVIDIA's, qp in AMD's, the last in Intel's."""

_PARAMETER_LISTS = ("x264-params", "x264opts", "x265-params", "svtav1-params")
"""Options whose value is a list of the library's own parameters, NAME=VALUE, separated by colons."""

_QUALITY_PARAMETERS = ("crf", "qp", "bitrate", "tbr")
"""Parameters in these lists for the quality or the bit rate. The last one is SVT-AV1's."""


def rival_of_crf(name: str, value: str) -> str | None:
    """Return what chooses the quality or the bit rate in an encoder's option, in the place of ``--crf``.

    Args:
        name: Name of the option.
        value: Value of the option.

    Returns:
        The option as far as it does that, such as ``b`` or ``x265-params=crf``, or None.
    """
    if name == "b" or name in QUALITY_OPTIONS:
        return name
    parameters = value.split(":") if name in _PARAMETER_LISTS else ()
    stated = {parameter.partition("=")[0] for parameter in parameters}
    return next((f"{name}={quality}" for quality in _QUALITY_PARAMETERS if quality in stated), None)
