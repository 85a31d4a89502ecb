"""Define which borders of a picture wrap. This module does not load torch."""

from dataclasses import dataclass
from typing import Literal, get_args

from esc_cli.errors import UsageError

Seamless = Literal["x", "y", "xy"]
"""The axes along which a picture wraps: from left to right, from top to bottom, or both."""


@dataclass(frozen=True)
class Wraps:
    """The axes along which a picture wraps.

    Attributes:
        rows: Whether the bottom continues at the top.
        columns: Whether the right side continues at the left.
    """

    rows: bool = False
    columns: bool = False

    @classmethod
    def parse(cls, seamless: str | None) -> "Wraps":
        """Return the axes for ``x``, ``y``, ``xy`` or None.

        Raises:
            UsageError: There are no such axes.
        """
        if seamless not in (None, *get_args(Seamless)):
            raise UsageError(f"{seamless!r} is not a choice of borders", hint="use x, y or xy")
        return cls("y" in (seamless or ""), "x" in (seamless or ""))

    def __bool__(self) -> bool:
        return self.rows or self.columns

    def turned(self, quarter_turns: int) -> "Wraps":
        """Return the axes of the picture after some quarter turns."""
        return Wraps(self.columns, self.rows) if quarter_turns % 2 else self


NOT_WRAPPED = Wraps()
