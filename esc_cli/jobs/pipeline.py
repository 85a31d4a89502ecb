"""Reading, the network and writing at the same time: what one picture waits for, another one uses.

The network runs in the caller's thread, one picture after the other; threads read the next pictures and write
the last ones. Both are held back by a number of pictures and by an amount of memory, so that ten thousand
pictures take no more of it than a few.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

HEARS_SIGNALS_EVERY_S = 0.1
"""The waiting thread hears of Ctrl-C only when it wakes up, if the system told another one."""

Item = TypeVar("Item")
Read = TypeVar("Read")
Made = TypeVar("Made")
Written = TypeVar("Written")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Stages(Generic[Item, Read, Made, Written]):
    """What is done to each item.

    Attributes:
        read: In a thread, ahead of time.
        make: In the caller's thread, in order.
        write: In a thread, later. The event is set when the run was ended: then it shall publish nothing.
        read_bytes: Tells how much memory takes what is read.
        made_bytes: Tells how much memory takes what is made.
    """

    read: Callable[[Item], Read]
    make: Callable[[Item, Read], Made]
    write: Callable[[Item, Made, threading.Event], Written]
    read_bytes: Callable[[Item], int]
    made_bytes: Callable[[Item], int]


def overlapped(
    items: Iterable[Item], stages: Stages[Item, Read, Made, Written], *, workers: int, waiting_bytes: int
) -> Generator[tuple[Item, Future[Written]]]:
    """Put items through three stages that overlap.

    Whatever ends the loop over the outcomes (an exception, Ctrl-C, ``break``), nothing new is begun, and when
    it has ended, no thread is at work any more.

    Args:
        items: In the order in which they are made.
        stages: What is done to each.
        workers: Threads that read and write, at least 1.
        waiting_bytes: How much may wait on either side of the network; one item always may.

    Yields:
        Each item, in order, with what ``write`` gave, or what any of the stages raised.
    """
    coming = deque(items)
    reading: _Queue[Item, Read] = _Queue(workers, waiting_bytes)
    writing: _Queue[Item, Written] = _Queue(workers, waiting_bytes)
    ended = threading.Event()
    with _pool(workers, ended) as pool:
        while coming or reading:
            while coming and reading.has_room(stages.read_bytes(coming[0])):
                item = coming.popleft()
                reading.add(item, pool.submit(stages.read, item), stages.read_bytes(item))
            while not writing.has_room(stages.made_bytes(reading.first)):
                yield writing.take()
            item, read = reading.take()
            made = attempted(partial(_made, stages.make, item, read))
            del read  # with the picture in it
            writing.add(item, _passed_on(pool, stages.write, item, made, ended), stages.made_bytes(item))
            del made
            while writing.is_finished:
                yield writing.take()
        while writing:
            yield writing.take()


class _Queue(Generic[Item, Result]):
    """Items at work in other threads, in order; limited in number and memory."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._entries: deque[tuple[Item, Future[Result], int]] = deque()
        self._most = most
        self._most_bytes = most_bytes

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def first(self) -> Item:
        return self._entries[0][0]

    @property
    def is_finished(self) -> bool:
        """Whether the first item is done."""
        return bool(self._entries) and self._entries[0][1].done()

    def has_room(self, size_bytes: int) -> bool:
        waiting_bytes = sum(size for _, _, size in self._entries)
        return not self._entries or (
            len(self._entries) < self._most and waiting_bytes + size_bytes <= self._most_bytes
        )

    def add(self, item: Item, future: Future[Result], size_bytes: int) -> None:
        self._entries.append((item, future, size_bytes))

    def take(self) -> tuple[Item, Future[Result]]:
        """Wait for the first item."""
        item, future, _ = self._entries[0]
        while not future.done():
            wait([future], timeout=HEARS_SIGNALS_EVERY_S)
        self._entries.popleft()
        return item, future


def attempted(make: Callable[[], Made]) -> Future[Made]:
    """Run something in this thread; what it raises becomes its outcome."""
    outcome: Future[Made] = Future()
    try:
        outcome.set_result(make())
    except Exception as error:  # noqa: BLE001 - it is raised again where the outcome is asked for
        outcome.set_exception(error)
    return outcome


def _made(make: Callable[[Item, Read], Made], item: Item, read: Future[Read]) -> Made:
    """Run the middle stage, or raise what reading had raised."""
    return make(item, read.result())


def _passed_on(
    pool: ThreadPoolExecutor,
    write: Callable[[Item, Made, threading.Event], Written],
    item: Item,
    made: Future[Made],
    ended: threading.Event,
) -> Future[Written]:
    error = made.exception()
    if error is None:
        return pool.submit(write, item, made.result(), ended)
    failed: Future[Written] = Future()
    failed.set_exception(error)
    return failed


@contextmanager
def _pool(workers: int, ended: threading.Event) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="esc-upscale")
    try:
        yield pool
    finally:
        ended.set()
        pool.shutdown(wait=True, cancel_futures=True)
