"""The candidates of a benchmark: networks, and the ways in which the engine can run them."""

from dataclasses import dataclass, replace

import torch

from esc_cli.checkpoints.checkpoint import Checkpoint, load_checkpoint
from esc_cli.checkpoints.scales import DEFAULT_SCALE
from esc_cli.engine.device import Precision
from esc_cli.engine.executors.registry import AUTO, runtime_named
from esc_cli.engine.pixels import dtype_name
from esc_cli.engine.tiling.choice import Tiling
from esc_cli.engine.upscaler import Upscaler
from esc_cli.errors import UsageError
from esc_cli.networks.architectures.base import NetworkConfig
from esc_cli.networks.architectures.registry import VARIANTS, build_network

_PERTURBATION = 0.02
"""Standard deviation of the noise that is added to the initial weights.

Without it, layers that are initialized with zeros would have no effect.
"""


@dataclass(frozen=True)
class NetworkSource:
    """The source of a network.

    Attributes:
        model: Name of a shipped model, path of a checkpoint, or name of a variant with ``random_weights``.
        scale: Output pixels per input pixel. The default is the largest scale of the model, or 4 with
            ``random_weights``.
        random_weights: Whether the weights are random. They are the same each time.
    """

    model: str
    scale: int | None = None
    random_weights: bool = False

    def load(self) -> Checkpoint:
        """Load the network, or make one with random weights.

        Raises:
            WeightsError: The model does not exist, or its file is damaged.
            UsageError: The variant does not exist, or not for this scale.
        """
        if not self.random_weights:
            return load_checkpoint(self.model, self.scale)
        return _random_checkpoint(self.model, self.scale or DEFAULT_SCALE)


@dataclass(frozen=True)
class Settings:
    """A way of running a network. The values are those of ``Upscaler``."""

    attention: str = "auto"
    precision: Precision = "auto"
    tiling: Tiling = "auto"
    runtime: str = AUTO

    def upscaler(self, checkpoint: Checkpoint, device: str) -> Upscaler:
        """Make an upscaler that runs the network in this way.

        Raises:
            UsageError: A value does not exist.
            DeviceError: The device does not exist or does not support this way.
        """
        return Upscaler(
            checkpoint,
            scale=checkpoint.scale,
            device=device,
            attention=self.attention,
            precision=self.precision,
            tiling=self.tiling,
            runtime=self.runtime,
        )

    def chosen(self, upscaler: Upscaler) -> "Settings":
        """Return the settings with each ``auto`` resolved but the tiling, which depends on the picture."""
        precision = dtype_name(upscaler.precision)
        is_free = self.runtime == AUTO or runtime_named(self.runtime).has_attention_backends
        attention = upscaler.attention if is_free else self.attention
        return replace(self, attention=attention, precision=precision)  # type: ignore[arg-type]


REFERENCE = Settings(attention="naive", precision="float32", tiling="none", runtime="torch")
"""The plain way, as published. All other ways are compared with it."""


def _random_checkpoint(variant: str, scale: int) -> Checkpoint:
    config = _config(variant, scale)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        network = build_network(config).eval()
        with torch.no_grad():
            for weights in network.parameters():
                weights.add_(torch.randn_like(weights), alpha=_PERTURBATION)
    name = f"{variant} (random weights)"
    return Checkpoint(network, config, scale, name, variant, "random weights", f"random {variant} x{scale}")


def _config(variant: str, scale: int) -> NetworkConfig:
    try:
        return VARIANTS[variant](scale)
    except KeyError as error:
        raise UsageError(
            f"there is no variant {variant!r}", hint=f"use one of {', '.join(VARIANTS)}"
        ) from error
    except ValueError as error:
        raise UsageError(f"the variant {variant} does not support x{scale}: {error}") from error
