"""The kinds of files that clips are written to, and how they are encoded, as far as it was asked for."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ClipFormat:
    """A kind of file.

    Attributes:
        name: What it is called, here and in messages.
        extensions: What its files end in, with the dot; the first one is given to results.
        container: FFmpeg's short name.
        bytes_a_value: Bytes of a result for each 8-bit value in it, in the default quality: of two seconds of
            one film x2, 0.004 as H.264 and 0.002 as VP9; 0.007 of another one as H.265.
    """

    name: str
    extensions: tuple[str, ...]
    container: str
    bytes_a_value: float = 0.005

    @property
    def is_raw(self) -> bool:
        """Whether it holds frames alone, one after the other, as a pipe does."""
        return self.container == "yuv4mpegpipe"

    def result_bytes(self, values: int, depth_bits: int) -> float:
        """Estimate the size of a result of so many values (height x width x channels x frames)."""
        return values * self.bytes_a_value


MATROSKA = ClipFormat("Matroska", (".mkv",), "matroska")
YUV4MPEG2 = ClipFormat("YUV4MPEG2", (".y4m",), "yuv4mpegpipe", 0.5)

CLIP_FORMATS = (
    ClipFormat("MP4", (".mp4", ".m4v"), "mp4"),
    ClipFormat("QuickTime", (".mov",), "mov"),
    MATROSKA,
    ClipFormat("WebM", (".webm",), "webm", 0.0025),
    YUV4MPEG2,
)

_ONLY_READ = (".avi", ".flv", ".wmv", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".3gp", ".ogv", ".vob", ".mxf")

CLIP_EXTENSIONS = frozenset(
    (*(extension for format in CLIP_FORMATS for extension in format.extensions), *_ONLY_READ)
)
"""What says that a file is meant to be a clip, whether this program reads it or not."""


def clip_format_by_extension(path: Path) -> ClipFormat | None:
    """Give the kind of file that a name's ending stands for."""
    return clip_format_named(path.suffix)


def clip_format_named(name: str) -> ClipFormat | None:
    """Give the kind of file of an ending, with or without the dot."""
    extension = "." + name.lower().lstrip(".")
    return next((format for format in CLIP_FORMATS if extension in format.extensions), None)


def clip_format_like(container: str) -> ClipFormat:
    """Give the kind of file of a container; of those that are only read, Matroska, which holds everything."""
    return next((format for format in CLIP_FORMATS if format.container == container), MATROSKA)


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
