"""Read what is left of damaged pictures, and say how much is missing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from esc_cli.errors import DamageError, InputError

KEEP_HINT = "to enlarge what can be read of it, use --damaged keep"

T = TypeVar("T")

_keeping: ContextVar[bool] = ContextVar("keeping", default=False)


def keeps_damaged() -> bool:
    """Return whether the caller is inside `keeping_damaged`, where decoders return what they can read."""
    return _keeping.get()


@contextmanager
def keeping_damaged() -> Iterator[None]:
    """Let decoders return what they can read of a damaged picture, in this thread and inside the context."""
    token = _keeping.set(True)
    try:
        yield
    finally:
        _keeping.reset(token)


def or_refuse(error: DamageError, read: Callable[[], T], *, keep: bool) -> T:
    """Return what can be read of a damaged picture, or refuse the picture.

    Args:
        error: The damage.
        read: A function that reads what it can.
        keep: Whether to return what it reads.

    Raises:
        DamageError: The damage; if the picture could be kept, the hint says how.
    """
    try:
        left = read()
    except InputError:
        raise error from None
    if keep:
        return left
    error.hint = KEEP_HINT
    raise error


class WhileKeeping:
    """A value for Pillow's ``LOAD_TRUNCATED_IMAGES`` that is true only in threads that keep damaged pictures.

    Pillow's setting is one for the whole process.
    """

    def __bool__(self) -> bool:
        """Return whether damaged pictures are kept."""
        return keeps_damaged()


def damage_note(name: str, share: float | None) -> str:
    """Return the note on a damaged picture that was read in part.

    Args:
        name: Name of the file in messages.
        share: Share of the pixels that are missing; None if it is unknown.

    Raises:
        DamageError: All pixels are missing.
    """
    if share == 1:
        raise DamageError(f"{name} is damaged: nothing of the picture can be read")
    if not share:
        return "the file is damaged, and what can be read of it is kept"
    percent = "less than 1" if share < 0.01 else f"about {round(100 * share)}"
    return f"the file is damaged: {percent} % of the picture is missing"
