"""The containers that clips are written to, and how the frames in them are encoded.

A container is one object here, which answers what is asked about it, and one line in ``CONTAINERS``.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path


@dataclass(frozen=True)
class Container:
    """A container.

    Attributes:
        name: What it is called, here and in messages.
        extensions: What its files end in, with the dot; the first one is given to results.
        ffmpeg_name: FFmpeg's short name of the muxer.
        bytes_a_value: Bytes of a result for each 8-bit value in it, in the default quality: of two seconds of
            one film x2, 0.004 as H.264 and 0.002 as VP9; 0.007 of another one as H.265.
        is_raw: Whether it holds frames alone, one after the other, as a pipe does.
        alpha_codec: The encoder of clips with alpha; None where no codec of ours has alpha in it.
        trial_codec: An encoder for tiny frames that it takes: other streams are tried beside them.
    """

    name: str
    extensions: tuple[str, ...]
    ffmpeg_name: str
    bytes_a_value: float = 0.005
    is_raw: bool = False
    alpha_codec: str | None = "libvpx-vp9"
    trial_codec: str = "vp8"

    def result_bytes(self, values: int, depth_bits: int) -> float:
        """Estimate the size of a result of so many values (height x width x channels x frames)."""
        return values * self.bytes_a_value

    def default_codec(self, depth_bits: int, alpha: bool) -> str:
        """Name the encoder of clips of so many bits for which none was asked for."""
        if alpha and self.alpha_codec is not None:
            return self.alpha_codec
        return "libx265" if depth_bits > 8 else "libx264"

    def muxer_options(self, time_base: Fraction) -> dict[str, str]:
        """Give the options of the muxer for a video stream whose time stamps have this unit, in seconds."""
        return {}

    def codec_tag(self, codec: str, encoders_own: str) -> str | None:
        """Name the tag by which the container shall call a codec; None: the one it chooses itself."""
        return None


class IsoContainer(Container):
    """MP4 or MOV."""

    def muxer_options(self, time_base: Fraction) -> dict[str, str]:
        """State durations in the clip's own unit, or in parts of it: by default they are in milliseconds."""
        unit = time_base.denominator
        return {"movie_timescale": str(unit if unit >= 1000 else unit * 1000)}

    def codec_tag(self, codec: str, encoders_own: str) -> str | None:
        """Apple's players open H.265 as hvc1 only; ProRes has a tag for each kind, which the encoder says."""
        return {"hevc": "hvc1", "prores": encoders_own}.get(codec)


class WebM(Container):
    """WebM, a Matroska for VP9 and AV1."""

    def default_codec(self, depth_bits: int, alpha: bool) -> str:
        """Choose VP9; AV1 for more than 8 bits, as the libvpx of the wheels encodes 8 bits alone."""
        return "libsvtav1" if depth_bits > 8 and not alpha else "libvpx-vp9"


MP4 = IsoContainer("MP4", (".mp4", ".m4v"), "mp4", alpha_codec=None, trial_codec="mpeg4")
MOV = IsoContainer("QuickTime", (".mov",), "mov", alpha_codec="prores_ks", trial_codec="mpeg4")
MATROSKA = Container("Matroska", (".mkv",), "matroska")
WEBM = WebM("WebM", (".webm",), "webm", bytes_a_value=0.0025)
YUV4MPEG2 = Container("YUV4MPEG2", (".y4m",), "yuv4mpegpipe", 0.5, is_raw=True, alpha_codec=None)

CONTAINERS = (MP4, MOV, MATROSKA, WEBM, YUV4MPEG2)

_ONLY_READ = (".avi", ".flv", ".wmv", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".3gp", ".ogv", ".vob", ".mxf")

CLIP_EXTENSIONS = frozenset(
    (*(extension for container in CONTAINERS for extension in container.extensions), *_ONLY_READ)
)
"""What says that a file is meant to be a clip, whether this program reads it or not."""


def container_by_extension(path: Path) -> Container | None:
    """Give the container that a name's ending stands for."""
    return container_named(path.suffix)


def container_named(name: str) -> Container | None:
    """Give the container of an ending, with or without the dot."""
    extension = "." + name.lower().lstrip(".")
    return next((one for one in CONTAINERS if extension in one.extensions), None)


def container_like(ffmpeg_name: str) -> Container:
    """Give a source's own container; for those that are only read, Matroska, which holds everything."""
    return next((one for one in CONTAINERS if one.ffmpeg_name == ffmpeg_name), MATROSKA)


@dataclass(frozen=True)
class EncodeSettings:
    """How the frames are encoded; None where the clip and its container decide.

    Attributes:
        codec: FFmpeg's name of an encoder (`libx264`, `hevc_nvenc`) or of a codec (`h264`).
        crf: The constant quality, in the encoder's own scale: less is better.
        preset: The encoder's preset: `slow`, `medium`, ...
        pixel_format: FFmpeg's name.
        options: More of the encoder's own options, as names and values.
    """

    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    pixel_format: str | None = None
    options: tuple[tuple[str, str], ...] = ()
