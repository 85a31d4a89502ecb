"""The configuration of a training run, the learning rate that follows from it, and named configurations."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from esc_cli.evaluation.degradation.names import DegradationName

WARM_UP_SHARE = 0.02
"""Share of a run with a cosine schedule that is warm-up."""

Schedule = Literal["halvings", "cosine", "constant", "decay"]


@dataclass(frozen=True)
class TrainingConfig:
    """Configuration of one run. The defaults are the published recipe (500,000 steps on one or several GPUs).

    Attributes:
        variant: Name of the network; see ``esc_cli.networks.architectures.registry``.
        scale: Output pixels per input pixel.
        initial: Name or file of a model to start from. It may have another scale or head,
            or fewer blocks.
        teacher: Name or file of a model whose results are learned in addition to the originals, or a folder
            of its results: one picture for each training picture, with the same name.
        teacher_source: Origin of the pictures in the teacher's folder, and their license.
        teacher_share: Share of the loss that compares the output with the teacher's results instead of the
            originals. With 0 the teacher is not used.
        low_pictures: Folder of low-resolution pictures with the names of the training pictures, which are
            used without change. None means that they are made according to ``degradation``.
        steps: Number of optimizer steps of the run.
        minutes: Duration of the run. If it is given, it replaces ``steps``.
        first_step: Number of steps that the trunk had done when this run branched off from it.
        batch_size: Patches in one step, over all processes.
        patch_px: Side of the low-resolution patches.
        border_weight: Weight of the loss for steps between attention windows, which is added to the mean
            absolute error.
        frequency_weight: Weight of the mean absolute error in the frequency domain, which is added to that of
            the pixels.
        degradation: How low-resolution pictures are made: by the papers' bicubic, or by random degradations
            for every patch, as in ``esc_cli.evaluation.degradation.wild``.
        sharpen_originals: Whether to learn sharpened originals (unsharp mask), as Real-ESRGAN does.
        learning_rate: Learning rate after the warm-up.
        schedule: How the learning rate changes after the warm-up. ``halvings`` halves it at milestones; a
            run limited in time uses the cosine instead. ``cosine`` is one cosine down to zero. ``constant``
            keeps it, so that the run can be continued. ``decay`` lowers it to zero from the first step on,
            without a warm-up; it is meant for a branch.
        optimizer: ``adamw`` for all weights, or ``muon`` for the kernels of the hidden layers with AdamW for
            all other weights.
        betas: Betas of AdamW.
        weight_decay: Weight decay of both optimizers.
        warm_up_steps: Steps of linear warm-up before halvings or a constant rate.
        milestones: Steps at which the rate is halved.
        ema_decay: Decay of the exponential moving average of the weights. The average is what is saved. At
            first it covers about the last ninth of the steps.
        zero_head: Whether to start with the last layer at zero, so that the first output is the enlarged
            input.
        seed: Seed of the run. The batch of step n depends on the seed and on n alone.
        precision: Precision of the forward pass. Weights and optimizer are float32.
        compile: Whether to compile the network's blocks first, which takes about a minute and makes the steps
            faster.
        cuda_graph: Whether to record a step as a CUDA graph and replay it. It has an effect only with one
            process on a CUDA device.
        validation_pictures: Number of source pictures that are held out and never trained on.
        validate_every: Steps between measurements on the held-out pictures.
        save_every_s: Seconds between saved states, from which a killed run is resumed.

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
    frequency_weight: float = 0.0
    degradation: DegradationName = "bicubic"
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
    """Return the learning rate of one step.

    Source: Hägele et al. (arXiv 2405.18392), section 4.1, for the shape of the decay, 1 - sqrt.
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
    """Return the share of a run that is done before ``step``, after ``elapsed_s`` seconds; 1 is its end."""
    if config.minutes is not None:
        return elapsed_s / (60 * config.minutes)
    return (step - config.first_step) / config.steps


def is_over(config: TrainingConfig, step: int, elapsed_s: float) -> bool:
    """Return whether a run that has done ``step`` steps in ``elapsed_s`` seconds is at its end."""
    return progress(config, step, elapsed_s) >= 1


PUBLISHED = "published"

_TEACHERS: Mapping[str, str | None] = {
    "esc": None,
    "esc-light": "esc",
    "esc-tiny": None,
    "esc-fp": "esc",
}
"""The networks for clean pictures, and the shipped model that each of them learns from."""


FREQUENCY_WEIGHT = 0.05
"""Measured for ESC x2; it has not been tried together with a teacher."""


def _small(variant: str, scale: int, **changes: Any) -> TrainingConfig:
    """Return the recipe of the shipped weights, which fits some hours on two CPU cores; see ``RECIPE.md``.

    Batches and patches are small. ESC-light x2 on Set5, after 7 minutes on two cores at a rate of 1e-3, had
    34.68 dB with batches of 16, 35.13 dB with batches of 4, and 35.25 dB with the last layer at zero as well.
    """
    recipe = TrainingConfig(
        variant=variant,
        scale=scale,
        minutes=120,
        batch_size=4,
        patch_px=32,
        learning_rate=1e-3,
        schedule="cosine",
        optimizer="muon",
        zero_head=True,
        precision="bfloat16",
        validate_every=200,
    )
    return dataclasses.replace(recipe, **changes)


PRESETS: Mapping[str, TrainingConfig] = {
    PUBLISHED: TrainingConfig(),
    **{
        f"{variant}-x{scale}": _small(
            variant, scale, teacher=teacher, frequency_weight=0.0 if teacher else FREQUENCY_WEIGHT
        )
        for variant, teacher in _TEACHERS.items()
        for scale in (2, 3, 4)
    },
    **{
        f"{variant}-robust-x{scale}": _small(variant, scale, degradation="robust")
        for variant in ("esc", "esc-light")
        for scale in (2, 4)
    },
    "esc-real-x4": _small(
        "esc-real",
        4,
        degradation="real",
        sharpen_originals=True,
        batch_size=1,
        patch_px=64,
        border_weight=1.0,
    ),
}
"""Recipes by name: the published recipe, and one for little compute for each model and scale."""
