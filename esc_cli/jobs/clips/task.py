"""Define the task of making a clip, or an image sequence, a preview sheet or a stream from a clip."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from io import BufferedReader
from typing import TYPE_CHECKING, Protocol, Self

from torch import Tensor

from esc_cli.enhancement.choice import MOST_LOOKS, Chooser
from esc_cli.enhancement.traces import Traces, traces_in
from esc_cli.errors import InputError
from esc_cli.jobs.clips.options import ClipOptions
from esc_cli.jobs.clips.samples import samples
from esc_cli.jobs.options import Options
from esc_cli.jobs.record import Recipe
from esc_cli.jobs.task import Task
from esc_cli.media.video.clip import Clip
from esc_cli.media.video.encode_settings import EncodeSettings
from esc_cli.media.video.frame import Frame

if TYPE_CHECKING:
    from esc_cli.jobs.clips.outputs import ClipOutput


class FrameSource(Protocol):
    """A context manager that provides frames from a clip, a stream or an image sequence."""

    clip: Clip
    skipped: int

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def __iter__(self) -> Iterator[Frame]: ...

    def peek(self) -> Tensor:
        """Return the color of the first frame, (1, 3, H, W). Iteration still yields this frame."""
        ...

    def times(self) -> tuple[int, ...] | None:
        """Return the timestamps of the frames that iteration yields; None if they are not known before."""
        ...

    def frames_from(self, pts: int) -> Iterator[Frame]:
        """Yield the frames from a timestamp on."""
        ...

    def frames_after(self, count: int, pts: int | None) -> Iterator[Frame]:
        """Yield the frames after the first ``count``, whose last one has the timestamp ``pts``."""
        ...


@dataclass(frozen=True, kw_only=True)
class ClipTask(Task):
    """The task of making a result from a clip.

    Attributes:
        clip: The properties of the source clip.
        open: Function that opens the source clip. A stream can be opened only once.
        output: The kind of the result.
        settings: The settings of the encoder.
        options: The options for clips.
        identity: Everything that the result depends on except the bytes of the input.
    """

    clip: Clip
    open: Callable[[], FrameSource] = field(compare=False)
    output: "ClipOutput"
    settings: EncodeSettings
    options: ClipOptions
    identity: Recipe = field(default_factory=dict)

    @property
    def written_size(self) -> tuple[int, int]:
        """Size of the written frames or picture, (height, width), as far as it is known before the work."""
        return self.output.written_size(self)

    def looks(self, options: Options) -> Iterable[Traces]:
        """Analyze a few frames. A stream can be read only once, so only its first frame is analyzed.

        Args:
            options: Unused, because the task has the options for clips.

        Raises:
            InputError: The clip cannot be read at all.
        """
        if isinstance(self.source.content, BufferedReader):
            return [traces_in(self.open().peek())]
        with self.open() as reader:
            first = traces_in(reader.peek())
            try:
                return [traces_in(frame.color) for frame in samples(reader, self, MOST_LOOKS)] or [first]
            except (InputError, IndexError):
                # A clip that cannot be read from the middle may be readable from the beginning. PyAV raises
                # IndexError if a stream appears later.
                return [first]

    @property
    def is_one_file(self) -> bool:
        """Whether the result is one file."""
        return self.output.is_one_file

    def own_recipe(self, chooser: Chooser) -> Recipe:
        """Return the options for clips and the settings of the encoder, as a JSON object."""
        # How damage is handled is one of the recorded options.
        asked = _texts(self.options.apart_from_damage)
        if self.in_place is not None:  # the settings follow from the original, which is not there any more
            return {"clip": asked}
        return {"clip": {**asked, "encode": _texts(self.settings)}}

    @property
    def _is_taken(self) -> bool:
        """Whether the result's name is taken. For an image sequence, any of its names counts."""
        return self.output.is_there(self.target)


def _texts(options: ClipOptions | EncodeSettings) -> dict[str, str]:
    return {key: str(value) for key, value in asdict(options).items()}
