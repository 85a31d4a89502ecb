"""What a training run keeps when it is killed, on disk."""

import dataclasses
import io
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from esc_cli.errors import InputError
from esc_cli.storage.whole_files import write_whole
from esc_cli.training.configuration import TrainingConfig

STATE_FILE = "state.pt"
WEIGHTS_FILE = "weights.safetensors"


@dataclasses.dataclass
class RunState:
    """A run after ``step`` steps; the tensors are those of the live network and optimiser.

    Attributes:
        config: The run's configuration.
        step: Steps done, with those of the run that it is a branch of.
        elapsed_s: Seconds spent on its own steps, over all sittings.
        network: State dict.
        average: State dict of the moving average of the weights.
        optimizer: State dict.
    """

    config: TrainingConfig
    step: int
    elapsed_s: float
    network: dict[str, Tensor]
    average: dict[str, Tensor]
    optimizer: dict[str, Any]


def save_state(state: RunState, folder: Path) -> None:
    """Write the averaged weights as a checkpoint of its own, and the state, each whole or not at all.

    The state comes last: after a kill between the two, the steps up to the weights are done again. The other
    way round, a run killed at its end would keep old weights beside a state that says it is over.

    Raises:
        OutputError: The folder cannot be written to.
    """
    average = {key: value.contiguous() for key, value in state.average.items()}
    write_whole(folder / WEIGHTS_FILE, save(average))
    content = io.BytesIO()
    torch.save(vars(state) | {"config": dataclasses.asdict(state.config)}, content)
    write_whole(folder / STATE_FILE, content.getvalue())


def load_state(folder: Path) -> RunState:
    """Read what ``save_state`` wrote, onto the CPU.

    Raises:
        InputError: There is no state in the folder, or it is damaged.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        raise InputError(f"there is no run to resume in {str(folder)!r}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        return RunState(**{**content, "config": TrainingConfig(**content["config"])})
    except Exception as error:  # a damaged pickle fails with whatever its bytes happen to ask for
        raise InputError(f"the state of the run in {str(folder)!r} is damaged") from error
