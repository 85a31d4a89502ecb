"""Gather the statistics that a network pools on one piece of a picture, and give them to other pieces."""

from collections.abc import Callable

from torch import Tensor

from esc_cli.networks.runner import FeatureMap, Whole

Statistics = tuple[Tensor, ...]
"""The results of a network's pooling steps, in order."""


class Gathering(Whole):
    """Run a network on a whole picture and keep the statistics that it pools."""

    def __init__(self) -> None:
        self.gathered: list[Tensor] = []

    def statistics(
        self,
        accumulate: Callable[[Tensor, int], Tensor],
        finish: Callable[[Tensor], Tensor],
        features: FeatureMap,
    ) -> Tensor:
        """Pool over the whole picture and keep the result."""
        self.gathered.append(super().statistics(accumulate, finish, features))
        return self.gathered[-1]


class Given(Whole):
    """Run a network on a whole picture with the statistics of another run."""

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = iter(statistics)

    def statistics(
        self,
        accumulate: Callable[[Tensor, int], Tensor],
        finish: Callable[[Tensor], Tensor],
        features: FeatureMap,
    ) -> Tensor:
        """Return the other run's result of this step."""
        return next(self._statistics).to(features.dtype)
