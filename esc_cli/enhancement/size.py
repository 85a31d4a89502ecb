"""The size that a user asks for: a factor, or a geometry in ImageMagick's notation."""

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass

from esc_cli.errors import UsageError

LARGEST_SIDE_PX = 1_000_000
"""Largest accepted side. Only TIFF and PNG can hold as much, and a larger number is a typing error."""

LARGEST_PERCENT = 100_000.0
"""Largest accepted percentage: a factor of a thousand. A larger number is a typing error."""

LARGEST_SCALE = LARGEST_PERCENT / 100

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_BOX = re.compile(r"(?P<width>[0-9]+)?(?:x(?P<height>[0-9]+)?)?(?P<flags>[<>^!]*)")
_AREA = re.compile(r"(?P<area>[0-9]+)@(?P<flags>>?)")
_PERCENT = re.compile(rf"(?P<across>{_NUMBER})(?:%|%?x(?P<down>{_NUMBER})%|%x(?P<down_bare>{_NUMBER}))")
_CONTRADICTIONS = ("<>", "!^")


class Geometry(ABC):
    """A rule that computes the size of a result from the size of its source.

    Rules are frozen, and equal rules compute equal sizes.
    """

    @staticmethod
    def parse(text: str) -> "Geometry":
        """Parse a geometry.

        Args:
            text: In pixels, ``1920`` or ``1920x`` is the width, ``x1080`` the height, and ``1920x1080`` a box
                to fit inside. All of them keep the aspect ratio. They may end in flags: ``>`` only shrinks,
                ``<`` only enlarges, ``^`` fills the box instead of fitting inside, and ``!`` ignores the
                aspect ratio. In percent, ``50%`` is for both sides, and ``50%x30%`` or ``50x30%`` for the
                width and the height. ``1000000@`` is the largest area in pixels, and ``1000000@>`` only
                shrinks to it. Surrounding blanks and a capital ``X`` are allowed.

        Raises:
            UsageError: The text is not a geometry, nothing would be left of the picture, a number is absurdly
                large, or the flags contradict each other.

        Source:
            ImageMagick, "Command-line Processing", Image Geometry. Texts that ImageMagick reads differently
            than their writer meant are refused: flags on percentages (without effect there), fractions of
            pixels, 0, offsets, ``50%x`` and ``x50%``.
        """
        written = text.strip().lower()
        geometry = _box(written) or _percent(written) or _area(written)
        if geometry is None:
            raise UsageError(
                f"{_shortened(text)!r} is not a size",
                hint="write 1920x, x1080, 1920x1080, 50% or 2000000@; pixel sizes may end in >, <, ^ or !",
            )
        return geometry

    @staticmethod
    def of_scale(scale: float) -> "Geometry":
        """Make a rule that multiplies each side by ``scale``.

        Raises:
            UsageError: The scale is not a positive number, or is absurdly large.
        """
        if not scale > 0:  # also true for NaN
            raise UsageError(f"a scale must be a number above zero, not {scale}")
        if scale > LARGEST_SCALE:
            raise UsageError(f"the scale {scale:g} is too large: the maximum is {LARGEST_SCALE:,.0f}")
        return _Factor(scale)

    @abstractmethod
    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of the result, (height, width), each at least 1.

        Args:
            height: Height of the source, in pixels.
            width: Width of the source, in pixels.
        """

    @property
    @abstractmethod
    def label(self) -> str:
        """Short text for the rule in names of folders. It has only letters, digits, dots and hyphens."""

    def file_label(self, size: tuple[int, int]) -> str:
        """Return a short text for the name of one result, whose size, (height, width), is known."""
        return self.label

    def factor_label(self, factor: float) -> str:
        """Return the factor of the rule as a short text, or that of one result if the rule has none."""
        return f"{round(factor, 3):g}"


@dataclass(frozen=True)
class _Factor(Geometry):
    """Multiply each side by a factor, with halves rounded to even."""

    factor: float

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        return max(1, round(height * self.factor)), max(1, round(width * self.factor))

    @property
    def label(self) -> str:
        return f"x{self.factor:g}"

    def factor_label(self, factor: float) -> str:
        """Return the factor of the rule. That of a result may differ, because sides are rounded."""
        return f"{self.factor:g}"


@dataclass(frozen=True)
class _Percent(Geometry):
    """Scale each side by its own percentage, with halves rounded up, as ImageMagick does."""

    across: float
    down: float

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        return _rounded(self.down * height / 100), _rounded(self.across * width / 100)

    def factor_label(self, factor: float) -> str:
        """Return the factor of the rule if it is one for both sides, else that of the result."""
        return f"{self.across / 100:.6g}" if self.across == self.down else super().factor_label(factor)

    @property
    def label(self) -> str:
        numbers = [self.across] if self.across == self.down else [self.across, self.down]
        return "x".join(f"{number:.10g}" for number in numbers) + "pct"


@dataclass(frozen=True)
class _Area(Geometry):
    """Limit the area and keep the aspect ratio. Sides are rounded down, as ImageMagick does."""

    area_px: int
    only_shrink: bool

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        if self.only_shrink and height * width <= self.area_px:
            return height, width
        return self._side(height, width), self._side(width, height)

    def _side(self, along: int, across: int) -> int:
        # This uses integers because the root of a float may fall just short of a whole number.
        side = math.isqrt(self.area_px * along // across)
        return min(max(1, side), self.area_px)

    def file_label(self, size: tuple[int, int]) -> str:
        """Return the size that the result has, which may be smaller than the one that was asked for."""
        return f"{size[1]}x{size[0]}"

    @property
    def label(self) -> str:
        return f"{self.area_px}px" + ("-shrink" if self.only_shrink else "")


@dataclass(frozen=True)
class _Box(Geometry):
    """Fit a picture to a box of pixels with ImageMagick's flags. A side that is None is unlimited."""

    width: int | None
    height: int | None
    flags: frozenset[str]

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        if "!" in self.flags:
            wanted = (self.height or height, self.width or width)
        else:
            factor = self._factor(height, width)
            wanted = (_rounded(factor * height), _rounded(factor * width))
        return self._limited(wanted[0], height), self._limited(wanted[1], width)

    def _factor(self, height: int, width: int) -> float:
        factors = [
            wanted / side
            for wanted, side in ((self.width, width), (self.height, height))
            if wanted is not None
        ]
        return max(factors) if "^" in self.flags else min(factors)

    def _limited(self, wanted: int, original: int) -> int:
        if ">" in self.flags:
            return min(wanted, original)
        return max(wanted, original) if "<" in self.flags else wanted

    def file_label(self, size: tuple[int, int]) -> str:
        """Return the size that the result has, which may be smaller than the one that was asked for."""
        return f"{size[1]}x{size[0]}"

    @property
    def label(self) -> str:
        box = f"{self.width or ''}x{self.height or ''}"
        words = (("^", "fill"), ("!", "exact"), (">", "shrink"), ("<", "enlarge"))
        return "-".join([box, *(word for flag, word in words if flag in self.flags)])


