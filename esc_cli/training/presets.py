"""Runs that have a name."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from esc_cli.training.configuration import TrainingConfig

PUBLISHED = "published"

_TEACHERS: Mapping[str, str | None] = {"esc": None, "esc-light": "esc", "esc-fp": "esc"}
"""The networks for clean pictures, each with the shipped model that it learns from."""


def _small(variant: str, scale: int, **changes: Any) -> TrainingConfig:
    """Make the recipe of the shipped weights: what hours of two CPU cores can do; see ``RECIPE.md``.

    Small batches of small patches: a light x2 on Set5 after 7 minutes of two cores: batch 16 at 1e-3
    34.68 dB, batch 4 at 1e-3 35.13, that with the last layer at zero 35.25.
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
        f"{variant}-x{scale}": _small(variant, scale, teacher=teacher)
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
"""Recipes by name: the published one, and those of small compute for each model and scale."""
