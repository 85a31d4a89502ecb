"""A frame of a clip in memory, with its timestamp and its damage."""

from dataclasses import dataclass, replace

import torch
from av import VideoFrame
from torch import Tensor

from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.picture import Picture


@dataclass(frozen=True)
class Damage:
    """The damage in some frames, and what else is wrong with them.

    Attributes:
        lost: Number of frames that could not be decoded, and for which the frame before them stands.
        repaired: Number of frames that were repaired by the decoder.
        resized: Number of frames that have another size than the first one, to which they were resized.
    """

    lost: int = 0
    repaired: int = 0
    resized: int = 0

    def __add__(self, other: "Damage") -> "Damage":
        """Return the damage in the frames of both."""
        return Damage(self.lost + other.lost, self.repaired + other.repaired, self.resized + other.resized)


UNDAMAGED = Damage()


@dataclass(frozen=True)
class Frame:
    """A frame of a clip.

    Attributes:
        color: RGB tensor, (1, 3, H, W); uint8, or uint16 over its full range for more than 8 bits.
        pts: Timestamp, in units of the clip's time_base.
        duration: Duration, in units of the clip's time_base; None if the file does not state it.
        alpha: Alpha tensor, (1, 1, H, W), with the dtype of `color`; or None.
        can_be_sought: Whether a seek to the timestamp finds this frame, which it does not if timestamps of
            the file up to this frame are missing, equal or out of order.
        captions: A tiny frame that carries the closed captions of the frame; or None.
        damage: The damage in the frame.
    """

    color: Tensor
    pts: int
    duration: int | None = None
    alpha: Tensor | None = None
    can_be_sought: bool = True
    captions: VideoFrame | None = None
    damage: Damage = UNDAMAGED

    def turned(self, rotation_deg: int) -> "Frame":
        """Return the frame, rotated counterclockwise by a multiple of 90 degrees, as a player does it."""
        turns = round(rotation_deg / 90)
        alpha = None if self.alpha is None else _turned(self.alpha, turns)
        return replace(self, color=_turned(self.color, turns), alpha=alpha)

    def as_picture(self, *, gray: bool, format: str = "PNG") -> Picture:
        """Return the frame as a picture without metadata.

        Args:
            gray: Whether the clip is gray.
            format: Name of the format that the picture counts as coming from.
        """
        depth_bits = 16 if self.color.dtype == torch.uint16 else 8
        return Picture(self.color, self.alpha, gray, Metadata(), format, depth_bits=depth_bits)


def _turned(plane: Tensor, turns: int) -> Tensor:
    if plane.dtype == torch.uint16:  # torch cannot turn these
        return plane.view(torch.int16).rot90(turns, (2, 3)).view(torch.uint16)
    return plane.rot90(turns, (2, 3))
