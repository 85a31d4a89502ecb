"""The pixels that an arbitrary-scale network is asked for."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """The pixel grid of a result, laid over the picture that it is made from. The picture may be padded.

    Attributes:
        height: Height of the result, in pixels.
        width: Width of the result, in pixels.
        low_height: Height of the picture without its padding, in pixels.
        low_width: Width of the picture without its padding, in pixels.
    """

    height: int
    width: int
    low_height: int
    low_width: int

    @staticmethod
    def between(low: tuple[int, int], high: tuple[int, int]) -> "Grid":
        """Make the grid of a result of size ``high`` over a picture of size ``low``, both (height, width).

        Their outer edges coincide.
        """
        return Grid(*high, *low)

    @property
    def row_factor(self) -> float:
        """Rows of the result for each row of the picture."""
        return self.height / self.low_height

    @property
    def column_factor(self) -> float:
        """Columns of the result for each column of the picture."""
        return self.width / self.low_width

    def rows_above(self, row: int) -> int:
        """Count the rows of the result whose centers lie above a row of the picture."""
        return min(self.height, math.ceil(row * self.row_factor - 0.5))
