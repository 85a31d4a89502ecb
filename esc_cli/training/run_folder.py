"""The files for people in a run's folder: configuration, list of pictures and log."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from esc_cli.errors import InputError, OutputError
from esc_cli.training.configuration import TrainingConfig
from esc_cli.training.split import Split
from esc_cli.training.state import STATE_FILE

CONFIG_FILE = "config.json"
LOG_FILE = "log.jsonl"
SPLIT_FILE = "pictures.json"

Log = Callable[[dict[str, Any]], None]


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
    path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    with path.open("a", encoding="utf-8") as file:

        def write(entry: dict[str, Any]) -> None:
            print(json.dumps(entry), file=file, flush=True)

        yield write


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _step_of(line: str) -> float:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # the line was cut off when the run was killed


def _write_json(content: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
