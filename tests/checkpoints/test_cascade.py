"""Test which networks of a model run one after the other."""

import pytest

from esc_cli.checkpoints.cascade import Cascade
from esc_cli.errors import UsageError


def test_a_scale_in_several_passes() -> None:
    cascade = Cascade.load("nearest", 12)
    assert (cascade.scales, cascade.scale) == ((4, 3), 12)
    assert cascade.digests == ("nearest x4", "nearest x3")
    assert cascade.first.scale == 4
    assert cascade.work_px(10) == 10 + 10 * 4**2


def test_a_network_that_runs_twice_is_loaded_once() -> None:
    cascade = Cascade.load("bicubic", 16)
    assert cascade.scales == (4, 4)
    assert list(cascade.checkpoints) == [4]


def test_the_default_scale_is_4() -> None:
    assert Cascade.load("bicubic").scales == (4,)


def test_a_scale_out_of_reach_is_refused() -> None:
    with pytest.raises(UsageError, match="does not support x5"):
        Cascade.load("bicubic", 5)


@pytest.mark.parametrize(("model", "scale"), [("nearest", 12), ("bicubic", 12)])
def test_only_nearest_keeps_pixels(model: str, scale: int) -> None:
    assert Cascade.load(model, scale).keeps_pixels == (model == "nearest")


def test_a_baseline_has_no_weights_and_esc_has() -> None:
    assert not Cascade.load("bicubic", 2).has_weights
    assert Cascade.load("esc-fp", 2).has_weights
