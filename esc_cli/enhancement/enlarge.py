"""Pictures through the engine: color, transparency, gray and frames each in the way that suits it."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from esc_cli.engine.upscaler import ProgressCallback, Upscaler
from esc_cli.enhancement.bleeding import bleed
from esc_cli.enhancement.consistency import keep_flat, make_consistent
from esc_cli.enhancement.models import Models
from esc_cli.enhancement.resize import resize_with_alpha
from esc_cli.enhancement.size import Geometry
from esc_cli.enhancement.tone import tone_of
from esc_cli.media.picture import Picture, PictureFile
from esc_cli.media.pixels.alpha import largest_value

GRAY_STRIP_ROWS = 256
"""Rows turned to gray at a time, so that no wide copy of a large result is made."""


@dataclass(frozen=True)
class Enlarged:
    """A larger picture, and how it was made.

    Attributes:
        picture: The result.
        ways: How it went through the networks, a sentence for each pass; none where none was run.
    """

    picture: Picture
    ways: tuple[str, ...] = ()


@dataclass(frozen=True)
class EnlargedFile:
    """All pictures of a file made larger, and how the first one was made; see ``Enlarged``."""

    file: PictureFile
    ways: tuple[str, ...]


@dataclass(frozen=True)
class Enlarger:
    """Makes all pictures of a file larger.

    Attributes:
        models: Where the networks come from.
        size: Of the results.
        consistency: Whether results are corrected until, made small again, they are the input.
        job_px: The pixels of all pictures of a size, (height, width), where there are many.
    """

    models: Models
    size: Geometry
    consistency: bool = False
    job_px: Mapping[tuple[int, int], int] = field(default_factory=dict)

    def __call__(self, file: PictureFile, progress: ProgressCallback | None = None) -> EnlargedFile:
        """Enlarge a still, or every frame and page; those which are one object are done once.

        Args:
            file: What was read.
            progress: Takes the work done and to do.

        Raises:
            OutOfMemoryError: The device has too little memory.
        """
        different = {id(picture): picture for picture in file.pictures}
        made = {
            key: self.to_size(picture, self._size_of(picture), share_of(progress, number, len(different)))
            for number, (key, picture) in enumerate(different.items())
        }
        results = [made[id(picture)] for picture in file.pictures]
        pictures = tuple(result.picture for result in results)
        return EnlargedFile(dataclasses.replace(file, pictures=pictures), results[0].ways)

    def to_size(
        self, picture: Picture, size: tuple[int, int], progress: ProgressCallback | None = None
    ) -> Enlarged:
        """Enlarge a picture, or several of one size as (N, 3, H, W), to a size of its own."""
        job_px = self.job_px.get((picture.height, picture.width))
        return enlarge(picture, self._upscaler(picture, size), size, self.consistency, progress, job_px)

    def _size_of(self, picture: Picture) -> tuple[int, int]:
        return self.size.size_of(picture.height, picture.width)

    def _upscaler(self, picture: Picture, size: tuple[int, int]) -> Upscaler | None:
        return self.models.upscaler(max(size[0] / picture.height, size[1] / picture.width))


def enlarge(
    picture: Picture,
    upscaler: Upscaler | None,
    size: tuple[int, int],
    consistency: bool = False,
    progress: ProgressCallback | None = None,
    job_px: int | None = None,
) -> Enlarged:
    """Upscale a picture with all that belongs to it.

    Under transparent pixels color is continued from the visible ones first, so that the network sees no
    false edges; transparency itself goes through the network as gray. Values which are not encoded in the way
    of sRGB are, while the network looks at them. Where its scale is above the one asked for, the result is
    resized down to it; a network for any scale makes the size itself.

    Args:
        picture: Of any depth.
        upscaler: Of a scale at which the result has ``size`` or more; None: there is nothing to enlarge.
        size: Of the result, (height, width).
        consistency: As of ``Enlarger``.
        progress: Takes the work done and to do, in input pixels of all planes together.
        job_px: Of all pictures of this size; by default of this one.

    Raises:
        OutOfMemoryError: The device has too little memory.
    """
    if upscaler is None:
        return Enlarged(_resized(picture, size))
    tone = tone_of(picture.metadata.icc_profile, picture.gray)
    low = picture.color if tone is None else tone.encode(picture.color)
    if picture.alpha is None or _is_opaque(picture.alpha):
        (color,), ways = _upscaled([low], upscaler, size, consistency, progress, job_px)
        alpha = (
            None if picture.alpha is None else picture.alpha[..., :1, :1].expand(-1, -1, *color.shape[-2:])
        )
    else:
        visible = low if upscaler.keeps_pixels else bleed(low, picture.alpha)
        planes = [visible, picture.alpha.expand(-1, 3, -1, -1)]
        (color, gray_alpha), ways = _upscaled(planes, upscaler, size, consistency, progress, job_px)
        alpha = make_gray(gray_alpha)[:, :1]
    color, alpha = resize_with_alpha(color, alpha, *size, linear_light=True)
    if tone is not None:
        color = tone.decode(color, picture.color.dtype)
    color = make_gray(color) if picture.gray else color
    return Enlarged(dataclasses.replace(picture, color=color, alpha=alpha), ways)


def _resized(picture: Picture, size: tuple[int, int]) -> Picture:
    """Make a picture smaller, or leave it as large as it is: there is nothing for a network to do."""
    color, alpha = resize_with_alpha(picture.color, picture.alpha, *size, linear_light=True)
    return dataclasses.replace(picture, color=color, alpha=alpha)


def make_gray(color: Tensor) -> Tensor:
    """Replace three planes, (1, 3, H, W) of any pixel type, by their luma, in place: gray gets no tint.

    Source: Rec. ITU-R BT.601-7, the weights that Pillow's mode L has.
    """
    weights = torch.tensor((0.299, 0.587, 0.114)).view(1, 3, 1, 1)
    for rows in torch.split(color, GRAY_STRIP_ROWS, dim=2):
        luma = (rows.to(torch.float32) * weights).sum(dim=1, keepdim=True)
        rows.copy_(luma if color.is_floating_point() else luma.round_())
    return color


def share_of(progress: ProgressCallback | None, number: int, count: int) -> ProgressCallback | None:
    """Make a callback for one of several equal pieces of work."""
    if progress is None or count == 1:
        return progress
    return lambda done, total: progress(number * total + done, count * total)


def _is_opaque(alpha: Tensor) -> bool:
    return bool((alpha == largest_value(alpha.dtype)).all())


def _upscaled(
    planes: Sequence[Tensor],
    upscaler: Upscaler,
    size: tuple[int, int],
    consistency: bool,
    progress: ProgressCallback | None,
    job_px: int | None,
) -> tuple[list[Tensor], tuple[str, ...]]:
    """Upscale pictures of one size, (1, 3, H, W), by the upscaler's scale, or if it does any to ``size``.

    An axis along which ``size`` is smaller stays as long as it is.

    Returns:
        The results, and how the first one was made.
    """
    height, width = (max(sides) for sides in zip(size, planes[0].shape[-2:], strict=True))
    results: list[Tensor] = []
    ways: tuple[str, ...] = ()
    for number, low in enumerate(planes):
        share = share_of(progress, number, len(planes))
        result = upscaler.run(low, job_px=job_px, size=(height, width), progress=share)
        high = make_consistent(result.high, low) if consistency else result.high
        results.append(keep_flat(high, low))
        ways = ways or result.ways
    return results, ways
