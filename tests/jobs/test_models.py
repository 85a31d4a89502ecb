import pytest
import torch

from esc_cli.errors import DeviceError, WeightsError
from esc_cli.jobs.models import Models


@pytest.mark.parametrize(
    ("factor", "passes"), [(2, (2,)), (1.5, (2,)), (4.5, (3, 2)), (8, (4, 2)), (1.001, (2,))]
)
def test_the_network_does_the_next_scale_above(factor: float, passes: tuple[int, ...]) -> None:
    upscaler = Models(model="nearest").upscaler(factor)
    assert upscaler is not None
    assert upscaler.passes == passes


def test_nothing_is_loaded_twice_nor_where_nothing_grows() -> None:
    models = Models(model="nearest")
    assert models.upscaler(1) is models.upscaler(0.3) is None
    assert models.upscaler(3.5) is models.upscaler(4) is models.default()


def test_a_recipe_names_each_network_and_how_it_is_run() -> None:
    models = Models(model="nearest", device="cpu", tiling="overlap", tile_px=64)
    assert models.recipe(6) == {
        "models": ["nearest x3", "nearest x2"],
        "precision": "auto",
        "tiling": "overlap",
        "tile_px": 64,
        "overlap_px": None,
    }
    assert models.recipe(0.5)["models"] == []


def test_what_is_not_said_is_the_default() -> None:
    said = Models(model="nearest", device="cpu", precision="auto", tiling="auto", tile_px=None)
    assert said.recipe(2) == Models(model="nearest").recipe(2)


def test_provenance_says_what_made_it() -> None:
    models = Models(model="esc-light", precision="bfloat16")
    (digest,) = models.recipe(4)["models"]
    assert f"model esc-light x4 ({digest[:16]}); precision bfloat16; tiling auto" in models.provenance(4)
    assert "precision float32" in Models(model="esc-light").provenance(4, torch.uint16)
    assert models.provenance(1).endswith("; resized without a network")


def test_what_is_not_there_is_known_at_once() -> None:
    with pytest.raises(WeightsError):
        Models(model="unknown")
    with pytest.raises(DeviceError):
        Models(model="nearest", device="abacus")
