"""The networks of a run: pictures of one run may need several scales of one model."""

from typing import Any

import torch

from esc_cli.checkpoints.checkpoint import (
    Checkpoint,
    available_scales,
    does_any_scale,
    open_model,
)
from esc_cli.checkpoints.scales import reachable_scale
from esc_cli.engine.device import choose_device, choose_precision
from esc_cli.engine.upscaler import Upscaler
from esc_cli.enhancement.options import EnhancementOptions
from esc_cli.version import program_version


class Models:
    """Makes upscalers when they are needed, one for each scale.

    Args:
        options: Of the run; the model is one, and not ``auto``.

    Raises:
        WeightsError: There is no such model, or its file is damaged.
        DeviceError: There is no such device, or it cannot compute in this precision.
    """

    def __init__(self, options: EnhancementOptions) -> None:
        device = choose_device(options.device).device
        choose_precision(options.precision, device)
        self._model = open_model(options.model)
        self._options = options.but(model=self._model)
        self._upscalers: dict[float, Upscaler] = {}

    @property
    def name(self) -> str:
        """What to call the model."""
        return self._model.name if isinstance(self._model, Checkpoint) else self._model

    def default(self) -> Upscaler:
        """Give the upscaler of the model's default scale."""
        upscaler = Upscaler(**self._options.engine)
        return self._upscalers.setdefault(upscaler.scale, upscaler)

    def enlarges(self, factor: float) -> bool:
        """Tell whether there is anything for a network to do."""
        return factor > 1 or 1 in available_scales(self._model)

    def upscaler(self, factor: float) -> Upscaler | None:
        """Give the upscaler whose scale is the smallest at or above a factor, or that does any.

        Returns:
            None for factors up to 1, where there is nothing to enlarge, unless the model is one for x1.

        Raises:
            UsageError: The factor is out of the model's reach.
        """
        if not self.enlarges(factor):
            return None
        available = available_scales(self._model)
        if does_any_scale(self._model):
            return self._upscalers.get(max(available)) or self.default()
        scale = reachable_scale(factor, available)
        if scale not in self._upscalers:
            self._upscalers[scale] = Upscaler(scale=scale, **self._options.engine)
        return self._upscalers[scale]

    def passes(self, factor: float) -> tuple[float, ...]:
        """List the scales of the networks that are run in turn for a factor; none up to 1."""
        upscaler = self.upscaler(factor)
        if upscaler is None:
            return ()
        return (_rounded(factor),) if upscaler.does_any_scale else upscaler.passes

    def provenance(self, factor: float, pixels: torch.dtype = torch.uint8) -> str:
        """Say what makes a result of a pixel type, for its own metadata: program, model and settings."""
        upscaler = self.upscaler(factor)
        made_by = f"esc-upscale {program_version()}"
        if upscaler is None:
            return f"{made_by}; resized without a network"
        passes = " then ".join(f"x{scale}" for scale in self.passes(factor))
        digests = ", ".join(digest[:16] for digest in upscaler.digests)
        ensemble = "; self-ensemble" if self._options.tta else ""
        how = f"precision {name_of(upscaler.precision_for(pixels))}; tiling {self._options.tiling}{ensemble}"
        return f"{made_by}; model {self.name} {passes} ({digests}); {how}"

    def recipe(self, factor: float) -> dict[str, Any]:
        """List the networks that a result depends on, for its record."""
        upscaler = self.upscaler(factor)
        return {"models": [] if upscaler is None else list(upscaler.digests)}


def _rounded(factor: float) -> float:
    """Round a factor to what is worth telling."""
    return int(factor) if factor == int(factor) else round(factor, 3)


def name_of(dtype: torch.dtype) -> str:
    """Name a type as users do: ``float32``."""
    return str(dtype).removeprefix("torch.")
