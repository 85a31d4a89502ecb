"""What a network pools, gathered on one piece of a picture and given to the others."""

from collections.abc import Callable

from torch import Tensor

from esc_cli.networks.runner import FeatureMap, Whole

Statistics = tuple[Tensor, ...]
"""What each pooling of a network gave, in the order of its steps."""


class Gathering(Whole):
    """Runs a network plainly and keeps what it pools."""

    def __init__(self) -> None:
        self.gathered: list[Tensor] = []

    def statistics(
        self,
        accumulate: Callable[[Tensor, int], Tensor],
        finish: Callable[[Tensor], Tensor],
        features: FeatureMap,
    ) -> Tensor:
        """Pool, and keep it."""
        self.gathered.append(super().statistics(accumulate, finish, features))
        return self.gathered[-1]


class Given(Whole):
    """Runs a network plainly with what another run pooled."""

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = iter(statistics)

    def statistics(
        self,
        accumulate: Callable[[Tensor, int], Tensor],
        finish: Callable[[Tensor], Tensor],
        features: FeatureMap,
    ) -> Tensor:
        """Give the next."""
        return next(self._statistics).to(features.dtype)
