"""Options for enlarging pictures: the model, the device, and how the network runs."""

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from functools import cached_property
from numbers import Real
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from esc_cli.checkpoints.manifest import AUTO_MODEL
from esc_cli.engine.borders import Seamless, Wraps
from esc_cli.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from esc_cli.checkpoints.checkpoint import Checkpoint
    from esc_cli.engine.device import Precision
    from esc_cli.engine.tiling.choice import Tiling

RECORDED = {"effect": "recorded"}
"""Marks options whose value is part of the record of a result."""
RESOLVED = {"effect": "resolved"}
"""Marks options whose effect is part of the record: a model's digest, a size in pixels, encoder settings."""
NO_EFFECT = {"effect": "none"}
"""Marks options that do not change results."""
ADDED_LATER = {"added later": True}
"""Marks options whose default is not recorded, so that records from before the option stay valid."""
_ENGINE = {"engine": True}
"""Marks options that ``Upscaler`` also has."""


Alpha = Literal["opacity", "data"]
"""The meanings that alpha may have."""


@dataclass(frozen=True, kw_only=True)
class EnhancementOptions:
    """Options for enlarging pictures.

    The metadata of each field says how results depend on it.

    Attributes:
        model: See ``Upscaler``. ``auto`` chooses the shipped model that suits each file.
        device: See ``Upscaler``.
        precision: See ``Upscaler``.
        tiling: See ``Upscaler``.
        tile_px: See ``Upscaler``.
        overlap_px: See ``Upscaler``.
        attention: See ``Upscaler``.
        runtime: See ``Upscaler``.
        tta: See ``Upscaler``.
        consistency: Whether to correct results until they nearly equal their source when made small again.
        seamless: See ``Upscaler``.
        alpha: ``opacity``, or ``data`` if alpha is a channel of data, as in textures of games. Then the
            colors are enlarged as they are, also where alpha is 0.
    """

    model: "str | Path | Checkpoint" = field(default=AUTO_MODEL, metadata=RESOLVED | _ENGINE)
    device: str = field(default="auto", metadata=NO_EFFECT | _ENGINE)  # a run may continue on another one
    precision: "Precision" = field(default="auto", metadata=RECORDED | _ENGINE)
    tiling: "Tiling" = field(default="auto", metadata=RECORDED | _ENGINE)
    tile_px: int | None = field(default=None, metadata=RECORDED | _ENGINE)
    overlap_px: int | None = field(default=None, metadata=RECORDED | _ENGINE)
    attention: str = field(default="auto", metadata=NO_EFFECT | _ENGINE)
    runtime: str = field(default="auto", metadata=NO_EFFECT | _ENGINE)
    tta: bool = field(default=False, metadata=RECORDED | _ENGINE)
    consistency: bool = field(default=False, metadata=RECORDED)
    seamless: "Seamless | None" = field(default=None, metadata=RECORDED | ADDED_LATER | _ENGINE)
    alpha: Alpha = field(default="opacity", metadata=RECORDED | ADDED_LATER)

    def __post_init__(self) -> None:
        """Check the values that no other object checks.

        Raises:
            UsageError: A choice is unknown.
        """
        if self.wraps and self.consistency:
            raise UsageError(
                "--seamless and --consistency contradict each other",
                hint="leave one of them out: consistency does not know borders that wrap",
            )
        if self.alpha not in get_args(Alpha):
            raise UsageError(f"{self.alpha!r} is not a meaning of alpha", hint="use opacity or data")

    @cached_property
    def wraps(self) -> Wraps:
        """The axes along which pictures wrap."""
        return Wraps.parse(self.seamless)

    @property
    def alpha_is_data(self) -> bool:
        """Whether alpha is a channel of data, so that colors count also where it is 0."""
        return self.alpha == "data"

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all options."""
        return tuple(one.name for one in fields(cls))

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Make options from values by name.

        Raises:
            UsageError: A value is out of range, or two values contradict each other.
            TypeError: An option does not exist, or should be a number and is not.
        """
        known = {one.name: one for one in fields(cls)}
        for name, value in options.items():
            if name not in known:
                nearest = did_you_mean(name, known)
                raise TypeError("; ".join(filter(None, (f"there is no option {name!r}", nearest))))
            if value is not None and _is_number(known[name]) and not isinstance(value, Real):
                raise TypeError(f"the option {name!r} must be a number, not {value!r}")
        return cls(**options)

    def but(self, **changes: Any) -> Self:
        """Return a copy of these options with some values changed."""
        return replace(self, **changes)

    @cached_property
    def engine(self) -> dict[str, Any]:
        """The options of ``Upscaler``, except for the scale."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.metadata.get("engine")}

    @cached_property
    def recorded(self) -> dict[str, Any]:
        """The options whose values are part of the record of a result."""
        return {one.name: getattr(self, one.name) for one in fields(self) if self._is_recorded(one)}

    def _is_recorded(self, one: "Field[Any]") -> bool:
        is_left_out = "added later" in one.metadata and getattr(self, one.name) == one.default
        return one.metadata["effect"] == "recorded" and not is_left_out


def _is_number(one: "Field[Any]") -> bool:
    """Return whether a value must be a number, or None."""
    return set(get_args(one.type) or (one.type,)) - {NoneType} in ({int}, {float}, {int, float})
