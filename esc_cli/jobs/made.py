"""What the making of a result returns, and the functions that it calls on the way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

PublishMade = Callable[[Path | None, Sequence[str]], None]
"""Does what ``Publish`` does, and receives the sentences that say how frames went through the network."""

Publish = Callable[[Path | None], None]
"""A function that is called with the complete file of a result, before the file gets its name.

The argument is None if there is no such file. An exception prevents the file from getting its name.
"""

Progress = Callable[[int, float], None]
"""A function that receives the number of finished frames, with earlier runs, and the frames per second."""


@dataclass(frozen=True)
class EnlargedFrames:
    """How the frames of a clip, or the pages of a file, were enlarged.

    Attributes:
        ways: Sentences that say how the last computed frame or page went through the network.
        repeated: Number of frames or pages that equal an earlier one and were not computed again.
    """

    ways: tuple[str, ...] = ()
    repeated: int = 0


@dataclass(frozen=True)
class Made:
    """The outcome of making a result.

    Attributes:
        size: Size of the result's frames or of its first picture, (height, width), in pixels.
        notes: Sentences that say what could not be kept.
        frames: How the frames or pages were enlarged.
    """

    size: tuple[int, int]
    notes: tuple[str, ...]
    frames: EnlargedFrames
