"""Everything a training run depends on, and the learning rate that follows from it."""

import math
from dataclasses import dataclass
from typing import Literal

WARM_UP_SHARE = 0.02
"""Of a run that anneals by a cosine, the share that warms up."""

Schedule = Literal["halvings", "cosine", "constant", "decay"]


@dataclass(frozen=True)
class TrainingConfig:
    """One run; the defaults are the published recipe (500,000 steps on one or several GPUs).

    Attributes:
        variant: Name of the network, as in ``esc_cli.networks.architectures.registry``.
        scale: Pixels out per pixel in.
        initial: A model to start from, by name or file; of another scale, depth or head if need be.
        teacher: A model, by name or file, whose results are learned, too; or a folder of such results: a
            picture for each one to train on, with its name.
        teacher_source: What made the pictures of that folder, and their licence.
        teacher_share: Of the loss, what compares with the teacher's results instead of the originals;
            at 0 there is no teacher.
        low_pictures: A folder of ready low-resolution pictures, named like those to train on and used as they
            are; None: they are made as ``degradation`` says.
        steps: Optimiser steps of the run.
        minutes: If given, the run lasts this long instead.
        first_step: Steps of the run that this one is a branch of, done before it.
        batch_size: Patches a step, over all processes.
        patch_px: Side of the low-resolution patches.
        border_weight: Of the loss for steps between attention windows, beside the mean absolute error.
        degradation: How low-resolution pictures are made: by the papers' bicubic, or, anew for every patch,
            as in ``esc_cli.evaluation.degradation.wild``.
        sharpen_originals: Learn sharpened originals (unsharp mask), as Real-ESRGAN does.
        learning_rate: After the warm-up.
        schedule: How the rate changes after the warm-up. ``halvings``: at milestones; a run limited in time
            takes the cosine instead. ``cosine``: one to zero. ``constant``: not at all, so that the run can
            be carried on. ``decay``: down to zero from the first step, without a warm-up, for a branch.
        optimizer: Of all weights, or ``muon`` of the kernels inside the blocks and AdamW of the others.
        betas: Of AdamW.
        weight_decay: Of both.
        warm_up_steps: Steps of linear warm-up before halvings or a constant rate.
        milestones: Steps at which the rate is halved.
        ema_decay: Of the exponential moving average of the weights, which is what is kept; at first its
            horizon is a ninth of the steps done.
        zero_head: Start with the last layer at zero, so that the first output is the enlarged input.
        seed: The batch of step n is a function of this and n alone.
        precision: Of the forward pass; weights and optimiser are float32.
        compile: Compile the network's blocks first (a minute or so, then faster steps).
        cuda_graph: Record a step as a CUDA graph and replay it; by one process on a CUDA device.
        validation_pictures: Source pictures held out, never trained on.
        validate_every: Steps between measurements on those.
        save_every_s: Seconds between states that a killed run resumes from.

    Source: ESC (arXiv 2503.06671), section 4.1, and its published training options.
    """

    variant: str = "esc"
    scale: int = 2
    initial: str | None = None
    teacher: str | None = None
    teacher_source: str | None = None
    teacher_share: float = 0.5
    low_pictures: str | None = None
    steps: int = 500_000
    minutes: float | None = None
    first_step: int = 0
    batch_size: int = 64
    patch_px: int = 64
    border_weight: float = 0.0
    degradation: Literal["bicubic", "robust", "real"] = "bicubic"
    sharpen_originals: bool = False
    learning_rate: float = 5e-4
    schedule: Schedule = "halvings"
    optimizer: Literal["adamw", "muon"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.9)
    weight_decay: float = 0.0
    warm_up_steps: int = 20_000
    milestones: tuple[int, ...] = (250_000, 400_000, 450_000, 475_000, 490_000)
    ema_decay: float = 0.999
    zero_head: bool = False
    seed: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False
    cuda_graph: bool = False
    validation_pictures: int = 16
    validate_every: int = 5_000
    save_every_s: float = 120.0


def learning_rate(config: TrainingConfig, step: int, elapsed_s: float) -> float:
    """Give the rate of one step.

    Source: the decay's shape, 1 - sqrt: Hägele et al. (arXiv 2405.18392), section 4.1.
    """
    done = min(1.0, progress(config, step, elapsed_s))
    match _schedule_of(config):
        case "halvings":
            halvings = sum(step >= milestone for milestone in config.milestones)
            factor = _warm_up(config, step) * 0.5**halvings
        case "cosine":
            factor = min(1.0, done / WARM_UP_SHARE + 1 / 100) * 0.5 * (1 + math.cos(math.pi * done))
        case "constant":
            factor = _warm_up(config, step)
        case "decay":
            factor = 1 - math.sqrt(done)
    return config.learning_rate * factor


def _schedule_of(config: TrainingConfig) -> Schedule:
    return "cosine" if config.minutes is not None and config.schedule == "halvings" else config.schedule


def _warm_up(config: TrainingConfig, step: int) -> float:
    return min(1.0, (step + 1) / max(config.warm_up_steps, 1))


def progress(config: TrainingConfig, step: int, elapsed_s: float) -> float:
    """Give the share of a run that is done before ``step``, after ``elapsed_s`` seconds; 1 is its end."""
    if config.minutes is not None:
        return elapsed_s / (60 * config.minutes)
    return (step - config.first_step) / config.steps


def is_over(config: TrainingConfig, step: int, elapsed_s: float) -> bool:
    """Tell whether a run that has done ``step`` steps in ``elapsed_s`` seconds is at its end."""
    return progress(config, step, elapsed_s) >= 1
