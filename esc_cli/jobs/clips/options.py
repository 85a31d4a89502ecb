"""What can be asked of clips beside what can be asked of pictures."""

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from esc_cli.errors import UsageError
from esc_cli.media.video.containers import EncodeSettings

_TIME = re.compile(r"(?:(?:(?P<hours>\d+):)?(?P<minutes>\d+):)?(?P<seconds>\d+(?:\.\d+)?)")


NO_SETTINGS = EncodeSettings()


@dataclass(frozen=True)
class ClipOptions:
    """What the user asked for.

    Attributes:
        encode: How frames are encoded.
        deinterlace: Whether interlaced clips are made whole frames of; if not, they are refused.
        start_s: Where the part that is kept begins; None: at the beginning.
        end_s: Where it ends; None: at the end.
        preview: So many frames on a sheet instead of a clip.
        frame_rate: Frames a second of an image sequence.
    """

    encode: EncodeSettings = NO_SETTINGS
    deinterlace: bool = False
    start_s: float | None = None
    end_s: float | None = None
    preview: int | None = None
    frame_rate: Fraction | None = None

    def __post_init__(self) -> None:
        """Check what contradicts itself.

        Raises:
            UsageError: Something does.
        """
        if self.end_s is not None and self.end_s <= (self.start_s or 0):
            raise UsageError("the end is not after the start")
        if self.preview is not None and self.preview < 1:
            raise UsageError(f"a preview of {self.preview} frames shows nothing")


def parse_time(text: str) -> float:
    """Read a time: seconds, ``MM:SS`` or ``HH:MM:SS``, each with a fraction.

    Raises:
        UsageError: It is none.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is no time", hint="write seconds, or HH:MM:SS, such as 1:02:03.5")
    hours, minutes = (int(match[name] or 0) for name in ("hours", "minutes"))
    return 3600 * hours + 60 * minutes + float(match["seconds"])


def parse_rate(text: str) -> Fraction:
    """Read frames a second: ``25``, ``23.976`` or ``24000/1001``.

    Raises:
        UsageError: It is none, or none that a clip can have.
    """
    try:
        rate = Fraction(text.strip())
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(f"{text!r} is no frame rate", hint="write 25, 23.976 or 24000/1001") from error
    if not 0 < rate <= 1000:
        raise UsageError(f"{text} frames a second are out of reach", hint="the most are 1000")
    return rate.limit_denominator(1001)


def parse_option(text: str) -> tuple[str, str]:
    """Read an encoder's own option, ``name=value``.

    Raises:
        UsageError: It has no name or no ``=``.
    """
    name, separator, value = text.partition("=")
    if not (separator and name):
        raise UsageError(f"{text!r} is no option of an encoder", hint="write it as name=value")
    return name, value


def check_crf(crf: float | None) -> None:
    """Refuse what no encoder has as a quality.

    Raises:
        UsageError: It is negative or infinite.
    """
    if crf is not None and not (math.isfinite(crf) and crf >= 0):
        raise UsageError(f"{crf:g} is no quality", hint="--crf takes 0 (best) to 51 or 63")


DEFAULT_OPTIONS = ClipOptions()
