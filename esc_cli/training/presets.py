"""Named configurations of training runs."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from esc_cli.training.configuration import TrainingConfig

PUBLISHED = "published"

_TEACHERS: Mapping[str, str | None] = {"esc": None, "esc-light": "esc", "esc-fp": "esc"}
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
