import threading
import time
from concurrent.futures import Future
from contextlib import closing
from typing import Any

import pytest

from esc_cli.jobs.pipeline import Stages, overlapped


class Counted:
    """Stages for numbers that count the items waiting between two stages."""

    def __init__(self, size: int = 1, pause_s: float = 0.0) -> None:
        self.lock = threading.Lock()
        self.read_not_made = self.made_not_written = 0
        self.most_read = self.most_made = 0
        self.pause_s = pause_s
        self.size = size
        self.makers: set[int] = set()
        self.written: list[int] = []

    def read(self, item: int) -> int:
        time.sleep(self.pause_s)
        with self.lock:
            self.read_not_made += 1
            self.most_read = max(self.most_read, self.read_not_made)
        if item % 10 == 3:
            raise ValueError(f"cannot read {item}")
        return item

    def make(self, item: int, read: int) -> int:
        self.makers.add(threading.get_ident())
        time.sleep(self.pause_s)
        with self.lock:
            self.read_not_made -= 1
            self.made_not_written += 1
            self.most_made = max(self.most_made, self.made_not_written)
        if item % 10 == 5:
            raise KeyError(f"cannot make {item}")
        return read * 2

    def write(self, item: int, made: int, ended: threading.Event) -> int:
        time.sleep(self.pause_s)
        with self.lock:
            self.made_not_written -= 1
            self.written.append(item)
        if item % 10 == 7:
            raise OSError(f"cannot write {item}")
        return made + 1

    def stages(self) -> Stages[int, int, int, int]:
        return Stages(self.read, self.make, self.write, lambda item: self.size, lambda item: self.size)


def outcome(future: Future[int]) -> Any:
    return type(future.exception()) if future.exception() else future.result()


@pytest.mark.parametrize("workers", [1, 3])
def test_each_item_has_its_outcome_in_order(workers: int) -> None:
    counted = Counted()
    results = list(overlapped(range(30), counted.stages(), workers=workers, waiting_bytes=100))
    assert [item for item, _ in results] == list(range(30))
    expected = {3: ValueError, 5: KeyError, 7: OSError}
    assert [outcome(future) for _, future in results] == [
        expected.get(item % 10, item * 2 + 1) for item in range(30)
    ]
    assert counted.makers == {threading.get_ident()}


def test_nothing_piles_up() -> None:
    few = Counted(pause_s=0.001)
    list(overlapped(range(40), few.stages(), workers=2, waiting_bytes=100))
    assert few.most_made <= 3 + 40 // 10  # items that fail in ``make`` are never written
    large = Counted(size=60, pause_s=0.001)
    list(overlapped([0] * 20, large.stages(), workers=4, waiting_bytes=100))
    assert large.most_read <= 2
    assert large.most_made <= 2


def test_the_stages_overlap() -> None:
    slow = Counted(pause_s=0.02)
    begun = time.monotonic()
    list(overlapped([0] * 20, slow.stages(), workers=2, waiting_bytes=100))
    assert time.monotonic() - begun < 0.75 * 20 * 3 * 0.02  # without overlap it takes 20 * 3 * 0.02


@pytest.mark.parametrize("how", ["close", "interrupt in the network", "interrupt while waiting"])
def test_when_it_ends_early_no_thread_is_left_and_nothing_is_begun(how: str) -> None:
    counted = Counted()
    before = threading.active_count()
    begun, told = threading.Event(), threading.Event()

    def make(item: int, read: int) -> int:
        if item == 4:
            assert begun.wait(10)
            if how == "interrupt in the network":
                raise KeyboardInterrupt
        return read

    def write(item: int, made: int, ended: threading.Event) -> int:
        if item == 2:
            begun.set()
            assert ended.wait(10)
            told.set()
        return counted.write(item, made, ended)

    stages = Stages(counted.read, make, write, lambda item: 1, lambda item: 1)
    outcomes = overlapped([0, 1, 2, 4, 6, 8] * 10, stages, workers=4, waiting_bytes=100)
    with pytest.raises(KeyboardInterrupt), closing(outcomes):
        for item, _ in outcomes:
            if item == 1 and how == "close":
                raise KeyboardInterrupt
            if item == 1 and how == "interrupt while waiting":
                outcomes.throw(KeyboardInterrupt)
    assert told.is_set() == begun.is_set()
    assert threading.active_count() == before
    assert len(counted.written) < 20
