"""Follow the events of a run: how far it is, how fast, and how long it still takes.

All speeds are measured in this run. What an earlier run finished counts as done, but not as fast.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from esc_cli.jobs.events import Done, Event, Failed, Planned, Progressed, Skipped, Started

SPEED_OVER_S = 600
"""Speeds are those of the last ten minutes of work: a strip of a large picture may take a minute on a CPU."""

Clock = Callable[[], float]
"""Returns a time in seconds, as ``time.monotonic`` does."""


@dataclass(frozen=True)
class Standing:
    """How far an input or a whole run is.

    Attributes:
        done_px: Finished pixels of the inputs.
        total_px: Pixels of the inputs.
        px_per_second: Speed in pixels of the inputs. None means that nothing was measured yet.
        left_s: Estimated time left, in seconds; None if nothing was measured yet.
        files_per_second: Speed in finished files; None for a single input, or if no file was finished yet.
        frames_per_second: Speed in frames, for a clip only.
    """

    done_px: float
    total_px: float
    px_per_second: float | None = None
    left_s: float | None = None
    files_per_second: float | None = None
    frames_per_second: float | None = None

    @property
    def share(self) -> float:
        """The finished share, 0 to 1."""
        return self.done_px / self.total_px if self.total_px else 0.0


class Speed:
    """A speed over the last minutes.

    Args:
        clock: Returns the present time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._total = 0.0
        self._samples: deque[tuple[float, float]] = deque()

    def begin(self) -> None:
        """Start the measurement, unless it has begun."""
        if not self._samples:
            self._samples.append((self._clock(), 0.0))

    def add(self, amount: float) -> None:
        """Count finished work."""
        self.begin()
        self._total += amount
        now = self._clock()
        self._samples.append((now, self._total))
        while len(self._samples) > 2 and now - self._samples[1][0] >= SPEED_OVER_S:
            self._samples.popleft()

    @property
    def per_second(self) -> float | None:
        """Work per second up to the last addition; None if nothing was measured yet."""
        if len(self._samples) < 2:
            return None
        (begun, before), (ended, total) = self._samples[0], self._samples[-1]
        return (total - before) / (ended - begun) if total > before and ended > begun else None

    @property
    def age_s(self) -> float:
        """Seconds since the last addition."""
        return self._clock() - self._samples[-1][0] if self._samples else 0.0


def _now() -> float:
    return time.monotonic()


@dataclass
class _Input:
    """An input of a run: its pixels, and the share of them that is done."""

    px: float
    share: float = 0.0
    is_over: bool = False
    frames_per_second: float | None = None


class RunProgress:
    """Follows the events of a run.

    Args:
        clock: Returns the present time. The default is ``time.monotonic``.

    Attributes:
        current: Name of the input that the network began with last, or None.
        number: Its number, from 1.
        total: Number of inputs.
        finished: Number of inputs that are done, skipped or failed.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        clock = clock or _now
        self._inputs: dict[str, _Input] = {}
        self._done_px = self._total_px = 0.0
        self._speed = Speed(clock)
        self._files = Speed(clock)
        self.current: str | None = None
        self.number = self.total = self.finished = 0

    def __call__(self, event: Event) -> None:
        """Take an event."""
        match event:
            case Planned():
                self._change(event.input, px=event.height * event.width * event.frames)
            case Started():
                self.current, self.number, self.total = event.input, event.number, event.total
                self._speed.begin()
                self._files.begin()
            case Progressed():
                self._advance(event)
            case Done() | Failed() | Skipped() if event.input in self._inputs:
                self._end(event)

    def of_all(self) -> Standing:
        """Return how far the run is. Inputs that failed or were skipped count as done."""
        return self._standing(self._done_px, self._total_px, files_per_second=self._files.per_second)

    def of(self, name: str) -> Standing | None:
        """Return how far an input is, or None if it was not planned."""
        one = self._inputs.get(name)
        if one is None:
            return None
        return self._standing(one.px * one.share, one.px, frames_per_second=one.frames_per_second)

    def _standing(self, done_px: float, total_px: float, **speeds: float | None) -> Standing:
        px_per_second = self._speed.per_second
        left_s = None
        if px_per_second is not None:
            left_s = max(0.0, (total_px - done_px) / px_per_second - self._speed.age_s)
        return Standing(done_px, total_px, px_per_second, left_s, **speeds)

    def _advance(self, event: Progressed) -> None:
        known = self._inputs.get(event.input)
        # Of a preview, only parts are work.
        one = self._change(event.input, px=event.total if known is None else min(known.px, event.total))
        is_resumed = event.frames_per_second is not None and one.frames_per_second is None
        one.frames_per_second = event.frames_per_second or one.frames_per_second
        share = max(one.share, event.done / max(event.total, 1))
        if not is_resumed:
            self._speed.add((share - one.share) * one.px)
        self._change(event.input, share=share)

    def _change(self, name: str, px: float | None = None, share: float | None = None) -> _Input:
        """Change the pixels or the finished share of an input, and the sums of all inputs."""
        one = self._inputs.setdefault(name, _Input(0.0))
        before_px = one.px, one.px * one.share
        one.px = one.px if px is None else px
        one.share = one.share if share is None else share
        self._total_px += one.px - before_px[0]
        self._done_px += one.px * one.share - before_px[1]
        return one

    def _end(self, event: Done | Failed | Skipped) -> None:
        one = self._inputs[event.input]
        if one.is_over:
            return
        one.is_over = True
        self.finished += 1
        if isinstance(event, Done):
            self._files.add(1)
            self._speed.add((1 - one.share) * one.px)
        self._change(event.input, share=1.0)
