"""Measure the memory that an unknown network needs, with trials on small pictures."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from esc_cli.networks.architectures.base import NetworkConfig

SIDES_PX = (32, 64)
"""Sides of the pictures that are tried."""

MARGIN = 2.0
"""Factor for the counted values, because the buffers of libraries and of the allocator are not counted.

Resident memory grew by this factor more than the count on an x86-64 CPU with torch 2.13: CRAFT 1.1, DAT 1.3,
SPAN 1.3, OmniSR 1.5, RealESRGAN Compact 1.5, ESRGAN 1.6. The margin is a quarter above the largest.
"""


@dataclass(frozen=True)
class Trial:
    """The result of trials.

    Attributes:
        values_per_pixel: Values alive at once at the peak, for each input pixel.
        values_per_square: Growth of that number with each further input pixel. It is zero for networks whose
            memory grows as the picture does, as that of convolutions and of attention in windows.
        factors: Output pixels per input pixel, along the height and along the width.
    """

    values_per_pixel: int
    values_per_square: float
    factors: tuple[float, float]


def try_network(network: Callable[[Tensor], Tensor], config: NetworkConfig) -> Trial:
    """Run a network on two small pictures, on the CPU in float32, and count the values alive at once.

    Args:
        network: From (1, 3, H, W) to its result.
        config: Configuration of the network, for the sizes that it accepts.

    Raises:
        Exception: Any error of the network.
    """
    areas, ratios = [], []
    for side_px in SIDES_PX:
        height, width = config.padded_size(side_px, side_px)
        low = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
        with torch.no_grad(), _LiveValues() as live:
            high = network(low)
        areas.append(height * width)
        ratios.append(MARGIN * live.most / (height * width))
    growth = ratios[1] - ratios[0]
    # In a network that is really quadratic the ratio doubles and more. In others, weights that are computed
    # in each run make the ratio of the smaller picture too large.
    square = growth / (areas[1] - areas[0]) if growth > ratios[0] / 2 and areas[1] > areas[0] else 0.0
    linear = ratios[0] - square * areas[0] if square else ratios[1]
    factors = high.shape[-2] / height, high.shape[-1] / width
    return Trial(max(0, round(linear)), square, factors)


class _LiveValues(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Count the values of all tensors that operations make, for as long as they are alive.

    Attributes:
        most: The largest number of values alive at once.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = 0.0
        self._alive = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = {storage.data_ptr() for storage in _storages((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            if storage.data_ptr() not in given:  # neither a view nor written in place
                self._count(storage)
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        values = storage.nbytes() / torch.float32.itemsize
        self._alive += values
        self.most = max(self.most, self._alive)
        weakref.finalize(storage, self._forget, values)

    def _forget(self, values: float) -> None:
        self._alive -= values


def _storages(tree: Any) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
