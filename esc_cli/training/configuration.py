"""Everything a training run depends on, and the learning rate that follows from it."""

import math
from dataclasses import dataclass
from typing import Literal

WARM_UP_SHARE = 0.02
"""Of a run limited in time, the share that warms up."""


@dataclass(frozen=True)
class TrainingConfig:
    """One run; the defaults are the published recipe (500,000 steps on one or several GPUs).

    Attributes:
        variant: Name of the network, as in ``esc_cli.networks.variants``.
        scale: Pixels out per pixel in.
        steps: Optimiser steps of the whole run.
        minutes: If given, the run lasts this long instead, and anneals to zero over the time there is.
        batch_size: Patches a step.
        patch_px: Side of the low-resolution patches.
        learning_rate: After the warm-up.
        betas: Of AdamW.
        weight_decay: Of AdamW.
        warm_up_steps: Steps of linear warm-up.
        milestones: Steps at which the rate is halved; unused by runs limited in time.
        ema_decay: Of the exponential moving average of the weights, which is what is kept.
        zero_head: Start with the last layer at zero, so that the first output is the enlarged input.
        seed: The batch of step n is a function of this and n alone.
        precision: Of the forward pass; weights and optimiser are float32.
        compile: Compile the network first (a minute or so, then faster steps).
        validation_pictures: Source pictures held out, never trained on.
        validate_every: Steps between measurements on those.
        save_every_s: Seconds between states that a killed run resumes from.

    Source: ESC (arXiv 2503.06671), section 4.1, and its published training options.
    """

    variant: str = "esc"
    scale: int = 2
    steps: int = 500_000
    minutes: float | None = None
    batch_size: int = 64
    patch_px: int = 64
    learning_rate: float = 5e-4
    betas: tuple[float, float] = (0.9, 0.9)
    weight_decay: float = 0.0
    warm_up_steps: int = 20_000
    milestones: tuple[int, ...] = (250_000, 400_000, 450_000, 475_000, 490_000)
    ema_decay: float = 0.999
    zero_head: bool = False
    seed: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False
    validation_pictures: int = 16
    validate_every: int = 5_000
    save_every_s: float = 120.0


def learning_rate(config: TrainingConfig, step: int, elapsed_s: float) -> float:
    """Give the rate of one step: linear warm-up, then halvings; by the clock, a cosine to zero instead."""
    if config.minutes is None:
        warm_up = min(1.0, (step + 1) / max(config.warm_up_steps, 1))
        halvings = sum(step >= milestone for milestone in config.milestones)
        return config.learning_rate * warm_up * 0.5**halvings
    progress = min(1.0, elapsed_s / (60 * config.minutes))
    warm_up = min(1.0, progress / WARM_UP_SHARE + 1 / 100)
    return config.learning_rate * warm_up * 0.5 * (1 + math.cos(math.pi * progress))


def is_over(config: TrainingConfig, step: int, elapsed_s: float) -> bool:
    """Tell whether a run that has done ``step`` steps in ``elapsed_s`` seconds is at its end."""
    if config.minutes is None:
        return step >= config.steps
    return elapsed_s >= 60 * config.minutes
