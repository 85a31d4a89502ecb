"""Float32 that is float32: no TF32 in convolutions."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from torch.backends import cudnn

_convolutions: Any = getattr(cudnn, "conv", None)
"""Torch's settings of cuDNN's convolutions alone, since 2.9."""

_lock = Lock()
_users = 0
_before = "none"


@contextmanager
def without_tf32() -> Iterator[None]:
    """Make cuDNN compute float32 convolutions in float32 for a while; in any number of threads at once.

    TF32 keeps 10 bits of the factors, no more than float16, and is torch's default for convolutions; for
    matrix products it is not, and who turns it on there (``torch.set_float32_matmul_precision``) gets it.

    Where torch has the setting of its own for convolutions (since 2.9) only that is touched:
    ``cudnn.flags`` reads settings that torch refuses to give when a program uses the newer ones too
    (pytorch issue 179445).
    """
    if _convolutions is None:
        with cudnn.flags(enabled=cudnn.enabled, benchmark=cudnn.benchmark, allow_tf32=False):
            yield
        return
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    """Change the setting, which all threads share, if this is the first to need it."""
    global _users, _before  # noqa: PLW0603
    with _lock:
        if _users == 0:
            _before = _convolutions.fp32_precision
            _convolutions.fp32_precision = "ieee"
        _users += 1


def _leave() -> None:
    global _users  # noqa: PLW0603
    with _lock:
        _users -= 1
        if _users == 0:
            _convolutions.fp32_precision = _before
