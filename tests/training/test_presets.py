"""Test the presets of training runs."""

import pytest

from esc_cli.training.configuration import TrainingConfig
from esc_cli.training.presets import PRESETS
from esc_cli.training.run import network_config


def test_the_published_recipe_is_the_default() -> None:
    published = PRESETS["published"]
    assert published == TrainingConfig()
    # Source: ESC (arXiv 2503.06671), section 4.1.
    assert (published.steps, published.batch_size, published.patch_px) == (500_000, 64, 64)
    assert (published.optimizer, published.betas, published.weight_decay) == ("adamw", (0.9, 0.9), 0.0)
    assert (published.ema_decay, published.degradation, published.teacher) == (0.999, "bicubic", None)


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "published"])
def test_names_say_network_and_scale(name: str) -> None:
    config = PRESETS[name]
    variant = config.variant + ("-robust" if config.degradation == "robust" else "")
    assert name == f"{variant}-x{config.scale}"
    assert network_config(config).scale == config.scale
    assert config.optimizer == "muon"
    assert (config.degradation == "real") == (config.variant == "esc-real")
    # The teacher has seen clean pictures only.
    assert (config.teacher == "esc") == (name.startswith(("esc-light-x", "esc-fp-x")))
