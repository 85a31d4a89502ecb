"""One clip to make, or what is made of a clip: an image sequence, a sheet of frames, a stream."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self

from torch import Tensor

from esc_cli.jobs.clips.options import ClipOptions
from esc_cli.jobs.record import Recipe
from esc_cli.jobs.task import Task
from esc_cli.media.video.clip import Clip
from esc_cli.media.video.containers import EncodeSettings
from esc_cli.media.video.reader import Frame

if TYPE_CHECKING:
    from esc_cli.jobs.clips.outputs import ClipOutput


class FrameSource(Protocol):
    """Where frames come from: a clip, a stream or an image sequence; a context manager."""

    clip: Clip
    damaged_frames: int

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def __iter__(self) -> Iterator[Frame]: ...

    def peek(self) -> Tensor:
        """Give the color of the first frame, (1, 3, H, W); it is still to be read."""
        ...

    def frames_from(self, pts: int) -> Iterator[Frame]:
        """Read from a time stamp on."""
        ...


@dataclass(frozen=True, kw_only=True)
class ClipTask(Task):
    """A clip to make.

    Attributes:
        clip: What it is made from.
        open: Opens that; of a stream once.
        output: What is made of it.
        settings: How frames are encoded.
        options: What was asked for.
        identity: What the result depends on but the input's bytes.
    """

    clip: Clip
    open: Callable[[], FrameSource] = field(compare=False)
    output: "ClipOutput"
    settings: EncodeSettings
    options: ClipOptions
    identity: Recipe = field(default_factory=dict)

    @property
    def is_there(self) -> bool:
        """Whether the result's name is taken; of an image sequence any of its names."""
        return self.output.is_there(self.target)
