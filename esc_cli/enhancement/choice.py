"""Which model a picture gets: the one that was named, or with ``auto`` the one for what the picture is."""

from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from typing import Any

from esc_cli.checkpoints.manifest import AUTO_MODEL, DEFAULT_MODEL, auto_models, read_manifest
from esc_cli.checkpoints.scales import plan_passes, reachable_scale
from esc_cli.enhancement.models import Models
from esc_cli.enhancement.options import EnhancementOptions
from esc_cli.enhancement.traces import Traces, traces_of, usual_traces
from esc_cli.media.picture import PictureFile

MOST_LOOKS = 5
"""Frames or pages of one file that are looked at, spread over it."""


@dataclass(frozen=True)
class Limits:
    """From where on a trace is for the robust model.

    Attributes:
        jpeg_step: In which JPEG rounded low frequencies, of luma from 0 to 255: 4 is quality 85 in the tables
            of the IJG, 2 is 92.
        noise: Standard deviation of the luma's noise, likewise.
        softness_db: Of how much weaker fine detail is than coarse; a sharp edge has 10 or 11, a blur of 0.7
            pixels 17.
    """

    jpeg_step: float
    noise: float
    softness_db: float


FULL_SIZE = Limits(jpeg_step=2.0, noise=1.5, softness_db=10.5)
"""For a robust model with the network of the one for clean pictures, which loses little on those.

Measured at x4 on freely licensed pictures that were made small and degraded in 27 ways: JPEG of quality 95 to
30, twice, cropped, before a change of size; noise; blur; WebP, AVIF, H.264. The limits were chosen on 19 of
them, and not as low as they could be, so that most clean pictures get the model for those. On 11 others the
choice is on average 0.07 dB behind the better one of `esc` and `esc-robust`; `esc` alone is 0.48 behind,
`esc-robust` alone 0.04. Of all ways `esc` is better on four: clean pictures (by 0.25 dB), JPEG 95, the
slightest noise, and half the size of a JPEG.
"""

SMALLER = Limits(jpeg_step=4.0, noise=2.5, softness_db=12.0)
"""For a smaller robust model, which is worse on clean pictures.

Measured likewise with `esc-light-robust`, at x4 on the same pictures, at x2 on 10 of the first and 6 of the
others. On the others the choice was on average 0.10 dB (x4) and 0.08 dB (x2) behind the better one of `esc`
and `esc-light-robust`; `esc` alone 0.41 and 0.70, `esc-light-robust` alone 0.32 and 0.16. A softness of 9.5
took 43 clean drawings of 101 for soft, this one 13.
"""


@dataclass(frozen=True)
class Choice:
    """A model for a file.

    Attributes:
        model: Its name.
        reason: Why this one, in words; None where it was asked for.
    """

    model: str
    reason: str | None = None


class Chooser:
    """Gives each file its model, and makes the networks when they are needed.

    Args:
        options: Of the run; the model may be ``auto``.

    Attributes:
        is_auto: Whether files are looked at.
        default: The models of what was named; with ``auto`` those for clean pictures.

    Raises:
        WeightsError: There is no such model, or its file is damaged.
        DeviceError: There is no such device, or it cannot compute in this precision.
    """

    def __init__(self, options: EnhancementOptions) -> None:
        self.is_auto = options.model == AUTO_MODEL
        self.default = Models(options.but(model=DEFAULT_MODEL) if self.is_auto else options)
        self._options = options
        self._by_name = {self.default.name: self.default}

    @property
    def name(self) -> str:
        """What was asked for."""
        return AUTO_MODEL if self.is_auto else self.default.name

    def choose(self, factor: float, look: Callable[[], Iterable[Traces]]) -> Choice | None:
        """Choose a model for a file that is made ``factor`` times as large.

        Args:
            factor: Above zero.
            look: Gives the traces of its pictures or frames; called if they matter.

        Returns:
            None where there is nothing to enlarge.
        """
        if not self.default.enlarges(factor):
            return None
        if not self.is_auto:
            return Choice(self.name)
        clean, robust = auto_models(read_manifest(), factor)
        damage = damage_shown_by(usual_traces(look()), limits_of(clean, robust))
        return Choice(robust, damage) if damage else Choice(clean, "clean and sharp")

    def models(self, choice: Choice | None) -> Models:
        """Give the networks of a choice; the default ones where there is none, or none yet."""
        if choice is None:
            return self.default
        if choice.model not in self._by_name:
            self._by_name[choice.model] = Models(self._options.but(model=choice.model))
        return self._by_name[choice.model]

    def recipe(self, factor: float) -> dict[str, Any]:
        """List the networks that a result depends on, for its record.

        With ``auto`` these are all models that there are to choose from: the choice itself follows from the
        input's bytes.
        """
        recipe = self.default.recipe(factor)
        if self.is_auto and factor > 1:
            names = auto_models(read_manifest(), factor)
            recipe["models"] = {AUTO_MODEL: {name: _digests(name, factor) for name in names}}
            recipe["limits"] = list(astuple(limits_of(*names)))
        return recipe


def looks_at(file: PictureFile) -> Iterable[Traces]:
    """Look at some of a file's pictures, spread over it."""
    pictures = list({id(picture): picture for picture in file.pictures}.values())
    count = min(MOST_LOOKS, len(pictures))
    return (traces_of(pictures[number * len(pictures) // count]) for number in range(count))


def limits_of(clean: str, robust: str) -> Limits:
    """Give the limits between two shipped models, by name."""
    networks = {entry.name: entry.network for entry in read_manifest()}
    return FULL_SIZE if networks[clean] == networks[robust] else SMALLER


def damage_shown_by(traces: Traces, limits: Limits) -> str | None:
    """Say in words what damage a model for clean pictures would make worse; None where there is none."""
    if traces.jpeg_step >= limits.jpeg_step:
        return f"JPEG rounded it in steps of {traces.jpeg_step:g}"
    if traces.noise >= limits.noise:
        return f"noise of {traces.noise:.1f}"
    if traces.softness_db >= limits.softness_db:
        return f"soft: fine detail is {traces.softness_db:.0f} dB below coarse"
    return None


def _digests(name: str, factor: float) -> list[str]:
    """Give the digests of the networks that a shipped model runs for a factor."""
    files = {entry.scale: entry.sha256 for entry in read_manifest() if entry.name == name}
    scales = tuple(files)
    return [files[scale] for scale in plan_passes(reachable_scale(factor, scales), scales)]