def _box(written: str) -> Geometry | None:
    match = _BOX.fullmatch(written)
    if match is None or not (match["width"] or match["height"]):
        return None
    flags = frozenset(match["flags"])
    for pair in _CONTRADICTIONS:
        if flags.issuperset(pair):
            raise UsageError(f"the size {written!r} contradicts itself: choose {pair[0]} or {pair[1]}")
    width, height = (_pixels(digits, written) for digits in match.group("width", "height"))
    if "^" in flags:  # a single side stands for a square to fill
        width, height = width or height, height or width
    return _Box(width, height, flags)


def _percent(written: str) -> Geometry | None:
    match = _PERCENT.fullmatch(written)
    if match is None:
        return None
    across = _checked(match["across"], LARGEST_PERCENT, written)
    down = match["down"] or match["down_bare"]
    return _Percent(across, _checked(down, LARGEST_PERCENT, written) if down else across)


def _area(written: str) -> Geometry | None:
    match = _AREA.fullmatch(written)
    if match is None:
        return None
    return _Area(int(_checked(match["area"], LARGEST_SIDE_PX**2, written)), bool(match["flags"]))


def _pixels(digits: str | None, written: str) -> int | None:
    return None if digits is None else int(_checked(digits, LARGEST_SIDE_PX, written))


def _checked(digits: str, largest: float, written: str) -> float:
    number = float(digits)
    if number == 0:
        raise UsageError(f"nothing would be left of a picture at the size {written!r}")
    if number > largest:
        raise UsageError(f"the size {_shortened(written)!r} is too large: the maximum is {largest:,.0f}")
    return number


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}..."


def _rounded(pixels: float) -> int:
    """Round halves up and keep at least one. Source: ImageMagick 6.9, ``ParseMetaGeometry``."""
    return max(1, math.floor(pixels + 0.5))
