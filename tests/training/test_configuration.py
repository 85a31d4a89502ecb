import dataclasses

import pytest

from esc_cli.training.configuration import PRESETS, TrainingConfig, is_over, learning_rate
from esc_cli.training.run import network_config


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 5e-4 / 20_000),
        (9_999, 2.5e-4),
        (19_999, 5e-4),
        (249_999, 5e-4),
        (250_000, 2.5e-4),
        (489_999, 5e-4 / 16),
        (499_999, 5e-4 / 32),
    ],
)
def test_published_schedule(step: int, rate: float) -> None:
    assert learning_rate(TrainingConfig(), step, 0.0) == pytest.approx(rate)


def test_a_run_by_the_clock_anneals_to_zero() -> None:
    config = TrainingConfig(minutes=10, learning_rate=1e-3)
    rates = [learning_rate(config, 0, second) for second in range(0, 601)]
    assert max(rates) == pytest.approx(1e-3, rel=0.01)
    assert 0 < rates[0] < 1e-4
    assert rates[300] == pytest.approx(5e-4)
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert not is_over(config, 10**9, 599)
    assert is_over(config, 1, 600)


def test_a_constant_rate_stays_after_its_warm_up() -> None:
    config = TrainingConfig(schedule="constant", learning_rate=1e-3, warm_up_steps=10, steps=100)
    rates = [learning_rate(config, step, 0) for step in range(100)]
    assert rates[:2] == pytest.approx([1e-4, 2e-4])
    assert set(rates[9:]) == {1e-3}
    by_the_clock = dataclasses.replace(config, minutes=1)
    assert learning_rate(by_the_clock, 50, 59) == 1e-3


def test_a_branch_decays_from_its_first_step_to_its_end() -> None:
    config = TrainingConfig(schedule="decay", learning_rate=1e-3, first_step=1000, steps=100)
    rates = [learning_rate(config, step, 0) for step in range(1000, 1101)]
    assert rates[0] == 1e-3
    assert rates[25] == pytest.approx(5e-4)
    assert rates[-1] == 0
    assert rates == sorted(rates, reverse=True)
    assert not is_over(config, 1099, 0)
    assert is_over(config, 1100, 0)


def test_a_run_by_steps_ends_after_them() -> None:
    assert not is_over(TrainingConfig(steps=3), 2, 1e9)
    assert is_over(TrainingConfig(steps=3), 3, 0)


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
