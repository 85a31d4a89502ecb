"""A picture in memory, with all that its file said about it; and what one file holds of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from esc_cli.media.formats.base import ALL_METADATA, Held
from esc_cli.media.formats.png import Chunk

if TYPE_CHECKING:  # headers are read without torch
    from torch import Tensor


@dataclass(frozen=True)
class Metadata:
    """What travels beside the pixels, fit to be written as it is.

    Attributes:
        icc_profile: Of the colors as they are in memory (RGB or gray), None for sRGB or unknown.
        exif: A block that begins with "Exif", without orientation and thumbnail.
        xmp: A packet in which the orientation is 1.
        dpi: Dots an inch, across and down.
        iptc: Captions, as an IPTC-IIM stream (the content of Photoshop's resource 0x0404).
        text: Chunks of a PNG that hold text.
        comment: Of a JPEG or a GIF, in any encoding.
    """

    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    iptc: bytes | None = None
    text: tuple[Chunk, ...] | None = None
    comment: bytes | None = None


@dataclass(frozen=True)
class Picture:
    """An upright picture.

    Attributes:
        color: (1, 3, H, W), RGB, on the CPU; three equal planes for a gray picture that was read. uint8 of 8
            bits and fewer, uint16 over its whole range of 9 to 16 bits, float32 in [0, 1] of floats.
        alpha: (1, 1, H, W), same dtype, the largest value is opaque; None without transparency. Colors are
            not multiplied by it.
        gray: Whether its file was gray: then it is written gray.
        metadata: What travels beside the pixels.
        format: The name of its source's format.
        notes: What could not be kept when reading: one sentence each, without a full stop.
        depth_bits: Bits a channel in its file: 8, 10, 12, 16, or 32 for floats; it is written with as many,
            or the next that its format has.
        value_range: What 0 and 1 stand for in a file of floats.
        jpeg_step: In which its file, a JPEG, has low frequencies of the luma rounded; 0 for other files.
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

    @property
    def height(self) -> int:
        """In pixels."""
        return self.color.shape[-2]

    @property
    def width(self) -> int:
        """In pixels."""
        return self.color.shape[-1]


@dataclass(frozen=True)
class AnimationTiming:
    """The timing of an animation.

    Attributes:
        durations_ms: How long each frame is shown.
        loop: How often it is played; 0 for ever.
    """

    durations_ms: tuple[float, ...]
    loop: int = 0


@dataclass(frozen=True)
class PictureFile:
    """What one file holds: a still, the frames of an animation, or pages.

    Attributes:
        pictures: At least one, in order. Frames are complete canvases of one size: nothing of the file's own
            patches and disposal is left to do. Pages may differ in size. Equal frames may be one object.
        timing: The timing of frames; None for a still and for pages.
    """

    pictures: tuple[Picture, ...]
    timing: AnimationTiming | None = None

    @property
    def first(self) -> Picture:
        """What is shown where only one can be; it carries the metadata of the whole."""
        return self.pictures[0]


@dataclass(frozen=True)
class WriteSettings:
    """How pictures are written.

    Attributes:
        quality: 1 to 100 for the lossy formats; None: the format's default.
        keep: The parts of the metadata that are written.
        provenance: What made the picture, for EXIF's ProcessingSoftware; None: not to be said.
    """

    quality: int | None = None
    keep: frozenset[Held] = ALL_METADATA
    provenance: str | None = None


DEFAULT = WriteSettings()
