import pytest
import torch
from torch import Tensor

from esc_cli.analysis import gradient as module
from esc_cli.analysis.gradient import gradient
from esc_cli.errors import OutOfMemoryError


def test_gradient_of_a_square(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = torch.rand(1, 3, 4, 5)
    with torch.no_grad():
        torch.testing.assert_close(gradient(lambda point: point.square().sum(), picture), 2 * picture)
    assert not picture.requires_grad


@pytest.mark.parametrize(("free", "enough"), [(3.5, True), (2.5, False)])
def test_memory_is_counted_once_for_each_tensor(
    monkeypatch: pytest.MonkeyPatch, free: float, enough: bool
) -> None:
    picture = torch.rand(1, 1, 100, 100)
    size_bytes = picture.numel() * picture.element_size()

    def objective(point: Tensor) -> Tensor:
        """Keeps the sine, the cosine of it, and their product, but a view of the sine for nothing."""
        wave = point.sin()  # keeps the point
        return (wave * wave.view(-1).view_as(wave)).exp().sum()  # the wave, and the exponential

    monkeypatch.setattr(module, "free_bytes", lambda device: free * size_bytes / 0.8)
    if enough:
        gradient(objective, picture)
    else:
        with pytest.raises(OutOfMemoryError, match="the gradients need more than"):
            gradient(objective, picture)
