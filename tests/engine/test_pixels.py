import pytest
import torch

from esc_cli.engine.pixels import PIXEL_DTYPES, check_picture, from_unit, is_finite, to_unit
from esc_cli.errors import InputError


@pytest.mark.parametrize(("dtype", "largest"), [(torch.uint8, 255), (torch.uint16, 65535)])
def test_every_integer_comes_back(dtype: torch.dtype, largest: int) -> None:
    pixels = torch.arange(largest + 1).to(dtype)
    unit = to_unit(pixels)
    assert unit.dtype == torch.float32
    assert (unit.min(), unit.max()) == (0, 1)
    assert torch.equal(from_unit(unit, dtype), pixels)


@pytest.mark.parametrize("dtype", PIXEL_DTYPES)
def test_results_are_clamped(dtype: torch.dtype) -> None:
    pixels = to_unit(from_unit(torch.tensor([-0.5, 0.5, 1.5]), dtype))
    assert pixels[0] == 0
    assert pixels[2] == 1
    assert pixels.dtype == torch.float32


def test_integers_are_rounded_not_cut_off() -> None:
    assert from_unit(torch.tensor([0.999, 1 / 510 + 1e-5]), torch.uint8).tolist() == [255, 1]


def test_conversion_never_shares_memory_with_the_picture() -> None:
    picture = torch.ones(1, 1, 2, 2).expand(1, 3, 2, 2)
    to_unit(picture).zero_()
    assert picture.min() == 1


@pytest.mark.parametrize("bad", [torch.inf, -torch.inf, torch.nan])
def test_one_bad_value_is_found(bad: float) -> None:
    numbers = torch.zeros(5, 5)
    assert is_finite(numbers)
    numbers[3, 2] = bad
    assert not is_finite(numbers)


@pytest.mark.parametrize(
    "picture",
    [
        torch.zeros(3, 8, 8),
        torch.zeros(1, 1, 8, 8),
        torch.zeros(0, 3, 8, 8),
        torch.zeros(1, 3, 8, 0),
        torch.zeros(1, 3, 8, 8, dtype=torch.int32),
        torch.full((1, 3, 8, 8), torch.nan),
    ],
)
def test_what_is_no_picture_is_refused(picture: torch.Tensor) -> None:
    with pytest.raises(InputError):
        check_picture(picture)
