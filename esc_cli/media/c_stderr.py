"""Silence libraries in C that write to stderr themselves: LibRaw and OpenEXR do if a file is damaged.

Their errors are raised as well, and this program says them in its own words. Python writes to the descriptor
and not to C's stream, so its own output is not affected.
"""

import ctypes
import os
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache


class _Users:
    """The number of contexts that are open, and the stream to put back after the last one."""

    lock = threading.Lock()
    count = 0
    stream: int | None = None


@contextmanager
def quiet_c_libraries() -> Iterator[None]:
    """Let C's stderr lead nowhere, in the whole process. On systems other than Linux, nothing is changed."""
    place = _stderr_of_c()
    if place is None:
        yield
        return
    with _Users.lock:
        if _Users.count == 0:
            _Users.stream, place.value = place.value, _nowhere()
        _Users.count += 1
    try:
        yield
    finally:
        with _Users.lock:
            _Users.count -= 1
            if _Users.count == 0:
                place.value = _Users.stream


@cache
def _stderr_of_c() -> ctypes.c_void_p | None:
    """Return the variable that holds the stream; glibc alone documents that it may be assigned.

    Source: the GNU C Library's manual, 12.2 (Standard Streams).
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return None
    return ctypes.c_void_p.in_dll(ctypes.CDLL(None), "stderr")


@cache
def _nowhere() -> int | None:
    open_stream = ctypes.CDLL(None).fopen
    open_stream.restype = ctypes.c_void_p
    stream: int | None = open_stream(os.fsencode(os.devnull), b"w")
    return stream
