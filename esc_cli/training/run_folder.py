"""The files in a run's folder: configuration, list of pictures, log, and the state to resume from."""

import dataclasses
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from esc_cli.errors import InputError, OutputError
from esc_cli.storage.whole_files import write_whole
from esc_cli.training.configuration import TrainingConfig
from esc_cli.training.pairs import Split

STATE_FILE = "state.pt"
WEIGHTS_FILE = "weights.safetensors"
CONFIG_FILE = "config.json"
LOG_FILE = "log.jsonl"
SPLIT_FILE = "pictures.json"

Log = Callable[[dict[str, Any]], None]
"""Appends an entry to the log."""


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


def check_free(folder: Path) -> None:
    """Check that a folder contains no run yet.

    Raises:
        OutputError: The folder already contains a run.
    """
    if (folder / STATE_FILE).exists():
        raise OutputError(f"{str(folder)!r} already contains a run", hint="use --resume to continue it")


def write_config(config: TrainingConfig, folder: Path) -> None:
    """Write the configuration for people, into a new folder. A resumed run uses the one in its state."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(dataclasses.asdict(config), folder / CONFIG_FILE)


def write_split(split: Split, pictures: Path, folder: Path) -> None:
    """Write which pictures are trained on and which are held out, as paths relative to ``pictures``."""
    names = {
        key: [path.relative_to(pictures).as_posix() for path in paths] for key, paths in vars(split).items()
    }
    _write_json(names, folder / SPLIT_FILE)


def read_split(pictures: Path, folder: Path) -> Split:
    """Read the split that ``write_split`` wrote, so that a resumed run keeps its pictures.

    Raises:
        InputError: The file is missing or damaged.
    """
    try:
        names = json.loads((folder / SPLIT_FILE).read_text(encoding="utf-8"))
        return Split(**{key: tuple(pictures / name for name in names[key]) for key in names})
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"the list of pictures of the run in {str(folder)!r} is missing or damaged"
        ) from error


@contextmanager
def open_log(folder: Path, step: int) -> Iterator[Log]:
    """Yield a function that appends a line to the log.

    Lines after ``step`` are removed first, since these steps will be done again.
    """
    path = folder / LOG_FILE
    kept = [line for line in _lines(path) if _step_of(line) <= step]
    write_whole(path, "".join(f"{line}\n" for line in kept).encode())
    with path.open("a", encoding="utf-8") as file:

        def write(entry: dict[str, Any]) -> None:
            print(json.dumps(entry), file=file, flush=True)

        yield write


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Read all entries of the log, which must exist and be whole."""
    return [json.loads(line) for line in (folder / LOG_FILE).read_text(encoding="utf-8").splitlines()]


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _step_of(line: str) -> float:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # the line was cut off when the run was killed


def _write_json(content: dict[str, Any], path: Path) -> None:
    write_whole(path, (json.dumps(content, indent=1) + "\n").encode())
