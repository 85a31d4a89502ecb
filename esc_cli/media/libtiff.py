"""The libtiff inside Pillow: its errors, which it would write to stderr.

Pillow has no way to change this. It goes on where libtiff only complains, as about a line of a fax that was
damaged on its way.
"""

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from PIL import _imaging

DAMAGE = "the file is damaged, so parts of the picture may be wrong"


class _Heard(threading.local):
    """How often libtiff has complained about pixels in this thread, which is the one that decodes."""

    count = 0


_heard = _Heard()


def _hear(module: bytes | None, _message: bytes | None, _arguments: int | None) -> None:
    if module is not None and b"Decode" in module:
        _heard.count += 1


_handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)(_hear)
"""The function as C calls it. It must live as long as libtiff knows it."""


@contextmanager
def quiet_libtiff() -> Iterator[None]:
    """Count the errors of libtiff instead of writing them to stderr. This is a setting of the process.

    Source: TIFFError(3), TIFFSetErrorHandler.
    """
    set_handler = _handler_setter()
    if set_handler is None:
        yield
        return
    before = set_handler(ctypes.cast(_handler, ctypes.c_void_p))
    try:
        yield
    finally:
        set_handler(before)


@contextmanager
def notes_on_damage() -> Iterator[list[str]]:
    """Yield a list that gets a note at the end of the context if libtiff has complained about pixels."""
    before, notes = _heard.count, list[str]()
    yield notes
    if _heard.count > before:
        notes.append(DAMAGE)


@cache
def _handler_setter() -> Callable[[object], object] | None:
    """Return libtiff's function; None if it is hidden in Pillow, as on Windows."""
    try:
        function = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
    except (AttributeError, OSError, TypeError):
        return None
    function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_void_p
    setter: Callable[[object], object] = function
    return setter
