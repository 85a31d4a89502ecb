"""The networks of a run. Its pictures may need several scales of one model."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch

from esc_cli.checkpoints.checkpoint import (
    Checkpoint,
    available_scales,
    does_any_scale,
    open_model,
)
from esc_cli.checkpoints.scales import reachable_scale
from esc_cli.engine.borders import Wraps
from esc_cli.engine.device import choose_precision
from esc_cli.engine.executors.registry import choose_device_for
from esc_cli.engine.pixels import dtype_name
from esc_cli.engine.tuning.figures import Amount
from esc_cli.engine.upscaler import Upscaler
from esc_cli.enhancement.options import EnhancementOptions
from esc_cli.version import made_by


class Models:
    """Make the upscalers of one model when they are needed, one for each scale.

    Args:
        options: Options of the run. The model must not be ``auto``.

    Raises:
        WeightsError: The model does not exist, or its file is damaged.
        DeviceError: The device does not exist, or cannot compute in this precision.
    """

    def __init__(self, options: EnhancementOptions) -> None:
        device, _ = choose_device_for(options.runtime, options.device)
        choose_precision(options.precision, device.device)
        self._model = open_model(options.model)
        self._options = options.but(model=self._model)
        self._upscalers: dict[float, Upscaler] = {}
        self._untuned = self._upscalers
        self._tune: Callable[[Upscaler], Upscaler] = lambda upscaler: upscaler

    def tuned(self, amount: Amount, *, anew: bool = False) -> "Models":
        """Return the networks with the fastest settings for a job. See ``Upscaler.tuned``."""
        tuned = copy.copy(self)
        tuned._tune = lambda upscaler: upscaler.tuned(amount, anew=anew)
        tuned._upscalers = {}
        return tuned

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._model.name if isinstance(self._model, Checkpoint) else self._model

    @property
    def wraps(self) -> Wraps:
        """The axes along which pictures wrap."""
        return self._options.wraps

    def default(self) -> Upscaler:
        """Return the upscaler of the model's default scale."""
        upscaler = Upscaler(**self._options.engine)
        self._untuned.setdefault(upscaler.scale, upscaler)
        return self._of_scale(upscaler.scale)

    def enlarges(self, factor: float) -> bool:
        """Return whether a network runs for a factor."""
        return factor > 1 or 1 in available_scales(self._model)

    def upscaler(self, factor: float) -> Upscaler | None:
        """Return the upscaler with the smallest scale at or above a factor, or the arbitrary-scale one.

        Returns:
            The upscaler. None for factors up to 1, which enlarge nothing, unless the model has the scale 1.

        Raises:
            UsageError: The factor is out of the model's reach.
        """
        if not self.enlarges(factor):
            return None
        available = available_scales(self._model)
        if does_any_scale(self._model):
            return self._upscalers.get(max(available)) or self.default()
        scale = reachable_scale(factor, available)
        return self._of_scale(scale)

    def _of_scale(self, scale: float) -> Upscaler:
        if scale not in self._untuned:
            self._untuned[scale] = Upscaler(scale=scale, **self._options.engine)
        if scale not in self._upscalers:
            self._upscalers[scale] = self._tune(self._untuned[scale])
        return self._upscalers[scale]

    def passes(self, factor: float) -> tuple[float, ...]:
        """Return the scales of the networks that run one after the other for a factor."""
        upscaler = self.upscaler(factor)
        if upscaler is None:
            return ()
        return (_rounded(factor),) if upscaler.does_any_scale else upscaler.passes

    def provenance(self, factor: float, pixels: torch.dtype = torch.uint8) -> str:
        """Return a text for a result's metadata: the program, model and settings that made the result."""
        upscaler = self.upscaler(factor)
        if upscaler is None:
            return f"{made_by()}; resized without a network"
        passes = " then ".join(f"x{scale}" for scale in self.passes(factor))
        digests = ", ".join(digest[:16] for digest in upscaler.digests)
        ensemble = "; self-ensemble" if self._options.tta else ""
        how = (
            f"precision {dtype_name(upscaler.precision_for(pixels))}; tiling {self._options.tiling}{ensemble}"
        )
        return f"{made_by()}; model {self.name} {passes} ({digests}); {how}"

    def chosen(
        self, factor: float, pixels: torch.dtype = torch.uint8, ways: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Return what ``auto`` chose for a result, as a JSON object; it is empty without a network.

        Args:
            factor: The factor that the picture was enlarged by.
            pixels: Pixel type of the result.
            ways: How each pass was run, as ``Upscaled`` has it.
        """
        upscaler = self.upscaler(factor)
        if upscaler is None:
            return {}
        return {
            "device": upscaler.device_name,
            "precision": dtype_name(upscaler.precision_for(pixels)),
            "attention": upscaler.attention,
            "ways": [way.partition(":")[0] for way in ways],
        }

    def recipe(self, factor: float) -> dict[str, Any]:
        """Return the networks that a result depends on, for its record."""
        upscaler = self.upscaler(factor)
        return {"models": [] if upscaler is None else list(upscaler.digests)}


def _rounded(factor: float) -> float:
    """Round a factor for display."""
    return int(factor) if factor == int(factor) else round(factor, 3)
