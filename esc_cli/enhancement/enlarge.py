"""Enlarge pictures with the engine, handling their color, transparency, gray and frames."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self

import torch
from torch import Tensor

from esc_cli.engine.borders import NOT_WRAPPED, Wraps
from esc_cli.engine.upscaler import ProgressCallback, Upscaler
from esc_cli.enhancement.consistency import keep_flat, make_consistent
from esc_cli.enhancement.models import Models
from esc_cli.enhancement.options import EnhancementOptions
from esc_cli.enhancement.resize import resize, resize_with_alpha
from esc_cli.enhancement.size import Geometry
from esc_cli.enhancement.tone import tone_of
from esc_cli.enhancement.wrapping import Margins, wrapped_bleed
from esc_cli.media.picture import Picture, PictureFile
from esc_cli.media.pixels.alpha import largest_value
from esc_cli.media.pixels.depth import USUAL_WHITES

GRAY_STRIP_ROWS = 256
"""Rows converted to gray at a time, so that no float32 copy of a large result is made."""


@dataclass(frozen=True)
class Enlarged:
    """An enlarged picture, and how it was made.

    Attributes:
        picture: The enlarged picture.
        ways: A text for each pass that says how it was run; empty if no network was run.
    """

    picture: Picture
    ways: tuple[str, ...] = ()


@dataclass(frozen=True)
class EnlargedFile:
    """All enlarged pictures of a file.

    Attributes:
        file: The pictures.
        ways: How the first picture was made. See ``Enlarged``.
        repeated: Number of pictures that look like an earlier one and were not computed again.
    """

    file: PictureFile
    ways: tuple[str, ...]
    repeated: int


@dataclass(frozen=True)
class Enlarger:
    """Enlarge all pictures of a file.

    Attributes:
        models: Source of the networks.
        size: Rule for the size of the results.
        consistency: Whether to correct results until they nearly equal the input when made small again.
        job_px: Number of pixels of all pictures of a size, by (height, width), if there are many.
        alpha_is_data: Whether alpha is a channel of data, and the colors under alpha 0 count.
    """

    models: Models
    size: Geometry
    consistency: bool = False
    job_px: Mapping[tuple[int, int], int] = field(default_factory=dict)
    alpha_is_data: bool = False

    @classmethod
    def of(
        cls,
        options: EnhancementOptions,
        models: Models,
        size: Geometry,
        job_px: Mapping[tuple[int, int], int] = MappingProxyType({}),
    ) -> Self:
        """Make the enlarger of a run from its options. The other arguments are those of the class."""
        return cls(models, size, options.consistency, job_px, options.alpha_is_data)

    def __call__(self, file: PictureFile, progress: ProgressCallback | None = None) -> EnlargedFile:
        """Enlarge a still, or every frame and page. Pictures that share their pixels are enlarged once.

        Args:
            file: The file that was read.
            progress: Called with the work that is done and its total.

        Raises:
            OutOfMemoryError: The device has too little memory.
        """
        different = {id(picture.color): picture for picture in file.pictures}
        made = {
            key: self.to_size(picture, self.size_of(picture), share_of(progress, number, len(different)))
            for number, (key, picture) in enumerate(different.items())
        }
        whole = {
            id(low): dataclasses.replace(made[id(low.color)].picture, metadata=low.metadata)
            for low in file.pictures
        }
        pictures = tuple(whole[id(low)] for low in file.pictures)
        high = dataclasses.replace(file, pictures=pictures)
        return EnlargedFile(high, made[id(file.first.color)].ways, len(pictures) - len(made))

    def to_size(
        self, picture: Picture, size: tuple[int, int], progress: ProgressCallback | None = None
    ) -> Enlarged:
        """Enlarge a picture, or several of one size as (N, 3, H, W), to a given size, (height, width).

        Raises:
            OutOfMemoryError: The device has too little memory.
            UsageError: The size is out of the model's reach.
        """
        job_px = self.job_px.get((picture.height, picture.width))
        picture = dataclasses.replace(picture, alpha_is_data=self.alpha_is_data)
        upscaler, wraps = self.upscaler(picture, size), self.models.wraps
        return enlarge(picture, upscaler, size, self.consistency, progress, job_px, wraps)

    def size_of(self, picture: Picture) -> tuple[int, int]:
        """Return the size of a picture's result, (height, width)."""
        return self.size.size_of(picture.height, picture.width)

    def upscaler(self, picture: Picture, size: tuple[int, int]) -> Upscaler | None:
        """Return the upscaler that makes a result of a size, (height, width), or None if nothing is enlarged.

        Raises:
            UsageError: The size is out of the model's reach.
        """
        return self.models.upscaler(max(size[0] / picture.height, size[1] / picture.width))


