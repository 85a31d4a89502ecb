import threading
from collections.abc import Iterator
from typing import Any

import pytest

from esc_cli.errors import DiskFullError, InputError
from esc_cli.jobs.clips.pipeline import WAITING, in_order


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
