"""Read, enlarge and write at the same time, so that one picture uses a resource while another one waits.

The network runs in the caller's thread, one picture after another. Other threads read the next pictures and
write the previous ones. Reading and writing are limited to a number of pictures and an amount of memory, so
that ten thousand pictures take no more memory than a few. The frames of a clip go through three threads in
order.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

WAITING = 4
"""Number of frames that may wait on either side of the network.

It is large enough to even out keyframes, which take longer.
"""

HEARS_SIGNALS_EVERY_S = 0.1
"""Interval at which the waiting thread wakes up, in seconds.

If the system delivered Ctrl-C to another thread, the waiting thread notices it only when it wakes up.
"""

PATIENCE_S = 1.0
"""How long threads may go on after a run was stopped; encoding a large HEIC file takes minutes."""

_THREADS = "esc-upscale"
"""The beginning of the names of all threads."""

Item = TypeVar("Item")
Read = TypeVar("Read")
Made = TypeVar("Made")
Written = TypeVar("Written")
Result = TypeVar("Result")


class EndedError(Exception):
    """The run has ended, so a result that is not published yet must not be published."""


class EndOfRun(threading.Event):
    """Set when a run has ended. What is published when it ends becomes complete or is removed."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self._publishing = 0

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Mark the time in which files exist that must not be left behind."""
        with self._changed:
            self._publishing += 1
        try:
            yield
        finally:
            with self._changed:
                self._publishing -= 1
                self._changed.notify_all()

    def check(self) -> None:
        """Check that the run goes on.

        Raises:
            EndedError: The run has ended.
        """
        if self.is_set():
            raise EndedError

    def finish(self) -> None:
        """Set it, and wait until nothing is being published."""
        self.set()
        with self._changed:
            while self._publishing:
                self._changed.wait(HEARS_SIGNALS_EVERY_S)


@dataclass(frozen=True)
class Stages(Generic[Item, Read, Made, Written]):
    """The stages that each item goes through.

    Attributes:
        read: Function that reads an item. It runs in another thread, ahead of time.
        make: Function that enlarges what was read. It runs in the caller's thread, in order.
        write: Function that writes what was made. It runs in another thread, later. The event is set when the
            run has ended, and nothing may be published after that.
        read_bytes: Function that returns the memory of what ``read`` returns, in bytes.
        made_bytes: Function that returns the memory of what ``make`` returns, in bytes.
    """

    read: Callable[[Item], Read]
    make: Callable[[Item, Read], Made]
    write: Callable[[Item, Made, EndOfRun], Written]
    read_bytes: Callable[[Item], int]
    made_bytes: Callable[[Item], int]


def overlapped(
    items: Iterable[Item], stages: Stages[Item, Read, Made, Written], *, workers: int, waiting_bytes: int
) -> Generator[tuple[Item, Future[Written]]]:
    """Pass items through three stages that overlap.

    The loop over the outcomes may end by an exception, Ctrl-C or ``break``. Whatever ends it, no new work is
    started, and nothing is published afterwards. A thread that is reading or encoding may go on for a while,
    because an encoder cannot be stopped; what it makes is dropped.

    Args:
        items: The items, in the order in which they are made.
        stages: The stages.
        workers: Number of threads that read and write, at least 1.
        waiting_bytes: Memory of the items that may wait on either side of the network. One item may always
            wait.

    Yields:
        Each item, in order, with the result of ``write``, or the exception that a stage raised.
    """
    coming = deque(items)
    reading: _Queue[Item, Read] = _Queue(workers, waiting_bytes)
    writing: _Queue[Item, Written] = _Queue(workers, waiting_bytes)
    ended = EndOfRun()
    with _pool(workers, ended) as pool:
        while coming or reading:
            while coming and reading.has_room(stages.read_bytes(coming[0])):
                item = coming.popleft()
                reading.add(item, pool.submit(stages.read, item), stages.read_bytes(item))
            while not writing.has_room(stages.made_bytes(reading.first)):
                yield writing.take()
            item, read = reading.take()
            made = attempted(partial(_made, stages.make, item, read))
            del read  # it holds the picture
            writing.add(item, _passed_on(pool, stages.write, item, made, ended), stages.made_bytes(item))
            del made
            while writing.is_finished:
                yield writing.take()
        while writing:
            yield writing.take()


class _Queue(Generic[Item, Result]):
    """Items that other threads work on, in order. Their number and their memory are limited."""

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
        """Wait for the first item, and remove it from the queue."""
        item, future, _ = self._entries[0]
        while not future.done():
            wait([future], timeout=HEARS_SIGNALS_EVERY_S)
        self._entries.popleft()
        return item, future


def attempted(make: Callable[[], Made]) -> Future[Made]:
    """Call a function in this thread and return its outcome, which may be an exception."""
    outcome: Future[Made] = Future()
    try:
        outcome.set_result(make())
    except Exception as error:  # noqa: BLE001 - it is raised again when the result is requested
        outcome.set_exception(error)
    return outcome


def _made(make: Callable[[Item, Read], Made], item: Item, read: Future[Read]) -> Made:
    """Run the middle stage, or raise the exception of the reading stage."""
    return make(item, read.result())


def _passed_on(
    pool: ThreadPoolExecutor,
    write: Callable[[Item, Made, EndOfRun], Written],
    item: Item,
    made: Future[Made],
    ended: EndOfRun,
) -> Future[Written]:
    error = made.exception()
    if error is None:
        return pool.submit(write, item, made.result(), ended)
    failed: Future[Written] = Future()
    failed.set_exception(error)
    return failed


@contextmanager
def _pool(workers: int, ended: EndOfRun) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix=_THREADS)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        ended.finish()
        _wait_for_threads()
        raise
    pool.shutdown(wait=True)


def threads_at_work() -> list[threading.Thread]:
    """Return the threads of runs. After a run, these are threads that read or encode what is not needed."""
    return [thread for thread in threading.enumerate() if thread.name.startswith(_THREADS)]


def _wait_for_threads() -> None:
    end = time.monotonic() + PATIENCE_S
    for thread in threads_at_work():
        thread.join(max(0.0, end - time.monotonic()))


def in_order(items: Iterator[Read], make: Callable[[Read], Made], write: Callable[[Made], object]) -> None:
    """Read items in one thread, process them in the caller's thread, and write the results in a third thread.

    Each thread works on one item at a time, in order. An exception of any thread is raised here, once the
    others have stopped.

    Args:
        items: Iterator that reads the items.
        make: Function that processes an item, in the caller's thread.
        write: Function that writes a result.
    """
    with ExitStack() as stack:
        reader, writer = (stack.enter_context(_thread(name)) for name in ("reader", "writer"))
        coming = deque(reader.submit(next, items, None) for _ in range(WAITING))
        going: deque[Future[object]] = deque()
        while (item := _result(coming.popleft())) is not None:
            coming.append(reader.submit(next, items, None))
            going.append(writer.submit(write, make(item)))
            del item  # free its memory while the next one is read
            while going and (len(going) > WAITING or going[0].done()):
                _result(going.popleft())
        while going:
            _result(going.popleft())


def _result(future: Future[Result]) -> Result:
    while not future.done():
        wait([future], timeout=HEARS_SIGNALS_EVERY_S)
    return future.result()


@contextmanager
def _thread(name: str) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(1, thread_name_prefix=f"{_THREADS}-{name}")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
