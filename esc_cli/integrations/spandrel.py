"""Register ESC's networks in spandrel, so that programs that load their models with it load ESC checkpoints.

    from esc_cli.integrations.spandrel import install

    install()  # from now on, spandrel.ModelLoader().load_from_file("ESC_DIV2K_X4.pth") works

``ESC_REGISTRY`` has the same entry for programs that keep a registry of their own.
"""

from typing import Any

from torch import Tensor, nn

from esc_cli.checkpoints import foreign
from esc_cli.checkpoints.files import bare
from esc_cli.errors import WeightsError
from esc_cli.networks.architectures.base import NetworkConfig
from esc_cli.networks.architectures.registry import build_network, recognise, variant_name
from esc_cli.networks.grid import Grid
from esc_cli.networks.padding import run_padded

spandrel: Any = foreign.spandrel()


class ESCArchitecture(spandrel.Architecture):  # type: ignore[misc]
    """All networks of the ESC family, as one of spandrel's architectures."""

    def __init__(self) -> None:
        super().__init__(id="ESC", detect=lambda state: _config(_tensors(state)) is not None)

    def load(self, state_dict: dict[str, Any]) -> Any:
        """Return spandrel's descriptor of the network that a state dict belongs to.

        An arbitrary-scale network always uses its default scale.

        Args:
            state_dict: The tensors of a checkpoint, with or without the prefixes of training frameworks.

        Raises:
            spandrel.UnsupportedModelError: The tensors are not those of an ESC network.
        """
        state = _tensors(state_dict)
        config = _config(state)
        if config is None:
            raise spandrel.UnsupportedModelError
        return spandrel.ImageModelDescriptor(
            build_network(config),
            state,
            architecture=self,
            purpose="SR" if config.scale > 1 else "Restoration",
            tags=[variant_name(config)],
            supports_half=True,
            supports_bfloat16=True,
            scale=config.scale,
            input_channels=3,
            output_channels=3,
            call_fn=_run,
        )


def _run(network: nn.Module, low: Tensor) -> Tensor:
    """Run a network as the engine does: on a picture padded to whole attention windows, by reflection.

    Spandrel's own padding repeats the last pixel where a picture is smaller than half a window.
    """
    config: NetworkConfig = network.config  # type: ignore[assignment]
    height, width = low.shape[-2:]
    size = config.scale * height, config.scale * width
    grid = {"grid": Grid.between((height, width), size)} if config.any_scale else {}
    return run_padded(network, low, config.window_size, config.scale, **grid)


def _tensors(state: dict[str, Any]) -> dict[str, Tensor]:
    return bare({key: value for key, value in state.items() if isinstance(value, Tensor)})


def _config(state: dict[str, Tensor]) -> NetworkConfig | None:
    """Return the configuration of an ESC network that does not make pictures smaller, or None."""
    try:
        config = recognise(state)
    except WeightsError:
        return None
    return None if config.shrinks else config


ESC_REGISTRY = spandrel.ArchRegistry()
"""A registry with ESC's networks only."""

ESC_REGISTRY.add(spandrel.ArchSupport.from_architecture(ESCArchitecture()))


def install() -> None:
    """Add ESC's networks to spandrel's main registry, which every ``ModelLoader`` uses. Twice is harmless."""
    spandrel.MAIN_REGISTRY.add(*ESC_REGISTRY, ignore_duplicates=True)
