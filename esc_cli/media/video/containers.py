"""The containers of clips, and how they are detected.

Each container that clips are written to is one object, which holds all facts about it, and one entry in
``CONTAINERS``.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

SoundChoice = Literal["auto", "copy", "none"]
"""What happens to sound.

``auto`` copies it where the container holds it, and converts the rest. ``copy`` leaves out what cannot be
copied. ``none`` leaves out all sound.
"""


@dataclass(frozen=True)
class SoundEncoder:
    """An encoder for sound that a container cannot hold as it is.

    Attributes:
        name: Name of the format, in messages.
        ffmpeg_name: FFmpeg's name of the encoder.
        lossless: Whether the sound stays the same to the last bit.
        channel_bit_rate: Bits per second for each channel at 48 kHz, far above what listeners can tell from
            the source; 0 if the encoder has no such setting.
    """

    name: str
    ffmpeg_name: str
    lossless: bool = False
    channel_bit_rate: int = 0


OPUS = SoundEncoder("Opus", "libopus", channel_bit_rate=96_000)
AAC = SoundEncoder("AAC", "aac", channel_bit_rate=128_000)
FLAC = SoundEncoder("FLAC", "flac", lossless=True)
ALAC = SoundEncoder("Apple Lossless", "alac", lossless=True)


@dataclass(frozen=True)
class Container:
    """A container format.

    Attributes:
        name: Name of the container, in this program and in messages.
        extensions: File name extensions, with the dot. Results get the first one.
        ffmpeg_name: FFmpeg's short name of the muxer.
        bytes_a_value: Bytes of a result for each 8-bit value in it, at the default quality. Two seconds of a
            film upscaled x2 took 0.004 as H.264 and 0.002 as VP9; another film took 0.007 as H.265.
        is_raw: Whether the container holds only frames, one after the other, as a pipe does.
        alpha_codec: Default encoder for clips with alpha; None if the container cannot hold alpha. The alpha
            of VP9 is side data, which only Matroska and WebM hold.
        trial_codec: Any encoder that the container accepts. Before the work, the muxer is tried with a tiny
            video of this encoder and each stream that is to be copied.
        sound: Encoders for sound that cannot be copied, the preferred one first.
        cover: How a picture of the film is stored: as a track that is marked as a picture, or as an attached
            file; None if it cannot be stored, which the muxer does not say.
    """

    name: str
    extensions: tuple[str, ...]
    ffmpeg_name: str
    bytes_a_value: float = 0.005
    is_raw: bool = False
    alpha_codec: str | None = None
    trial_codec: str = "vp8"
    sound: tuple[SoundEncoder, ...] = (OPUS, FLAC)
    cover: Literal["track", "attachment"] | None = None

    @property
    def is_iso(self) -> bool:
        """Whether the file is made of the boxes of MP4 and MOV."""
        return False

    def result_bytes(self, values: int, depth_bits: int) -> float:
        """Estimate the size of a result, in bytes, from its values (height x width x channels x frames)."""
        return values * self.bytes_a_value

    def default_codec(self, depth_bits: int, alpha: bool) -> str:
        """Return the name of the default encoder for clips of this bit depth."""
        if alpha and self.alpha_codec is not None:
            return self.alpha_codec
        return "libx265" if depth_bits > 8 else "libx264"

    def muxer_options(self, time_base: Fraction) -> dict[str, str]:
        """Return the muxer's options for a video stream with this time base, in seconds."""
        return {}

    def codec_tag(self, codec: str, encoders_own: str) -> str | None:
        """Return the codec tag to write; None means the container's default tag."""
        return None


class IsoContainer(Container):
    """MP4 or MOV."""

    @property
    def is_iso(self) -> bool:
        """Whether the file is made of the boxes of MP4 and MOV."""
        return True

    def muxer_options(self, time_base: Fraction) -> dict[str, str]:
        """Set the unit of durations to the clip's time base or a part of it; the default is 1 ms."""
        unit = time_base.denominator
        return {"movie_timescale": str(unit if unit >= 1000 else unit * 1000)}

    def codec_tag(self, codec: str, encoders_own: str) -> str | None:
        """Return hvc1 for H.265 and the encoder's own tag for ProRes.

        Apple's players open H.265 only as hvc1. ProRes has a tag for each profile, which the encoder knows.
        """
        return {"hevc": "hvc1", "prores": encoders_own}.get(codec)


class WebM(Container):
    """WebM, a variant of Matroska for VP9 and AV1."""

    def default_codec(self, depth_bits: int, alpha: bool) -> str:
        """Return VP9, or AV1 for more than 8 bits, because the wheels' libvpx encodes only 8 bits."""
        return "libsvtav1" if depth_bits > 8 and not alpha else "libvpx-vp9"


MP4 = IsoContainer("MP4", (".mp4", ".m4v"), "mp4", trial_codec="mpeg4", sound=(AAC, FLAC), cover="track")
MOV = IsoContainer(
    "QuickTime", (".mov",), "mov", alpha_codec="prores_ks", trial_codec="mpeg4", sound=(AAC, ALAC)
)
MATROSKA = Container("Matroska", (".mkv",), "matroska", alpha_codec="libvpx-vp9", cover="attachment")
WEBM = WebM("WebM", (".webm",), "webm", bytes_a_value=0.0025, alpha_codec="libvpx-vp9", sound=(OPUS,))
YUV4MPEG2 = Container("YUV4MPEG2", (".y4m",), "yuv4mpegpipe", 0.5, is_raw=True)

