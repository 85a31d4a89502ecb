import pytest
import torch

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.enhancement.models import Models
from esc_cli.errors import DeviceError, UsageError, WeightsError
from esc_cli.jobs.options import Options
from esc_cli.networks.architectures.base import NetworkConfig
from esc_cli.networks.architectures.interpolation import InterpolationConfig
from esc_cli.networks.architectures.lte import LTEConfig
from esc_cli.networks.architectures.registry import build_network


def as_checkpoint(config: NetworkConfig, scale: int | None) -> Checkpoint:
    return Checkpoint(build_network(config).eval(), config, scale, "test", "test", "made by a test", "digest")


@pytest.fixture
def any_scale() -> Checkpoint:
    config = LTEConfig(
        dim=16, partial_dim=8, heads=2, blocks=1, mixers=1, window_size=8, texture_dim=8, decoder_dims=(8,)
    )
    return as_checkpoint(config, None)


@pytest.fixture
def for_x1() -> Checkpoint:
    return as_checkpoint(InterpolationConfig(1, "bicubic"), 1)


@pytest.mark.parametrize(
    ("factor", "passes"), [(2, (2,)), (1.5, (2,)), (4.5, (3, 2)), (8, (4, 2)), (1.001, (2,))]
)
def test_the_network_does_the_next_scale_above(factor: float, passes: tuple[int, ...]) -> None:
    upscaler = Models(Options(model="nearest")).upscaler(factor)
    assert upscaler is not None
    assert upscaler.passes == passes


def test_a_model_for_any_scale_does_every_factor_itself(any_scale: Checkpoint) -> None:
    models = Models(Options(model=any_scale, device="cpu"))
    assert models.upscaler(2.5) is models.upscaler(7) is models.default()
    assert [models.passes(factor) for factor in (2.5, 4.0, 7 / 3, 1)] == [(2.5,), (4,), (2.333,), ()]
    assert "x2.5 (digest)" in models.provenance(2.5)
    assert models.recipe(2.5)["models"] == ["digest"]


def test_a_model_for_x1_is_run_where_nothing_grows(for_x1: Checkpoint) -> None:
    models = Models(Options(model=for_x1, device="cpu"))
    assert models.upscaler(1) is models.upscaler(0.5) is models.default()
    with pytest.raises(UsageError, match="does not enlarge"):
        models.upscaler(2)


def test_nothing_is_loaded_twice_nor_where_nothing_grows() -> None:
    models = Models(Options(model="nearest"))
    assert models.upscaler(1) is models.upscaler(0.3) is None
    assert models.upscaler(3.5) is models.upscaler(4) is models.default()


def test_a_recipe_names_each_network() -> None:
    models = Models(Options(model="nearest", device="cpu"))
    assert models.recipe(6) == {"models": ["nearest x3", "nearest x2"]}
    assert models.recipe(0.5)["models"] == []


def test_provenance_says_what_made_it() -> None:
    models = Models(Options(model="esc-light", precision="bfloat16"))
    (digest,) = models.recipe(4)["models"]
    assert f"model esc-light x4 ({digest[:16]}); precision bfloat16; tiling auto" in models.provenance(4)
    assert "precision float32" in Models(Options(model="esc-light")).provenance(4, torch.uint16)
    assert models.provenance(1).endswith("; resized without a network")


def test_the_self_ensemble_is_a_setting_that_is_told() -> None:
    models = Models(Options(model="esc-light", tta=True))
    assert models.provenance(4).endswith("; self-ensemble")
    assert "self-ensemble" not in Models(Options(model="esc-light")).provenance(4)


def test_what_is_not_there_is_known_at_once() -> None:
    with pytest.raises(WeightsError):
        Models(Options(model="unknown"))
    with pytest.raises(DeviceError):
        Models(Options(model="nearest", device="abacus"))
