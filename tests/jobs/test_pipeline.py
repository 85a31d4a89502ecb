import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing
from typing import Any

import pytest

from esc_cli.errors import DiskFullError, InputError
from esc_cli.jobs.pipeline import WAITING, Stages, in_order, overlapped


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


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("esc-upscale")]


def read_until(count: int, error: Exception | None = None) -> Iterator[int]:
    yield from range(count)
    if error is not None:
        raise error


def test_the_order_is_kept_and_threads_end() -> None:
    written: list[int] = []
    in_order(read_until(50), lambda number: number * 2, written.append)
    assert written == list(range(0, 100, 2))
    assert threads() == []


def test_nothing_to_do() -> None:
    in_order(read_until(0), lambda number: number, pytest.fail)


def test_a_readers_error_comes_after_what_was_read() -> None:
    made: list[int] = []
    with pytest.raises(InputError, match="cut off"):
        in_order(read_until(7, InputError("cut off")), made.append, lambda _: None)
    assert made == list(range(7))
    assert threads() == []


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt()], ids=repr)
def test_an_error_of_the_network_ends_everything(error: BaseException) -> None:
    written: list[int] = []

    def make(number: int) -> int:
        if number == 5:
            raise error
        return number

    with pytest.raises(type(error)):
        in_order(read_until(50), make, written.append)
    assert written == list(range(len(written)))
    assert len(written) <= 5
    assert threads() == []


def test_a_writers_error_arrives_though_frames_wait() -> None:
    made: list[int] = []

    def write(number: int) -> None:
        if number == 3:
            raise DiskFullError("full")

    def make(number: int) -> int:
        made.append(number)
        return number

    with pytest.raises(DiskFullError):
        in_order(read_until(1000), make, write)
    assert len(made) <= 3 + WAITING + 2
    assert threads() == []


def test_a_writers_last_error_arrives() -> None:
    def write(number: int) -> None:
        if number == 9:
            raise DiskFullError("full")

    with pytest.raises(DiskFullError):
        in_order(read_until(10), lambda number: number, write)


def test_reading_is_never_far_ahead() -> None:
    read: list[int] = []
    ahead: list[int] = []

    def items() -> Iterator[int]:
        for number in range(60):
            read.append(number)
            yield number

    def make(number: int) -> int:
        threading.Event().wait(0.002)  # enough time for the reader to run ahead if nothing stops it
        ahead.append(len(read) - number)
        return number

    in_order(items(), make, lambda _: None)
    assert 1 < max(ahead) <= WAITING + 1


def test_results_do_not_heap_up_before_a_slow_writer() -> None:
    written: list[int] = []
    waiting: list[int] = []

    def make(number: int) -> int:
        waiting.append(number - len(written))
        return number

    def write(number: Any) -> None:
        threading.Event().wait(0.002)
        written.append(number)

    in_order(read_until(60), make, write)
    assert 1 < max(waiting) <= WAITING + 2
