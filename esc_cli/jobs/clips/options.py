"""Define the options that apply only to clips."""

import math
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Self, get_args

from esc_cli.errors import UsageError
from esc_cli.media.video.containers import SoundChoice
from esc_cli.media.video.encode_settings import EncodeSettings

_TIME = re.compile(r"(?:(?:(?P<hours>\d+):)?(?P<minutes>\d+):)?(?P<seconds>\d+(?:\.\d+)?)")


NO_SETTINGS = EncodeSettings()


@dataclass(frozen=True)
class ClipOptions:
    """The options for clips.

    Attributes:
        encode: The settings of the encoder.
        audio: What happens to sound.
        deinterlace: Whether to deinterlace interlaced clips. If False, they are refused.
        start_s: Start of the part that is kept, in seconds. None means the beginning of the clip.
        end_s: End of the part that is kept, in seconds. None means the end of the clip.
        preview: Number of frames on a sheet, which is made instead of a clip.
        frame_rate: Frames per second of an image sequence.
        strict: Whether damaged frames are refused.
        may_end_early: Whether a clip that is cut off is kept as far as it goes.
    """

    encode: EncodeSettings = NO_SETTINGS
    audio: SoundChoice = "auto"
    deinterlace: bool = False
    start_s: float | None = None
    end_s: float | None = None
    preview: int | None = None
    frame_rate: Fraction | None = None
    strict: bool = False
    may_end_early: bool = False

    def __post_init__(self) -> None:
        """Check that the options do not contradict each other.

        Raises:
            UsageError: The end is not after the start, the preview has no frames, or a choice is unknown.
        """
        if self.audio not in get_args(SoundChoice):
            raise UsageError(f"{self.audio!r} is not a choice for sound", hint="use auto, copy or none")
        if self.end_s is not None and self.end_s <= (self.start_s or 0):
            raise UsageError("the end is not after the start")
        if self.preview is not None and self.preview < 1:
            raise UsageError(f"a preview must have at least 1 frame, not {self.preview}")

    @property
    def apart_from_damage(self) -> Self:
        """The same options with the default for damage, which also applies to pictures."""
        return replace(self, strict=False, may_end_early=False)


def parse_time(text: str) -> float:
    """Parse a time: seconds, ``MM:SS`` or ``HH:MM:SS``, where the seconds may have a fraction.

    Raises:
        UsageError: The text is not a time.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a time", hint="write seconds, or HH:MM:SS, such as 1:02:03.5")
    hours, minutes = (int(match[name] or 0) for name in ("hours", "minutes"))
    return 3600 * hours + 60 * minutes + float(match["seconds"])


def time_text(time: Fraction) -> str:
    """Return a time, in seconds, as ``parse_time`` reads it: ``M:SS.mmm`` or ``H:MM:SS.mmm``."""
    milliseconds = max(0, round(time * 1000))
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest // 1000:02d}.{rest % 1000:03d}"
    return f"{hours}:{minutes:02d}:{seconds}" if hours else f"{minutes}:{seconds}"


def parse_rate(text: str) -> Fraction:
    """Parse a number of frames per second: ``25``, ``23.976`` or ``24000/1001``.

    Raises:
        UsageError: The text is not a frame rate, or the rate is out of range.
    """
    try:
        rate = Fraction(text.strip())
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(f"{text!r} is not a frame rate", hint="write 25, 23.976 or 24000/1001") from error
    if not 0 < rate <= 1000:
        raise UsageError(f"a frame rate of {text} is out of range", hint="use a rate above 0 and up to 1000")
    return rate.limit_denominator(1001)


def parse_option(text: str) -> tuple[str, str]:
    """Parse an option of an encoder, ``name=value``.

    Raises:
        UsageError: The text has no name or no ``=``.
    """
    name, separator, value = text.partition("=")
    if not (separator and name):
        raise UsageError(f"{text!r} is not an option of an encoder", hint="write it as name=value")
    return name, value


def check_crf(crf: float | None) -> None:
    """Refuse a quality that no encoder has.

    Raises:
        UsageError: The quality is negative or not finite.
    """
    if crf is not None and not (math.isfinite(crf) and crf >= 0):
        raise UsageError(f"{crf:g} is not a valid quality", hint="--crf takes 0 (best) to 51 or 63")


DEFAULT_OPTIONS = ClipOptions()
