"""Decide what to measure for a job, and what follows from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from esc_cli.engine.executors.base import Runtime
from esc_cli.engine.executors.registry import MODULES, STANDARD, runtime_named
from esc_cli.engine.tuning.candidates import Candidate
from esc_cli.engine.tuning.figures import Amount, Figures
from esc_cli.engine.tuning.trials import WHOLE_PX, WORTHWHILE_SAVING_S, Bench

Suits = Callable[[Runtime, tuple[int, int]], bool]
"""Returns whether a runtime can run a picture of a size, (height, width), whole and as the user asks."""


@dataclass(frozen=True)
class Tuner:
    """Choose the settings of a network that the user left open.

    Attributes:
        usual: The choice where nothing is measured.
        candidates: All candidates, with the usual one.
        bench: The place to measure the network.
        suits: Which other runtimes can do the job. None means that the user asked for torch.
    """

    usual: Candidate
    candidates: Sequence[Candidate]
    bench: Bench
    suits: Suits | None

    def measure(self, amount: Amount, *, anew: bool) -> Figures:
        """Return the figures of earlier jobs, with those that it pays to measure now.

        Args:
            amount: The job.
            anew: Whether to ignore the figures of earlier jobs and to measure torch even for a small job.
        """
        figures = Figures() if anew else self.bench.recall()
        if not (anew or self.bench.remembers):
            return figures
        is_known = len(self.candidates) == 1 or figures.knows([one.name for one in self.candidates])
        if not is_known and (anew or self.bench.pays(amount.total_px)):
            figures = self.bench.with_candidates(figures, runtime_named(STANDARD), self.candidates)
        fastest = figures.fastest_of_each(self.usual, self.candidates)
        runtimes = [runtime for runtime in map(runtime_named, MODULES) if self._may_pay(runtime, amount)]
        if all(figures.has_runtime(runtime.name, one.dtype) for runtime in runtimes for one in fastest):
            return figures
        return self.bench.with_runtimes(figures, [runtime_named(STANDARD), *runtimes], fastest)

    def best(self, figures: Figures, amount: Amount) -> Candidate:
        """Return the candidate that figures show to be the best for a job.

        Of the other runtimes, only those count that can do the job.
        """
        rivals = [name for name in MODULES if self._can_do(runtime_named(name), amount)]
        return figures.best(self.usual, self.candidates, amount, rivals)

    def _can_do(self, runtime: Runtime, amount: Amount) -> bool:
        """Return whether a runtime other than torch is installed and can do a job."""
        if self.suits is None or runtime.name == STANDARD or not runtime.is_installed:
            return False
        return self.suits(runtime, amount.size)

    def _may_pay(self, runtime: Runtime, amount: Amount) -> bool:
        """Return whether a runtime other than torch is expected to save so much that it is worth a trial."""
        if self.suits is None or runtime.name == STANDARD or not runtime.is_installed:
            return False
        network = self.bench.network
        expected_s = max(runtime.saved_s(network, one.dtype, amount.same_px) for one in self.candidates)
        if expected_s < WORTHWHILE_SAVING_S or not runtime.runs_on(self.bench.device):
            return False
        return self.suits(runtime, (WHOLE_PX, WHOLE_PX)) and self.suits(runtime, amount.size)
