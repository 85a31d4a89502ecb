"""The learning rate of every step."""

import pytest

from esc_cli.training.configuration import TrainingConfig, is_over, learning_rate


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


def test_a_run_by_steps_ends_after_them() -> None:
    assert not is_over(TrainingConfig(steps=3), 2, 1e9)
    assert is_over(TrainingConfig(steps=3), 3, 0)
