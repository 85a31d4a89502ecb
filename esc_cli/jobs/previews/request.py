"""Define what ``--preview`` shows. This module does not load torch."""

import re
from dataclasses import dataclass
from typing import Self

from esc_cli.errors import UsageError

AUTO_PREVIEW = "auto"
"""The request for the part of a picture with the most detail, or for some frames of a clip."""

PREVIEW_LABEL = "_preview"
"""The part of a preview's name that follows the label of the size."""

_AUTO_FRAMES = 9
_HINT = "use auto, a number of frames or parts, or a part of a picture as X,Y or X,Y,WIDTH,HEIGHT"


@dataclass(frozen=True)
class PreviewRequest:
    """The frames of a clip or the parts of a picture that a preview shows.

    Attributes:
        count: Number of frames or parts. None means that the user did not name one.
        place: The part of a picture as (x, y), its middle, or (x, y, width, height), in pixels of the picture
            as it is displayed. None means the parts with the most detail.
    """

    count: int | None = None
    place: tuple[int, ...] | None = None

    @classmethod
    def parse(cls, value: int | str) -> Self:
        """Parse ``auto``, a number, ``X,Y`` or ``X,Y,W,H``.

        Raises:
            UsageError: The value is none of these, or nothing would be shown.
        """
        text = str(value).strip()
        if text == AUTO_PREVIEW:
            return cls()
        if re.fullmatch(r"[0-9]{1,9}(,[0-9]{1,9}){0,3}", text):
            numbers = tuple(map(int, text.split(",")))
            if len(numbers) == 1 and numbers[0] > 0:
                return cls(count=numbers[0])
            if len(numbers) == 2 or (len(numbers) == 4 and min(numbers[2:]) > 0):
                return cls(place=numbers)
        raise UsageError(f"{text!r} is not a preview", hint=_HINT)

    @property
    def frames(self) -> int:
        """Number of frames of a clip."""
        return self.count or _AUTO_FRAMES

    @property
    def parts(self) -> int:
        """Largest number of parts of a picture."""
        return self.count or 1
