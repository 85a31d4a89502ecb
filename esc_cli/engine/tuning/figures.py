"""Measured times of a network on this machine, and the choices that follow from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch

from esc_cli.engine.executors.registry import STANDARD
from esc_cli.engine.pixels import dtype_name
from esc_cli.engine.tuning.candidates import Candidate
from esc_cli.engine.tuning.race import Timing

MARGIN = 0.95
"""Share of the usual choice's time that another choice must stay below, in every round of the race.

A busy machine disturbs single rounds by much more than that, so noise must not decide.
"""


@dataclass(frozen=True)
class Amount:
    """The work of a job.

    Attributes:
        total_px: Number of low-resolution pixels of all pictures.
        same_px: Number of pixels of all pictures of the most frequent size.
        size: That size, (height, width).
    """

    total_px: int = 0
    same_px: int = 0
    size: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Figures:
    """The measured times of a network.

    Attributes:
        candidates: Times of torch with each candidate, by its name, on a small part of the network.
        runtimes: Times of the whole network with each runtime and precision, by ``runtime_key``.
        failed: Reasons against what failed, by the same names.
        runtimes_px: Number of pixels of the picture on which runtimes were timed.
    """

    candidates: Mapping[str, Timing] = field(default_factory=dict)
    runtimes: Mapping[str, Timing] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    runtimes_px: int = 1

    def __post_init__(self) -> None:
        """Check a value that may come from a file."""
        if self.runtimes_px < 1:
            raise ValueError("runtimes were timed on no pixels")

    def as_json(self) -> dict[str, Any]:
        """Return the figures as a JSON object."""
        return {
            "candidates": _as_json(self.candidates),
            "runtimes": _as_json(self.runtimes),
            "failed": dict(self.failed),
            "runtimes_px": self.runtimes_px,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return figures from a JSON object.

        Raises:
            ValueError, TypeError, KeyError, AttributeError, OverflowError: The object does not hold figures.
        """
        candidates, runtimes = (
            {
                name: Timing(float(start_s), tuple(map(float, runs_s)))
                for name, (start_s, *runs_s) in content[kind].items()
            }
            for kind in ("candidates", "runtimes")
        )
        failed = {name: str(reason) for name, reason in content["failed"].items()}
        return cls(candidates, runtimes, failed, int(content["runtimes_px"]))

    def knows(self, names: Sequence[str]) -> bool:
        """Return whether each of some candidates was timed or failed."""
        return all(name in self.candidates or name in self.failed for name in names)

    def has_runtime(self, runtime: str, dtype: torch.dtype) -> bool:
        """Return whether a runtime was timed in a precision, or failed."""
        key = runtime_key(runtime, dtype)
        return key in self.runtimes or key in self.failed

    def fastest(self, usual: Candidate, among: Sequence[Candidate]) -> Candidate:
        """Return the fastest candidate; the usual one unless another is certainly faster."""
        timed = {one: self.candidates[one.name].runs_s for one in among if one.name in self.candidates}
        if usual not in timed and usual.name not in self.failed:
            return usual
        return _least(timed, usual)

    def fastest_of_each(self, usual: Candidate, among: Sequence[Candidate]) -> tuple[Candidate, ...]:
        """Return the fastest candidate for each precision, the fastest of all first."""
        fastest = self.fastest(usual, among)
        by_dtype = {fastest.dtype: fastest}
        for one in among:
            same = [other for other in among if other.dtype == one.dtype]
            by_dtype.setdefault(one.dtype, self.fastest(one, same))
        return tuple(by_dtype.values())

    def best(
        self, usual: Candidate, among: Sequence[Candidate], amount: Amount, rivals: Sequence[str]
    ) -> Candidate:
        """Return the best candidate for a job, part of which another runtime may do in the same precision.

        Args:
            usual: The choice where nothing was measured.
            among: All candidates, with the usual one.
            amount: The job.
            rivals: Names of the other runtimes.
        """
        fastest, *others = self.fastest_of_each(usual, among)
        totals_s = {
            one: total_s
            for one in (fastest, *others)
            if (total_s := self._totals_s(one.dtype, amount, rivals)) is not None
        }
        return _least(totals_s, fastest) if fastest in totals_s else fastest

    def _totals_s(
        self, dtype: torch.dtype, amount: Amount, rivals: Sequence[str]
    ) -> tuple[float, ...] | None:
        """Estimate the time of a job in a precision from each round; None if it was not measured."""
        own = self.runtimes.get(runtime_key(STANDARD, dtype))
        if own is None:
            return None
        saved_s = [self.saved_s(rival, dtype, amount.same_px) or 0.0 for rival in rivals]
        return tuple(
            amount.total_px * run_s / self.runtimes_px - max([0.0, *saved_s]) for run_s in own.runs_s
        )

    def saved_s(self, runtime: str, dtype: torch.dtype, job_px: int) -> float | None:
        """Return how many seconds a runtime saves compared with torch, after its own start.

        Returns:
            Seconds, minus infinity for a runtime that failed, or None if it was not measured.
        """
        key = runtime_key(runtime, dtype)
        if key in self.failed:
            return float("-inf")
        own, other = self.runtimes.get(runtime_key(STANDARD, dtype)), self.runtimes.get(key)
        if own is None or other is None:
            return None
        # No time is saved for sure unless it is saved in every round.
        gain_s = min(own_s - other_s for own_s, other_s in zip(own.runs_s, other.runs_s, strict=False))
        return job_px * gain_s / self.runtimes_px - other.start_s

    def in_words(self, part: str, whole: str) -> tuple[str, ...]:
        """Return a sentence for each kind of measurement.

        Args:
            part: Words for the work on which candidates were timed.
            whole: Words for the work on which runtimes were timed.
        """
        lines = []
        if self.candidates:
            times = (f"{name} {1e3 * one.run_s:.1f} ms" for name, one in self.candidates.items())
            lines.append(f"measured on {part}: {', '.join(times)}")
        if self.runtimes:
            times = (_runtime_in_words(name, one) for name, one in self.runtimes.items())
            lines.append(f"measured on {whole}: {', '.join(times)}")
        lines += [f"left out: {name} failed: {reason}" for name, reason in self.failed.items()]
        return tuple(lines)


def runtime_key(runtime: str, dtype: torch.dtype) -> str:
    """Return the name under which the time of a runtime in a precision is kept."""
    return f"{runtime} in {dtype_name(dtype)}"


def _runtime_in_words(name: str, timing: Timing) -> str:
    start = "" if name.startswith(f"{STANDARD} ") else f" after a start of {timing.start_s:.1f} s"
    return f"{name} {1e3 * timing.run_s:.0f} ms{start}"


def _least(times_s: Mapping[Candidate, Sequence[float]], usual: Candidate) -> Candidate:
    """Return the candidate with the shortest time of those that are certainly faster than the usual one."""
    usual_s = times_s.get(usual)
    certain = [
        one for one, runs_s in times_s.items() if usual_s is None or _is_certainly_less(runs_s, usual_s)
    ]
    return min(certain, key=lambda one: min(times_s[one]), default=usual)


def _is_certainly_less(times_s: Sequence[float], usual_s: Sequence[float]) -> bool:
    return all(one_s < MARGIN * other_s for one_s, other_s in zip(times_s, usual_s, strict=False))


def _as_json(timings: Mapping[str, Timing]) -> dict[str, list[float]]:
    return {name: [one.start_s, *one.runs_s] for name, one in timings.items()}
