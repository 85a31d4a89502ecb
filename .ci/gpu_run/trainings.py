"""Stages that train: some steps of each variant, and the real runs."""

import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from measures import peak_bytes
from settings import HELD_OUT, Settings, Told

from esc_cli.engine.device import synchronize
from esc_cli.training.acceleration import tuned_convolutions
from esc_cli.training.configuration import TrainingConfig
from esc_cli.training.loop import learner, load_lessons, take_step
from esc_cli.training.loop import train as run_training
from esc_cli.training.pairs import Split, split_by_source
from esc_cli.training.processes import Processes
from esc_cli.training.run import new_run
from esc_cli.training.run_folder import read_log


@dataclass(frozen=True)
class Variant:
    """A variant of the training step.

    Attributes:
        tuned: Whether cuDNN chooses its kernels by benchmarking; in a real run it always does.
        compiled: Whether the blocks are compiled.
        recorded: Whether the step is recorded as a CUDA graph.
    """

    tuned: bool = True
    compiled: bool = False
    recorded: bool = False


VARIANTS = {
    "plain": Variant(tuned=False),
    "tuned": Variant(),
    "compiled": Variant(compiled=True),
    "graph": Variant(compiled=True, recorded=True),
    "recorded": Variant(recorded=True),
}

SEED = 19
"""Seed of the runs. It differs from the seed of the earlier runs, whose patches would be learned again."""

RATES = {2: 5e-4, 4: 3e-4}
_PICTURES_OF_A_VARIANT = 64
_STEPS_OF_A_SCHEDULE = 1000
"""Length of the schedule of a variant. The variant takes fewer steps, so its rate is still rising."""


def recipe(settings: Settings, scale: int, name: str, **changes: Any) -> TrainingConfig:
    """Return the configuration of a run: large batches, a warm-up of 2 %, then a cosine to zero."""
    variant = VARIANTS[name]
    described: dict[str, Any] = {
        "variant": "esc",
        "scale": scale,
        "initial": "esc",
        "batch_size": settings.batch,
        "patch_px": settings.patch_px,
        "learning_rate": RATES[scale],
        "schedule": "cosine",
        "ema_decay": 0.999,
        "seed": SEED + scale,
        "precision": "bfloat16",
        "compile": variant.compiled,
        "cuda_graph": variant.recorded,
        "validation_pictures": HELD_OUT,
        "validate_every": 2000,
        "save_every_s": 60.0,
    }
    return TrainingConfig(**{**described, **changes})


def variant(settings: Settings, name: str, steps: str) -> Told:
    """Take some steps of ESC x2 with one variant, on the same patches for all, and time the second half."""
    device = torch.device(settings.device)
    run = new_run(recipe(settings, 2, name, steps=_STEPS_OF_A_SCHEDULE), device)
    pictures = Path(settings.pictures)
    split = split_by_source(pictures, HELD_OUT)
    few = Split(split.training[:_PICTURES_OF_A_VARIANT], split.validation[:1])
    lessons = load_lessons(run, few, pictures)
    with tuned_convolutions() if VARIANTS[name].tuned else nullcontext():
        learn, losses, begun = learner(run, lessons.teacher, Processes()), [], time.perf_counter()
        for _ in range(int(steps)):
            if run.step == int(steps) // 2:
                synchronize(device)
                yield {"first_half_s": round(time.perf_counter() - begun, 2)}
                begun = time.perf_counter()
            losses.append(take_step(run, learn, lessons, Processes()))
            run.step += 1
        synchronize(device)
    taken_s = (time.perf_counter() - begun) / (int(steps) - int(steps) // 2)
    loss = float(torch.stack(losses).mean())
    yield {
        "variant": name,
        "ms_a_step": round(1e3 * taken_s, 2),
        "loss": loss,
        "peak_bytes": peak_bytes(device),
    }


def train(settings: Settings, name: str, scale: str, seconds: str, initial: str, folder: str) -> Told:
    """Train one network for some seconds, not counting the time to load pictures and compile."""
    config = recipe(settings, int(scale), name, initial=initial, minutes=float(seconds) / 60)
    weights = run_training(
        config, Path(settings.pictures), Path(folder), device=torch.device(settings.device), quiet=True
    )
    last = read_log(weights.parent)[-1]
    yield {"trained": int(scale), **last, "peak_bytes": peak_bytes(torch.device(settings.device))}
