"""Turn off TF32 in convolutions, so that float32 convolutions keep the precision of float32."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from torch.backends import cudnn

_convolutions: Any = cudnn.conv  # type: ignore[attr-defined]
_lock = Lock()
_users = 0
_before = "none"


@contextmanager
def without_tf32() -> Iterator[None]:
    """Make cuDNN compute float32 convolutions in float32 inside a context.

    Any number of threads may be in the context at once.

    TF32 keeps 10 bits of the factors, no more than float16. Torch uses it by default for convolutions, but
    not for matrix products. If a user turns it on there (``torch.set_float32_matmul_precision``), it stays
    on.

    Only torch's separate settings for convolutions are changed. ``cudnn.flags`` reads settings that torch
    refuses to return when a program also uses the newer ones (pytorch issue 179445).
    """
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    """Change the setting, which all threads share, unless an earlier context has already changed it."""
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
