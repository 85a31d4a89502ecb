"""Whole pictures as they are shown, and how well they agree with an original."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import isfinite
from pathlib import Path

from torch import Tensor

from esc_cli.evaluation.metrics import crop_border, luma, psnr, ssim
from esc_cli.media.color.conversion import to_srgb
from esc_cli.media.picture import Picture
from esc_cli.media.pixels.alpha import composite
from esc_cli.media.probe import probe
from esc_cli.media.read import read_picture
from esc_cli.media.write import WHITE


@dataclass(frozen=True)
class Shown:
    """A whole picture of a comparison, as it is shown.

    Attributes:
        name: Name of the picture, such as that of the model that made it.
        color: Pixels (1, 3, H, W), uint8, sRGB, opaque.
        psnr: PSNR without a border, in dB; None if nothing is compared.
        ssim: SSIM without a border; None if nothing is compared.
        seconds: Time that enlarging took; None if the picture was there before.
    """

    name: str
    color: Tensor
    psnr: float | None = None
    ssim: float | None = None
    seconds: float | None = None

    def facts(self) -> dict[str, str]:
        """Return the figures as texts, by their names."""
        height, width = self.color.shape[-2:]
        facts = {"size": f"{width}x{height}"}
        if self.psnr is not None:
            facts["PSNR, dB"] = f"{self.psnr:.2f}" if isfinite(self.psnr) else "equal"
        if self.ssim is not None:
            facts["SSIM"] = f"{self.ssim:.4f}"
        if self.seconds is not None:
            facts["seconds"] = f"{self.seconds:.2f}"
        return facts


@dataclass(frozen=True)
class Original:
    """A picture that others are compared with.

    Attributes:
        color: Pixels as they are shown, (1, 3, H, W), uint8.
        gray: Whether it and the others are gray.
        border_px: Width of the border that is not compared.
    """

    color: Tensor
    gray: bool
    border_px: int


def as_shown(picture: Picture) -> Picture:
    """Return a picture as it is shown: opaque, in sRGB.

    Args:
        picture: Picture of any depth, which is kept.
    """
    picture = to_srgb(picture)
    if picture.alpha is None:
        return picture
    return replace(picture, color=composite(picture.color, picture.alpha, WHITE), alpha=None)


def compared(name: str, color: Tensor, original: Original | None, seconds: float | None = None) -> Shown:
    """Return a picture with its scores.

    Args:
        name: Name of the picture.
        color: Pixels as they are shown, (1, 3, H, W), uint8.
        original: Picture of the same size to compare with, or None.
        seconds: Time that enlarging took, or None.
    """
    if original is None:
        return Shown(name, color, seconds=seconds)
    truth, result = (crop_border(one, original.border_px) for one in (original.color, color))
    plane = partial(luma, gray=original.gray)  # of some rows at a time: whole planes take 8 bytes a pixel
    return Shown(name, color, psnr(truth, result, plane), ssim(truth, result, plane), seconds)


def sizes_of_files(sources: Sequence[Path], original: Path | None = None) -> list[tuple[int, int]]:
    """Return the size (height, width) of each picture that ``show_files`` yields, in the same order.

    Raises:
        InputError: A file cannot be read.
    """
    known = [probe(path) for path in (*(() if original is None else (original,)), *sources)]
    return [(one.height, one.width) for one in known]


def show_files(sources: Sequence[Path], original: Path | None = None) -> Iterator[Shown]:
    """Read finished pictures to compare them as they are, one after the other.

    Args:
        sources: Paths of the pictures.
        original: Path of the picture that those of its size are compared with. It comes first.

    Raises:
        InputError: A file cannot be read.
    """
    truth = None
    if original is not None:
        picture = as_shown(read_picture(original))
        truth = Original(picture.color, picture.gray, border_px=1)
        yield Shown("original", truth.color)
    for source in sources:
        yield _finished(source, truth)


def _finished(source: Path, truth: Original | None) -> Shown:
    """Read a picture, and compare it with the original if it has the original's size."""
    color = as_shown(read_picture(source)).color
    is_like = truth is not None and color.shape == truth.color.shape
    return compared(source.name, color, truth if is_like else None)
