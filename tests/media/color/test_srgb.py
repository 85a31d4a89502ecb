import pytest
import torch

from esc_cli.media.color.srgb import encoded, light_of


@pytest.mark.parametrize(
    ("value", "light"), [(0.0, 0.0), (0.04, 0.04 / 12.92), (0.5, 0.21404114), (0.735357, 0.5), (1.0, 1.0)]
)
def test_values_and_their_light(value: float, light: float) -> None:
    assert light_of(torch.tensor(value, dtype=torch.float64)).item() == pytest.approx(light, abs=1e-6)
    assert encoded(torch.tensor(light, dtype=torch.float64)).item() == pytest.approx(value, abs=1e-6)
