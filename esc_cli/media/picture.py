"""Data classes for a picture in memory, its metadata, and the content of a picture file."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from esc_cli.media.metadata.kinds import ALL_METADATA, Held, Metadata

if TYPE_CHECKING:  # reading headers must not load torch
    from torch import Tensor


@dataclass(frozen=True)
class Picture:
    """An upright picture.

    Attributes:
        color: RGB tensor of shape (1, 3, H, W) on the CPU. A gray picture that was read has three equal
            planes. The dtype is uint8 for up to 8 bits, uint16 over its whole range for 9 to 16 bits, and
            float32 in [0, 1] for floats.
        alpha: Tensor of shape (1, 1, H, W) with the same dtype, in which the largest value is opaque. None
            means that there is no transparency. The colors are not premultiplied by alpha.
        gray: Whether the file was gray. If it was, the picture is written as gray.
        metadata: The metadata of the picture.
        format: Name of the source's format.
        notes: Sentences about what could not be kept when reading, each without a full stop.
        depth_bits: Bits per channel in the file: 8, 10, 12, 16, or 32 for floats. The picture is written with
            this depth, or with the next higher depth that the output format offers.
        value_range: The values that 0 and 1 stand for, if the file holds floats.
        jpeg_step: Quantization step of the low luma frequencies if the file is a JPEG, otherwise 0.
        no_data: The value of pixels without data in a file of floats, NaN or a number. Alpha marks these
            pixels while the picture is in memory. Files of floats get the value instead. None means that
            alpha, if there is any, is transparency.
        alpha_is_data: Whether alpha is a channel of data, so that colors count also where it is 0.
    """

    color: "Tensor"
    alpha: "Tensor | None"
    gray: bool
    metadata: Metadata
    format: str
    notes: tuple[str, ...] = ()
    depth_bits: int = 8
    value_range: tuple[float, float] = (0.0, 1.0)
    jpeg_step: float = 0.0
    no_data: float | None = None
    alpha_is_data: bool = False

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.color.shape[-2]

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.color.shape[-1]


@dataclass(frozen=True)
class AnimationTiming:
    """The timing of an animation.

    Attributes:
        durations_ms: Display duration of each frame, in milliseconds.
        loop: Number of times that the animation is played; 0 means forever.
    """

    durations_ms: tuple[float, ...]
    loop: int = 0


@dataclass(frozen=True)
class PictureFile:
    """The content of one file: a still, the frames of an animation, or pages.

    Attributes:
        pictures: At least one picture, in order. Frames are complete canvases of one size: the file's own
            patches and disposal have been applied. Pages may differ in size. Equal frames may be one object.
        timing: The timing of frames; None for a still and for pages.
    """

    pictures: tuple[Picture, ...]
    timing: AnimationTiming | None = None

    @property
    def first(self) -> Picture:
        """The picture to show where only one can be shown. It carries the metadata of the whole file."""
        return self.pictures[0]


@dataclass(frozen=True)
class WriteSettings:
    """Settings for writing pictures.

    Attributes:
        quality: Quality of lossy formats, 1 to 100. None means the format's default.
        keep: The parts of the metadata that are written.
        provenance: The program, model and settings that made the picture, for EXIF's ProcessingSoftware. None
            means that they are not written.
        modified_ns: Time of last modification that the files get. None means the time of writing.
    """

    quality: int | None = None
    keep: frozenset[Held] = ALL_METADATA
    provenance: str | None = None
    modified_ns: int | None = None


DEFAULT_SETTINGS = WriteSettings()
