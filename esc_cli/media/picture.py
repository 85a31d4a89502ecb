"""A picture in memory, with all that its file said about it."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Metadata:
    """What travels beside the pixels, fit to be written as it is.

    Attributes:
        icc_profile: Of the colors as they are in memory (RGB or gray), None for sRGB or unknown.
        exif: A block that begins with "Exif", without orientation and thumbnail.
        xmp: A packet in which the orientation is 1.
        dpi: Dots an inch, across and down.
    """

    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None


@dataclass(frozen=True)
class Picture:
    """An upright picture.

    Attributes:
        color: (1, 3, H, W), uint8, RGB, on the CPU; three equal planes for a gray picture that was read.
        alpha: (1, 1, H, W), uint8, 255 is opaque; None without transparency. Colors are not multiplied by it.
        gray: Whether its file was gray: then it is written gray.
        metadata: What travels beside the pixels.
        format: The name of its source's format.
        notes: What could not be kept when reading: one sentence each, without a full stop.
    """

    color: Tensor
    alpha: Tensor | None
    gray: bool
    metadata: Metadata
    format: str
    notes: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        """In pixels."""
        return self.color.shape[-2]

    @property
    def width(self) -> int:
        """In pixels."""
        return self.color.shape[-1]
