"""Windows of a picture, and the choice of those with the most detail."""

from dataclasses import dataclass
from typing import Self

from torch import Tensor
from torch.nn import functional as F

from esc_cli.errors import UsageError
from esc_cli.evaluation.metrics import luma

_STEPS = 8
"""Number of positions that are tried per length of a window."""


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels. ``top`` and ``left`` are the coordinates of its first pixel."""

    top: int
    left: int
    height: int
    width: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``Y,X,H,W``.

        Raises:
            UsageError: The text has another form, or the window is empty or starts outside the picture.
        """
        try:
            top, left, height, width = map(int, text.split(","))
        except ValueError as error:
            raise UsageError(f"{text!r} is not a crop", hint="use Y,X,HEIGHT,WIDTH in pixels") from error
        if min(top, left) < 0 or min(height, width) < 1:
            raise UsageError(f"the crop {text} is empty or starts outside the picture")
        return cls(top, left, height, width)

    def __str__(self) -> str:
        return f"{self.top},{self.left},{self.height},{self.width}"

    def enlarged(self, scale: int) -> "Window":
        """Return the same window in a picture that is larger by a factor."""
        return Window(self.top * scale, self.left * scale, self.height * scale, self.width * scale)

    def is_inside(self, height: int, width: int) -> bool:
        """Return whether the whole window lies in a picture of this size."""
        return self.top + self.height <= height and self.left + self.width <= width

    def cut(self, picture: Tensor) -> Tensor:
        """Return a view of the window in (N, C, H, W)."""
        rows = slice(self.top, self.top + self.height)
        return picture[..., rows, self.left : self.left + self.width]


def most_detailed(picture: Tensor, side_px: int, count: int) -> tuple[Window, ...]:
    """Choose the windows with the most detail, without overlap. Detail is the energy of the luma gradient.

    Args:
        picture: (1, 3, H, W), uint8.
        side_px: Side of a window; shorter if the picture is smaller.
        count: Largest number of windows.

    Returns:
        The windows, ordered from most to least detail. There are fewer than ``count`` if no more fit.
    """
    height, width = (min(side_px, side) for side in picture.shape[-2:])
    step = max(1, min(height, width) // _STEPS)
    energy = F.avg_pool2d(_gradient_energy(picture), (height, width), step)[0, 0]  # one value per position
    windows: list[Window] = []
    while len(windows) < count and energy.max() >= 0:
        row, column = divmod(int(energy.argmax()), energy.shape[1])
        windows.append(Window(row * step, column * step, height, width))
        rows, columns = (_overlapping(index, side, step) for index, side in ((row, height), (column, width)))
        energy[rows, columns] = -1
    return tuple(windows)


def _gradient_energy(picture: Tensor) -> Tensor:
    """Return the sum of the squared differences to the pixels below and right: (1, 1, H, W), float32."""
    plane = luma(picture).float()
    down, across = plane.diff(dim=2), plane.diff(dim=3)
    return F.pad(down.square(), (0, 0, 0, 1)) + F.pad(across.square(), (0, 1))


def _overlapping(index: int, side_px: int, step: int) -> slice:
    """Return the positions along one axis whose windows overlap the window at one position."""
    reach = (side_px - 1) // step
    return slice(max(0, index - reach), index + reach + 1)
