"""A training run in memory: the network, its average and its optimizer, either new or restored."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from esc_cli.checkpoints.checkpoint import Checkpoint, available_scales, load_checkpoint, open_model
from esc_cli.errors import UsageError
from esc_cli.networks.ablations import ABLATIONS
from esc_cli.networks.architectures.base import NetworkConfig, State
from esc_cli.networks.architectures.registry import VARIANTS, build_network
from esc_cli.training.configuration import TrainingConfig
from esc_cli.training.initial import adapt_weights, has_head, start_as_enlargement
from esc_cli.training.optimizers import Optimizer, make_optimizer
from esc_cli.training.run_folder import RunState, load_state, save_state


@dataclass
class Run:
    """A run after ``step`` steps and ``elapsed_s`` seconds over all sessions.

    Attributes:
        config: Configuration of the run.
        device: Device of the run.
        network: The network that is trained.
        average: The network with the moving average of the weights, in eval mode, without gradients.
        optimizer: Optimizer of the network's parameters.
        step: Number of steps done, including those of the run that this one branched from.
        elapsed_s: Seconds spent on the run's own steps.
    """

    config: TrainingConfig
    device: torch.device
    network: nn.Module
    average: nn.Module
    optimizer: Optimizer
    step: int = 0
    elapsed_s: float = 0.0

    def save(self, folder: Path) -> None:
        """Write the run's state and weights.

        Raises:
            OutputError: The folder cannot be written to.
        """
        state = RunState(
            config=self.config,
            step=self.step,
            elapsed_s=self.elapsed_s,
            network=dict(self.network.state_dict()),
            average=dict(self.average.state_dict()),
            optimizer=self.optimizer.state_dict(),
        )
        save_state(state, folder)

    @torch.no_grad()
    def update_average(self) -> None:
        """Move the averaged weights toward the current weights, over a horizon that grows with the run."""
        own_steps = self.step - self.config.first_step
        decay = min(self.config.ema_decay, (1 + own_steps) / (10 + own_steps))
        averages: list[Tensor] = list(self.average.parameters())
        live: list[Tensor] = list(self.network.parameters())
        torch._foreach_lerp_(averages, live, 1 - decay)


def network_config(config: TrainingConfig) -> NetworkConfig:
    """Return the configuration of a run's network.

    Raises:
        UsageError: The variant is unknown, or it does not support the scale.
    """
    try:
        return (VARIANTS | ABLATIONS)[config.variant](config.scale)
    except KeyError as error:
        raise UsageError(f"there is no variant {config.variant!r}", hint=", ".join(VARIANTS)) from error
    except ValueError as error:
        raise UsageError(f"{config.variant} does not support x{config.scale}: {error}") from error


def new_run(config: TrainingConfig, device: torch.device) -> Run:
    """Begin a run. The same seed gives the same run.

    Raises:
        UsageError: The variant is unknown, or it does not support the scale.
        WeightsError: The initial weights do not fit.
    """
    torch.manual_seed(config.seed)
    network = build_network(network_config(config))
    weights: State = {}
    if config.initial is not None:
        weights = _initial_weights(config.initial, config.scale)
        network.load_state_dict(adapt_weights(weights, network.state_dict()))
    if config.zero_head and not has_head(weights, network):
        start_as_enlargement(network)
    return _assemble(config, device, network)


def _initial_weights(initial: str, scale: int) -> State:
    """Read a file or a shipped model. If the model lacks the scale, its smallest scale is used."""
    model = open_model(initial)
    if not isinstance(model, Checkpoint):
        scales = available_scales(model)
        model = load_checkpoint(model, scale if scale in scales else min(scales))
    return model.network.state_dict()


def resumed_run(folder: Path, device: torch.device) -> Run:
    """Restore the run that was saved in a folder.

    Raises:
        InputError: There is no run in the folder, or it is damaged.
    """
    state = load_state(folder)
    return _restored(state, state.config, device)


def branched_run(config: TrainingConfig, trunk: Path, device: torch.device) -> Run:
    """Begin a run with the network, the average and the optimizer of another run, which is not changed.

    Args:
        config: Configuration of the new run. Its first step is set to the last step of the other run.
        trunk: Folder of the other run.
        device: Device of the new run.

    Raises:
        InputError: The other run does not exist, or it is damaged.
        UsageError: The two runs train different networks.
    """
    state = load_state(trunk)
    if network_config(config) != network_config(state.config):
        raise UsageError(
            "a branch must have the network of its run", hint="use --initial to start another network"
        )
    run = _restored(state, dataclasses.replace(config, first_step=state.step), device)
    run.elapsed_s = 0.0
    return run


def _restored(state: RunState, config: TrainingConfig, device: torch.device) -> Run:
    network = build_network(network_config(config))
    network.load_state_dict(state.network)
    run = _assemble(config, device, network)
    run.average.load_state_dict(state.average)
    run.optimizer.load_state_dict(state.optimizer)
    run.step, run.elapsed_s = state.step, state.elapsed_s
    return run


def _assemble(config: TrainingConfig, device: torch.device, network: nn.Module) -> Run:
    average = build_network(network_config(config)).eval().requires_grad_(False)
    # Both need the same memory layout. Otherwise the tensors are averaged one by one, with a launch for each.
    for one in (network, average):
        one.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average.load_state_dict(network.state_dict())
    return Run(config, device, network, average, make_optimizer(network, config))
