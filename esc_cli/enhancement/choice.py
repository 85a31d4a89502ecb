"""Choose the model for a file: the named model, or with ``auto`` the one that suits the picture."""

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from typing import Any

from esc_cli.checkpoints.manifest import AUTO_MODEL, DEFAULT_MODEL, auto_models, read_manifest
from esc_cli.checkpoints.scales import plan_passes, reachable_scale
from esc_cli.engine.tuning.figures import Amount
from esc_cli.enhancement.models import Models
from esc_cli.enhancement.options import EnhancementOptions
from esc_cli.enhancement.traces import Traces, traces_of, usual_traces
from esc_cli.errors import UsageError
from esc_cli.media.picture import PictureFile

MOST_LOOKS = 5
"""Largest number of frames or pages of one file that are examined, spread over the file."""


@dataclass(frozen=True)
class Limits:
    """The smallest traces for which a picture gets the robust model.

    Attributes:
        jpeg_step: Step in which JPEG rounded low frequencies, for luma from 0 to 255. In the IJG's
            tables, a step of 4 is quality 85, and 2 is quality 91 to 94.
        noise: Standard deviation of the luma's noise, for luma from 0 to 255.
        softness_db: How much weaker fine detail is than coarse detail, in dB. A sharp edge has 10 or 11, and
            a blur of 0.7 pixels has 17.
    """

    jpeg_step: float
    noise: float
    softness_db: float


LIMITS = Limits(jpeg_step=2.0, noise=1.5, softness_db=10.5)
"""The limits of the shipped models.

They were chosen at x4 on 19 freely licensed pictures, shrunk and degraded in 27 ways: JPEG of quality
95 to 30, twice, cropped, before a change of size; noise; blur; WebP, AVIF, H.264. They are not as low as they
could be, so that most clean pictures get the model for clean pictures. On 12 other pictures at x4 and 7 at x2
the choice is on average 0.08 dB and 0.06 dB behind the better of `esc` and `esc-robust`; `esc` alone is 0.40
and 0.58 dB behind, and `esc-robust` alone 0.04 and 0.02 dB. `esc` is better for clean pictures (by 0.34 and
0.36 dB), for JPEG at half its size, and, at x4, for JPEG 95 and the slightest noise.
"""


@dataclass(frozen=True)
class Choice:
    """The model chosen for a file.

    Attributes:
        model: Name of the model.
        reason: A text that says why this model was chosen; None if the user asked for it.
    """

    model: str
    reason: str | None = None


class Chooser:
    """Choose the model for each file, and make the networks when they are needed.

    Args:
        options: Options of the run. The model may be ``auto``.

    Attributes:
        is_auto: Whether files are examined to choose their model.
        default: Networks of the named model. With ``auto``, those of the model for clean pictures.

    Raises:
        WeightsError: The model does not exist, or its file is damaged.
        DeviceError: The device does not exist, or cannot compute in this precision.
    """

    def __init__(self, options: EnhancementOptions) -> None:
        self.is_auto = options.model == AUTO_MODEL
        self.default = Models(options.but(model=DEFAULT_MODEL) if self.is_auto else options)
        self._options = options
        self._tune: Callable[[Models], Models] = lambda models: models
        self._by_name = {self.default.name: self.default}
        self._untuned = self._by_name

    def tuned(self, amount: Amount, *, anew: bool = False) -> "Chooser":
        """Return a chooser whose networks have the fastest settings for a job. See ``Upscaler.tuned``."""
        tuned = copy.copy(self)
        tuned._tune = lambda models: models.tuned(amount, anew=anew)
        tuned.default = tuned._tune(self.default)
        tuned._by_name = {tuned.default.name: tuned.default}
        return tuned

    @property
    def name(self) -> str:
        """Name of the requested model, or ``auto``."""
        return AUTO_MODEL if self.is_auto else self.default.name

    def choose(self, factor: float, look: Callable[[], Iterable[Traces]]) -> Choice | None:
        """Choose a model for a file that is enlarged by a factor.

        Args:
            factor: Scale factor, above zero.
            look: Returns the traces of the file's pictures or frames. It is called only if they matter.

        Returns:
            The choice, or None if there is nothing to enlarge.

        Raises:
            UsageError: The factor is not a positive number.
            InputError: The file has no pictures.
        """
        if not 0 < factor < math.inf:  # NaN is not either
            raise UsageError(f"a scale must be a number above zero, not {factor}")
        if not self.default.enlarges(factor):
            return None
        if not self.is_auto:
            return Choice(self.name)
        clean, robust = auto_models(read_manifest(), factor)
        damage = damage_shown_by(usual_traces(look()))
        return Choice(robust, damage) if damage else Choice(clean, "clean and sharp")

    def models(self, choice: Choice | None) -> Models:
        """Return the networks of a choice. Without a choice, return the default networks.

        Raises:
            WeightsError: The file of the chosen model is damaged.
        """
        if choice is None:
            return self.default
        name = choice.model
        if name not in self._untuned:
            self._untuned[name] = Models(self._options.but(model=name))
        if name not in self._by_name:
            self._by_name[name] = self._tune(self._untuned[name])
        return self._by_name[name]

    def recipe(self, factor: float) -> dict[str, Any]:
        """Return the networks that a result depends on, for its record.

        With ``auto`` these are all models to choose from, because the choice itself follows from the input's
        bytes.
        """
        recipe = self.default.recipe(factor)
        if self.is_auto and factor > 1:
            names = auto_models(read_manifest(), factor)
            recipe["models"] = {AUTO_MODEL: {name: _digests(name, factor) for name in names}}
            recipe["limits"] = list(astuple(LIMITS))
        return recipe


def looks_at(file: PictureFile) -> Iterable[Traces]:
    """Return the traces of some of a file's pictures, spread over the file."""
    pictures = list({id(picture.color): picture for picture in file.pictures}.values())
    count = min(MOST_LOOKS, len(pictures))
    return (traces_of(pictures[number * len(pictures) // count]) for number in range(count))


def damage_shown_by(traces: Traces) -> str | None:
    """Describe the damage that a model for clean pictures would make worse, or return None."""
    if traces.jpeg_step >= LIMITS.jpeg_step:
        return f"JPEG rounded it in steps of {traces.jpeg_step:g}"
    if traces.noise >= LIMITS.noise:
        return f"noise of {traces.noise:.1f}"
    if traces.softness_db >= LIMITS.softness_db:
        return f"soft: fine detail is {traces.softness_db:.0f} dB below coarse"
    return None


def _digests(name: str, factor: float) -> list[str]:
    """Return the digests of the networks that a shipped model runs for a factor."""
    files = {entry.scale: entry.sha256 for entry in read_manifest() if entry.name == name}
    scales = tuple(files)
    return [files[scale] for scale in plan_passes(reachable_scale(factor, scales), scales)]
