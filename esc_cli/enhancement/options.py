"""What can be chosen about enlarging pictures: the model, the device, and how the network is run."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from esc_cli.checkpoints.manifest import AUTO_MODEL
from esc_cli.errors import did_you_mean

if TYPE_CHECKING:
    from esc_cli.checkpoints.checkpoint import Checkpoint
    from esc_cli.engine.device import Precision
    from esc_cli.engine.tiling.choice import Tiling

RECORDED = {"effect": "recorded"}
"""Marks options whose value goes into the record of a result."""
RESOLVED = {"effect": "resolved"}
"""Marks options whose consequence goes into it: a model's digest, a size in pixels, an encoder's settings."""
NO_EFFECT = {"effect": "none"}
"""Marks options that change no result."""
_ENGINE = {"engine": True}
"""Marks options that ``Upscaler`` has, too."""


@dataclass(frozen=True, kw_only=True)
class EnhancementOptions:
    """Options of enlarging. Those about the device and the network are described at ``Upscaler``.

    Each says by its metadata how results depend on it.

    Attributes:
        model: As of ``Upscaler``, or ``auto``: for each file the shipped model for what the file is.
        device: As of ``Upscaler``.
        precision: As of ``Upscaler``.
        tiling: As of ``Upscaler``.
        tile_px: As of ``Upscaler``.
        overlap_px: As of ``Upscaler``.
        attention: As of ``Upscaler``.
        runtime: As of ``Upscaler``.
        tta: As of ``Upscaler``.
        consistency: Correct results until, made small again, they are their source.
    """

    model: "str | Path | Checkpoint" = field(default=AUTO_MODEL, metadata=RESOLVED | _ENGINE)
    device: str = field(default="auto", metadata=NO_EFFECT | _ENGINE)  # a run may go on on another one
    precision: "Precision" = field(default="auto", metadata=RECORDED | _ENGINE)
    tiling: "Tiling" = field(default="auto", metadata=RECORDED | _ENGINE)
    tile_px: int | None = field(default=None, metadata=RECORDED | _ENGINE)
    overlap_px: int | None = field(default=None, metadata=RECORDED | _ENGINE)
    attention: str = field(default="auto", metadata=NO_EFFECT | _ENGINE)
    runtime: str = field(default="auto", metadata=NO_EFFECT | _ENGINE)
    tta: bool = field(default=False, metadata=RECORDED | _ENGINE)
    consistency: bool = field(default=False, metadata=RECORDED)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """List the options."""
        return tuple(one.name for one in fields(cls))

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Take options by name.

        Raises:
            UsageError: A value is out of its range, or two contradict each other.
            TypeError: There is no such option.
        """
        for name in options:
            if name not in cls.names():
                nearest = did_you_mean(name, cls.names())
                raise TypeError("; ".join(filter(None, (f"there is no option {name!r}", nearest))))
        return cls(**options)

    def but(self, **changes: Any) -> Self:
        """Give these options with some changed."""
        return replace(self, **changes)

    @cached_property
    def engine(self) -> dict[str, Any]:
        """The options of ``Upscaler``, but for the scale."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.metadata.get("engine")}

    @cached_property
    def recorded(self) -> dict[str, Any]:
        """Those on whose values results depend."""
        chosen = (one.name for one in fields(self) if one.metadata["effect"] == "recorded")
        return {name: getattr(self, name) for name in chosen}
