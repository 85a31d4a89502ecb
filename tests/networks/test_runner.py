"""Networks state the reach of their steps correctly: a halo of this reach is enough for strips of rows.

The runner here is the simplest one that cuts. It cuts a new strip with its halo for every step and saves
nothing.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from esc_cli.networks.architectures.base import NetworkConfig
from esc_cli.networks.architectures.esc import ESCConfig
from esc_cli.networks.architectures.esc_flashbias import ESCFlashBiasConfig, ESCRealFlashBiasConfig
from esc_cli.networks.architectures.esc_fp import ESCFPConfig
from esc_cli.networks.architectures.esc_real import ESCRealConfig
from esc_cli.networks.architectures.esc_rib import ESCRIBConfig
from esc_cli.networks.architectures.interpolation import InterpolationConfig
from esc_cli.networks.architectures.registry import build_network


class Strips:
    """Cuts every step into strips of ``rows`` rows, rounded up to the step's grid."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def local(
        self, function: Callable[..., Tensor], *maps: Tensor, reach_px: int, align_px: int = 1, **_: object
    ) -> Tensor:
        height = maps[0].shape[2]
        step = -(-self.rows // align_px) * align_px
        return torch.cat(
            [
                self._strip(function, maps, start, min(start + step, height), reach_px)
                for start in range(0, height, step)
            ],
            dim=2,
        )

    def pair(
        self, function: Callable[..., tuple[Tensor, Tensor]], *maps: Tensor, reach_px: int, **_: object
    ) -> tuple[Tensor, Tensor]:
        first = self.local(lambda *strips: function(*strips)[0], *maps, reach_px=reach_px)
        second = self.local(lambda *strips: function(*strips)[1], *maps, reach_px=reach_px)
        return first, second

    def unbounded(self, function: Callable[[Tensor, int, int], Tensor], features: Tensor) -> Tensor:
        height = features.shape[2]
        starts = range(0, height, self.rows)
        return torch.cat(
            [function(features, start, min(start + self.rows, height)) for start in starts], dim=2
        )

    def statistics(
        self,
        accumulate: Callable[[Tensor, int], Tensor],
        finish: Callable[[Tensor], Tensor],
        features: Tensor,
    ) -> Tensor:
        starts = range(0, features.shape[2], self.rows)
        parts = [accumulate(features[:, :, start : start + self.rows], start) for start in starts]
        return finish(torch.stack(parts).sum(dim=0))

    @staticmethod
    def _strip(
        function: Callable[..., Tensor], maps: tuple[Tensor, ...], start: int, stop: int, reach_px: int
    ) -> Tensor:
        top, bottom = max(0, start - reach_px), min(maps[0].shape[2], stop + reach_px)
        rows = function(*(one[:, :, top:bottom] for one in maps))
        scale = rows.shape[2] // (bottom - top)
        return rows[:, :, scale * (start - top) : scale * (stop - top)]


NETWORKS: tuple[NetworkConfig, ...] = (
    ESCConfig(2, dim=16, partial_dim=8, heads=2, blocks=1, mixers=2, window_size=8, inner_norm=True),
    ESCFPConfig(3, dim=16, partial_dim=8, heads=2, blocks=1, mixers=2, window_size=8),
    ESCRealConfig(4, dim=16, partial_dim=8, heads=2, blocks=1, mixers=2, window_size=8),
    ESCRealConfig(2, dim=16, partial_dim=8, heads=2, blocks=1, mixers=1, window_size=8, head="dysample"),
    ESCFlashBiasConfig(2, dim=16, partial_dim=8, heads=2, blocks=1, mixers=2, window_size=8),
    ESCRealFlashBiasConfig(4, dim=16, partial_dim=8, heads=2, blocks=1, mixers=1, window_size=8),
    ESCRIBConfig(2, dim=16, partial_dim=8, heads=2, blocks=1, mixers=2, window_size=8),
    InterpolationConfig(3, "bicubic"),
    InterpolationConfig(2, "nearest"),
)


@pytest.mark.parametrize("rows", [8, 11])
@pytest.mark.parametrize("config", NETWORKS, ids=lambda config: f"{type(config).__name__}-x{config.scale}")
def test_strips_equal_the_whole(config: NetworkConfig, rows: int) -> None:
    network = build_network(config).double().eval()
    for parameter in network.parameters():
        # Layers of zeros would hide errors.
        torch.nn.init.normal_(parameter, std=0.2)
    low = torch.rand(1, 3, 24, 9, dtype=torch.float64)
    with torch.inference_mode():
        whole, strips = network(low), network(low, Strips(rows))
    # The means are summed in float32, and the rest is exact. A wrong reach causes errors of 1e-3 and above.
    torch.testing.assert_close(strips, whole, rtol=1e-6, atol=1e-6)