def enlarge(
    picture: Picture,
    upscaler: Upscaler | None,
    size: tuple[int, int],
    consistency: bool = False,
    progress: ProgressCallback | None = None,
    job_px: int | None = None,
    wraps: Wraps = NOT_WRAPPED,
    samples: Picture | None = None,
) -> Enlarged:
    """Enlarge a picture, including its transparency and tone.

    Colors under transparent pixels are first filled from visible ones, so that the network sees no false
    edges, unless alpha is a channel of data. The alpha channel goes through the network as a gray picture.
    Values that are proportional to light are encoded like sRGB while the network sees them (see ``tone``). If
    the network's scale is above the requested one, the result is resized down. An arbitrary-scale network
    makes the requested size itself.

    Args:
        picture: Picture of any bit depth.
        upscaler: Upscaler with a scale at which the result has at least ``size``. None means that there is
            nothing to enlarge.
        size: Size of the result, (height, width).
        consistency: See ``Enlarger``.
        progress: Called with the work that is done and its total, in input pixels of all planes together.
        job_px: Number of pixels of all pictures of this size. The default is that of this picture.
        wraps: Axes along which the picture wraps, as the upscaler was told.
        samples: If the picture is a part of a larger one, a small picture that stands for the whole; see
            ``Upscaler.run``.

    Raises:
        OutOfMemoryError: The device has too little memory.
    """
    if upscaler is None:
        return Enlarged(_resized(picture, size, wraps))
    tone = tone_of(picture.metadata.icc_profile, picture.gray, _lights(picture))
    is_opaque = picture.alpha is None or _is_opaque(picture.alpha)

    def planes_of(one: Picture) -> list[Tensor]:
        low = one.color if tone is None else tone.encode(one.color)
        if one.alpha is None or is_opaque:
            return [low]
        counts = upscaler.keeps_pixels or one.alpha_is_data
        visible = low if counts else wrapped_bleed(low, one.alpha, wraps)
        return [visible, one.alpha.expand(-1, 3, -1, -1)]

    sampled = None if samples is None else planes_of(samples)
    highs, ways = _upscaled(planes_of(picture), upscaler, size, consistency, progress, job_px, sampled)
    color, alpha = highs[0], picture.alpha
    if alpha is not None:
        flat = alpha[..., :1, :1].expand(-1, -1, *color.shape[-2:])
        alpha = flat if is_opaque else make_gray(highs[1])[:, :1]
    color, alpha = _to_size(color, alpha, size, picture, wraps)
    if tone is not None:
        color = tone.decode(color, picture.color.dtype)
    color = make_gray(color) if picture.gray else color
    return Enlarged(dataclasses.replace(picture, color=color, alpha=alpha), ways)


def _lights(picture: Picture) -> tuple[float, float]:
    """Return the light that 0 and 1 stand for. Usual ranges of numbers in files say nothing about light."""
    return (0.0, 1.0) if picture.value_range[1] in USUAL_WHITES else picture.value_range


def _resized(picture: Picture, size: tuple[int, int], wraps: Wraps) -> Picture:
    """Shrink a picture, or keep its size, without a network."""
    color, alpha = _to_size(picture.color, picture.alpha, size, picture, wraps)
    return dataclasses.replace(picture, color=color, alpha=alpha)


def _to_size(
    color: Tensor, alpha: Tensor | None, size: tuple[int, int], picture: Picture, wraps: Wraps
) -> tuple[Tensor, Tensor | None]:
    """Resize colors and alpha, which weighs the colors unless it is a channel of data."""
    if wraps and color.shape[-2:] != size:
        wide = Margins.between((color.shape[-2], color.shape[-1]), size, wraps)
        wide_alpha = None if alpha is None else wide.add(alpha)
        high, high_alpha = _to_size(wide.add(color), wide_alpha, wide.size, picture, NOT_WRAPPED)
        return wide.crop(high), None if high_alpha is None else wide.crop(high_alpha)
    if alpha is None or not picture.alpha_is_data:
        return resize_with_alpha(color, alpha, *size, linear_light=True)
    return resize(color, *size, linear_light=True), resize(alpha, *size)


def make_gray(color: Tensor) -> Tensor:
    """Replace three planes, (1, 3, H, W) of any pixel type, by their luma, in place. Gray thus gets no tint.

    Source: Rec. ITU-R BT.601-7, whose weights Pillow's mode L also uses.
    """
    weights = torch.tensor((0.299, 0.587, 0.114)).view(1, 3, 1, 1)
    for rows in torch.split(color, GRAY_STRIP_ROWS, dim=2):
        luma = (rows.to(torch.float32) * weights).sum(dim=1, keepdim=True)
        rows.copy_(luma if color.is_floating_point() else luma.round_())
    return color


def share_of(progress: ProgressCallback | None, number: int, count: int) -> ProgressCallback | None:
    """Return a callback for one of several equal pieces of work."""
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
    samples: Sequence[Tensor] | None,
) -> tuple[list[Tensor], tuple[str, ...]]:
    """Upscale pictures of one size, (1, 3, H, W), by the upscaler's scale.

    An arbitrary-scale upscaler makes ``size`` instead, but keeps an axis along which ``size`` is smaller.
    If the pictures are parts, there are samples for each of them.

    Returns:
        The results, and how the first one was made.
    """
    height, width = (max(sides) for sides in zip(size, planes[0].shape[-2:], strict=True))
    results: list[Tensor] = []
    ways: tuple[str, ...] = ()
    for number, low in enumerate(planes):
        share = share_of(progress, number, len(planes))
        whole = None if samples is None else samples[number]
        result = upscaler.run(low, job_px=job_px, size=(height, width), progress=share, samples=whole)
        high = make_consistent(result.high, low) if consistency else result.high
        results.append(keep_flat(high, low, upscaler.wraps if whole is None else NOT_WRAPPED))
        ways = ways or result.ways
    return results, ways
