"""Read, enlarge and write the frames of a clip at the same time, in order."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from esc_cli.jobs.pipeline import HEARS_SIGNALS_EVERY_S

Read = TypeVar("Read")
Made = TypeVar("Made")
Result = TypeVar("Result")

WAITING = 4
"""Number of frames that may wait on either side of the network.

It is large enough to even out keyframes, which take longer.
"""


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
    pool = ThreadPoolExecutor(1, thread_name_prefix=f"esc-upscale-{name}")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