CONTAINERS = (MP4, MOV, MATROSKA, WEBM, YUV4MPEG2)

_ONLY_READ = (
    *(
        ".avi",
        ".flv",
        ".f4v",
        ".wmv",
        ".asf",
        ".mpg",
        ".mpeg",
        ".ts",
        ".m2ts",
        ".mts",
        ".vob",
        ".3gp",
        ".3g2",
    ),
    *(".ogv", ".mxf", ".nut", ".ivf"),
    *(".264", ".h264", ".265", ".h265", ".hevc", ".obu", ".vc1", ".m1v", ".m2v", ".dv", ".dif"),
)

CLIP_EXTENSIONS = frozenset(
    (*(extension for container in CONTAINERS for extension in container.extensions), *_ONLY_READ)
)
"""Extensions that mark a file as a clip, even if the program cannot read it."""


STDIN_COPY = "standard input"
"""The file name of a copy of standard input, which is what messages call it."""


def container_by_extension(path: Path) -> Container | None:
    """Return the container for the extension of a path."""
    return container_named(path.suffix)


def container_named(name: str) -> Container | None:
    """Return the container for an extension, with or without the dot."""
    extension = "." + name.lower().lstrip(".")
    return next((one for one in CONTAINERS if extension in one.extensions), None)


def container_like(ffmpeg_name: str) -> Container:
    """Return a source's own container; if it is only read, return Matroska, which holds everything."""
    return next((one for one in CONTAINERS if one.ffmpeg_name == ffmpeg_name), MATROSKA)


_STILL_BRANDS = frozenset(b"avif avis heic heix heim heis hevc hevx mif1 msf1 miaf jxl jp2 jpx crx".split())
"""Brands of picture formats that use the boxes of MP4. Source: ISO/IEC 23008-12, AVIF 1.1, section 6."""

_MOV_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
"""First boxes of old QuickTime files, which have no brands. Source: QuickTime File Format, 2012."""

_MPEG_TS_SYNC, _MPEG_TS_PACKETS_BYTES = 0x47, (188, 192, 204)

_SIGNATURES = (
    b"\x1aE\xdf\xa3",  # EBML: Matroska, WebM
    b"YUV4MPEG2 ",
    b"FLV\x01",
    b"OggS",
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG-1/2 video
    b"0&\xb2u\x8ef\xcf\x11",  # ASF: WMV
    b"nut/multimedia container\x00",
    b"\x06\x0e+4\x02\x05\x01\x01",  # MXF
    b".RMF",
    b"DKIF",  # IVF
)
"""Signatures of the other containers. Source: their specifications, and FFmpeg's libavformat."""

_RAW = re.compile(
    rb"\0?\0\0\x01(?:"
    rb"[\x07\x27\x47\x67][BMXdnz\xf4,SV\x76\x80]"  # H.264
    rb"|\x09[\x10\x30\x50\x70\x90\xb0\xd0\xf0]|\x06[\0\x01\x05]"  # H.264
    rb"|[\x40\x42\x46\x4e]\x01"  # H.265
    rb"|[\xb0\xb5\x20-\x2f]|\0\0\0\x01[\x20-\x2f]"  # MPEG-4; ICO begins with the same four bytes
    rb"|\x0f"  # VC-1
    rb")"
    rb"|\x12\0\x0a[\x08-\x12]"  # AV1
    rb"|\x1f\x07\0[\x3f\xbf]"  # DV
)
"""The first bytes of streams without a container: start code, kind of unit and, for H.264, the profile.

Source: ITU-T H.264, 7.4.1 and annex A; H.265, 7.4.2; ISO/IEC 14496-2, 6.2.1; SMPTE 421, E.5; AV1, 5.3;
IEC 61834-2.
"""


def looks_like_clip(head: bytes) -> bool:
    """Return whether a file may contain video.

    AVIF and HEIC count as pictures, including their sequences. Only ``probe_clip`` knows whether there is
    video.

    Args:
        head: The first bytes of the file; 1000 bytes are enough for every kind.
    """
    return (
        head.startswith(_SIGNATURES)
        or _is_iso_media(head)
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
        or _is_mpeg_ts(head)
        or _RAW.match(head) is not None
    )


def is_webm(head: bytes) -> bool:
    """Return whether the document type in the header is WebM, not Matroska. Source: RFC 8794, 11.2.7."""
    at = head.find(b"\x42\x82")
    return head.startswith(b"\x1aE\xdf\xa3") and at > 0 and head[at + 3 : at + 7] == b"webm"


def _is_iso_media(head: bytes) -> bool:
    if head[4:8] == b"ftyp":
        return head[8:12].strip() not in _STILL_BRANDS
    return head[4:8] in _MOV_BOXES


def _is_mpeg_ts(head: bytes) -> bool:
    """Return whether a file begins with five packets; in M2TS, four bytes precede each packet."""
    for size_bytes in _MPEG_TS_PACKETS_BYTES:
        first = 4 if size_bytes == 192 else 0
        sync = head[first : first + 4 * size_bytes + 1 : size_bytes]
        if len(sync) == 5 and set(sync) == {_MPEG_TS_SYNC}:
            return True
    return False
