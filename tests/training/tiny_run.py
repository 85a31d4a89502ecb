"""Train a tiny network in a run that is killed and resumed.

    tiny_run.py PICTURES FOLDER CONFIG [DELAY_S ...]

CONFIG is JSON. For each delay, a child process continues the run and is killed. The delay is counted from the
first state that the child writes. The last part of the run is not killed. Children are forked, because
importing torch takes longer than their work.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import torch

from esc_cli.networks.architectures import registry
from esc_cli.networks.architectures.esc import ESCConfig
from esc_cli.training.configuration import TrainingConfig
from esc_cli.training.loop import train
from esc_cli.training.run_folder import STATE_FILE


def tiny(scale: int) -> ESCConfig:
    return ESCConfig(scale, dim=16, partial_dim=8, heads=2, blocks=1, mixers=1, window_size=8, kernel_size=5)


def sitting(pictures: Path, folder: Path, config: TrainingConfig) -> None:
    torch.set_num_threads(1)
    resume = (folder / STATE_FILE).exists()
    train(config, pictures, folder, device=torch.device("cpu"), resume=resume, quiet=True)


def killed_sitting(pictures: Path, folder: Path, config: TrainingConfig, delay_s: float) -> None:
    before = stamp(folder)
    child = os.fork()
    if child == 0:
        sitting(pictures, folder, config)
        os._exit(0)
    while stamp(folder) == before:
        if os.waitpid(child, os.WNOHANG) != (0, 0):
            sys.exit("the run ended before it could be killed")
        time.sleep(0.001)
    time.sleep(delay_s)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    sys.stdout.write("killed\n" if os.WIFSIGNALED(status) else "over\n")


def stamp(folder: Path) -> int:
    try:
        return (folder / STATE_FILE).stat().st_mtime_ns
    except FileNotFoundError:
        return 0


if __name__ == "__main__":
    registry.VARIANTS["tiny"] = tiny
    chosen = TrainingConfig(**json.loads(sys.argv[3]))
    for delay in sys.argv[4:]:
        killed_sitting(Path(sys.argv[1]), Path(sys.argv[2]), chosen, float(delay))
    sitting(Path(sys.argv[1]), Path(sys.argv[2]), chosen)
