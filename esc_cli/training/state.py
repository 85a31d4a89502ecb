"""The state of a training run on disk, from which a killed run is resumed."""

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
    """The state of a run after ``step`` steps. The tensors are shared with the network and the optimizer.

    Attributes:
        config: Configuration of the run.
        step: Number of steps done, including those of the run that this one branched from.
        elapsed_s: Seconds spent on the run's own steps, over all sessions.
        network: State dict of the network.
        average: State dict of the moving average of the weights.
        optimizer: State dict of the optimizer.
    """

    config: TrainingConfig
    step: int
    elapsed_s: float
    network: dict[str, Tensor]
    average: dict[str, Tensor]
    optimizer: dict[str, Any]


def save_state(state: RunState, folder: Path) -> None:
    """Write the averaged weights as a separate checkpoint, then the state, each file atomically.

    If the run is killed between the two writes, the steps since the last state are done again. In the other
    order, a run that is killed at its end would keep old weights beside a state that says it is over.

    Raises:
        OutputError: The folder cannot be written to.
    """
    average = {key: value.contiguous() for key, value in state.average.items()}
    write_whole(folder / WEIGHTS_FILE, save(average))
    content = io.BytesIO()
    torch.save(vars(state) | {"config": dataclasses.asdict(state.config)}, content)
    write_whole(folder / STATE_FILE, content.getvalue())


def load_state(folder: Path) -> RunState:
    """Read the state that ``save_state`` wrote, onto the CPU.

    Raises:
        InputError: There is no state in the folder, or it is damaged.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        raise InputError(f"there is no run to resume in {str(folder)!r}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        return RunState(**{**content, "config": TrainingConfig(**content["config"])})
    except Exception as error:  # a damaged pickle can raise any exception
        raise InputError(f"the state of the run in {str(folder)!r} is damaged") from error
