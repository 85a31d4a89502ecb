"""How pictures from the wild came to be small: blur, resize, noise and JPEG, by chance, once or twice."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from esc_cli.engine.pixels import from_unit, to_unit
from esc_cli.enhancement.resize import resize
from esc_cli.evaluation.degradation.bicubic import downscale
from esc_cli.evaluation.degradation.filters import blur, gaussian_kernel, sinc_kernel
from esc_cli.evaluation.degradation.noise import add_gaussian_noise, add_poisson_noise, compress_jpeg

Range = tuple[float, float]
"""From, to: drawn evenly between the two."""

ResizeMethod = Literal["area", "bilinear", "bicubic", "antialiased"]

WildDegradation = Literal["robust", "real"]

_SINC_CUTOFF = (math.pi / 3, math.pi)


@dataclass(frozen=True)
class BlurRanges:
    """A blur.

    Attributes:
        chance: That there is one.
        sinc_chance: That it rings.
        shape_chances: Of the other kernels: Gaussian, generalised Gaussian and plateau, each round and
            elliptic.
        sides_px: Smallest and largest side of the kernel, odd.
        sigma_px: Standard deviation.
        generalised_shape: Exponent of generalised Gaussians, half of them below 1.
        plateau_shape: Exponent of plateaus, half of them below 1.
    """

    chance: float
    sinc_chance: float
    shape_chances: tuple[float, float, float, float, float, float]
    sides_px: tuple[int, int]
    sigma_px: Range
    generalised_shape: Range = (0.5, 4)
    plateau_shape: Range = (1, 2)


@dataclass(frozen=True)
class ResizeRanges:
    """A change of size.

    Attributes:
        relative_to: What the factor is of: the size that there is, or that of the result.
        chances: Of larger, smaller and neither.
        factors: Smallest and largest.
        methods: One of them is drawn; all but the last of ``ResizeMethod`` alias, as programs do.
    """

    relative_to: Literal["picture", "result"]
    chances: tuple[float, float, float]
    factors: Range
    methods: tuple[ResizeMethod, ...]


@dataclass(frozen=True)
class NoiseRanges:
    """Noise.

    Attributes:
        chance: That there is any.
        gaussian_chance: That it is Gaussian, and not Poisson's.
        sigma: Standard deviation of Gaussian noise, of values 0 to 255.
        poisson_strength: Factor of Poisson noise.
        gray_chance: That all colors have the same.
    """

    chance: float
    gaussian_chance: float
    sigma: Range
    poisson_strength: Range
    gray_chance: float


@dataclass(frozen=True)
class JpegRanges:
    """A compression, with the chance that there is one and its smallest and largest quality."""

    chance: float
    quality: tuple[int, int]


@dataclass(frozen=True)
class Stage:
    """What happens to a picture at one hand, in this order."""

    blur: BlurRanges
    resize: ResizeRanges
    noise: NoiseRanges
    jpeg: JpegRanges


@dataclass(frozen=True)
class Degradation:
    """All that happens to a picture.

    Attributes:
        stages: One after the other; before or after the last one's JPEG the picture gets its final size.
        final_sinc_chance: That it then rings.
        jpeg_last_chance: That the last JPEG comes after that.
        clean_chance: That nothing happens but the antialiased bicubic of the papers' protocol.
    """

    stages: tuple[Stage, ...]
    final_sinc_chance: float
    jpeg_last_chance: float
    clean_chance: float


def recipe_of(name: WildDegradation, scale: int) -> Degradation:
    """Give the ranges that go by a name.

    Args:
        name: ``robust``: from clean pictures to JPEG of quality 30, some with slight blur or noise, as
            cameras and the web have them. ``real``: the second order degradation of Real-ESRGAN.
        scale: Pixels out per pixel in.

    Source: ``real``: Real-ESRGAN (arXiv 2107.10833), section 3, and its published options, which are the
    same for every scale. ``robust`` is ours.
    """
    return _real() if name == "real" else _robust(scale)


def degrade(high: Tensor, scale: int, recipe: Degradation, random: np.random.Generator) -> Tensor:
    """Make small and bad pictures of good ones, all of them in the same way.

    Args:
        high: (N, 3, H, W), float32 in [0, 1], sides multiples of ``scale``, on any device.
        scale: Pixels out per pixel in.
        recipe: What may happen.
        random: Decides what does, so that the same generator gives the same result on a CPU.

    Returns:
        (N, 3, H / scale, W / scale), float32, multiples of 1 / 255.
    """
    if random.random() < recipe.clean_chance:
        return _stored(downscale(high, scale))
    size = (high.shape[-2] // scale, high.shape[-1] // scale)
    picture = high
    for stage in recipe.stages[:-1]:
        picture = _compressed(_through(picture, size, stage, random), stage.jpeg, random)
    last = recipe.stages[-1]
    picture = _through(picture, size, last, random)
    if random.random() < recipe.jpeg_last_chance:
        return _stored(_compressed(_finished(picture, size, recipe, random), last.jpeg, random))
    return _stored(_finished(_compressed(picture, last.jpeg, random), size, recipe, random))


def _through(picture: Tensor, size: tuple[int, int], stage: Stage, random: np.random.Generator) -> Tensor:
    blurred = _blurred(picture, stage.blur, random)
    resized = _resized(blurred, size, stage.resize, random)
    return _noisy(resized.clamp(0, 1), stage.noise, random)


def _blurred(picture: Tensor, ranges: BlurRanges, random: np.random.Generator) -> Tensor:
    if random.random() >= ranges.chance:
        return picture
    side = _drawn_side(ranges.sides_px, random)
    if random.random() < ranges.sinc_chance:
        # The published code lets small kernels blur less: a low cut-off needs room.
        lowest = math.pi / 3 if side < 13 else math.pi / 5
        return blur(picture, sinc_kernel(side, random.uniform(lowest, math.pi)))
    return blur(picture, _drawn_kernel(side, ranges, random))


def _drawn_kernel(side_px: int, ranges: BlurRanges, random: np.random.Generator) -> Tensor:
    kind, elliptic = divmod(int(random.choice(6, p=ranges.shape_chances)), 2)
    sigma_x, sigma_y = random.uniform(*ranges.sigma_px, size=2)
    shapes = ((1.0, 1.0), ranges.generalised_shape, ranges.plateau_shape)[kind]
    return gaussian_kernel(
        side_px,
        (sigma_x, sigma_y if elliptic else sigma_x),
        rotation=random.uniform(-math.pi, math.pi),
        shape=_drawn_shape(shapes, random),
        plateau=kind == 2,
    )


def _drawn_shape(shapes: Range, random: np.random.Generator) -> float:
    """Draw below 1 as often as above, as published, however much wider one side is."""
    smallest, largest = shapes
    below = random.random() < 0.5
    return float(random.uniform(smallest, 1) if below else random.uniform(1, largest))


def _drawn_side(sides_px: tuple[int, int], random: np.random.Generator) -> int:
    smallest, largest = sides_px
    return smallest + 2 * int(random.integers((largest - smallest) // 2 + 1))


def _resized(
    picture: Tensor, size: tuple[int, int], ranges: ResizeRanges, random: np.random.Generator
) -> Tensor:
    smallest, largest = ranges.factors
    factor = (random.uniform(1, largest), random.uniform(smallest, 1), 1.0)[
        random.choice(3, p=ranges.chances)
    ]
    height, width = picture.shape[-2:] if ranges.relative_to == "picture" else size
    return _to_size(picture, (max(1, int(height * factor)), max(1, int(width * factor))), ranges, random)


def _to_size(
    picture: Tensor, size: tuple[int, int], ranges: ResizeRanges, random: np.random.Generator
) -> Tensor:
    method = ranges.methods[random.integers(len(ranges.methods))]
    if picture.shape[-2:] == size:
        return picture
    return resize(picture, *size) if method == "antialiased" else F.interpolate(picture, size, mode=method)


def _noisy(picture: Tensor, ranges: NoiseRanges, random: np.random.Generator) -> Tensor:
    if random.random() >= ranges.chance:
        return picture
    gaussian, gray = random.random() < ranges.gaussian_chance, random.random() < ranges.gray_chance
    if gaussian:
        return add_gaussian_noise(picture, random.uniform(*ranges.sigma), gray=gray, random=random)
    strength = random.uniform(*ranges.poisson_strength)
    return add_poisson_noise(picture, strength, gray=gray, random=random)


def _compressed(picture: Tensor, ranges: JpegRanges, random: np.random.Generator) -> Tensor:
    if random.random() >= ranges.chance:
        return picture
    lowest, highest = ranges.quality
    return compress_jpeg(picture, int(random.integers(lowest, highest + 1)))


def _finished(
    picture: Tensor, size: tuple[int, int], recipe: Degradation, random: np.random.Generator
) -> Tensor:
    last = recipe.stages[-1]
    resized = _to_size(picture, size, last.resize, random)
    if random.random() >= recipe.final_sinc_chance:
        return resized.clamp(0, 1)
    side = _drawn_side(last.blur.sides_px, random)
    return blur(resized, sinc_kernel(side, random.uniform(*_SINC_CUTOFF))).clamp(0, 1)


def _stored(picture: Tensor) -> Tensor:
    return to_unit(from_unit(picture.clone(), torch.uint8))


def _real() -> Degradation:
    shapes = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    methods: tuple[ResizeMethod, ...] = ("area", "bilinear", "bicubic")
    first = Stage(
        BlurRanges(1.0, 0.1, shapes, (7, 21), (0.2, 3)),
        ResizeRanges("picture", (0.2, 0.7, 0.1), (0.15, 1.5), methods),
        NoiseRanges(1.0, 0.5, (1, 30), (0.05, 3), 0.4),
        JpegRanges(1.0, (30, 95)),
    )
    second = Stage(
        BlurRanges(0.8, 0.1, shapes, (7, 21), (0.2, 1.5)),
        ResizeRanges("result", (0.3, 0.4, 0.3), (0.3, 1.2), methods),
        NoiseRanges(1.0, 0.5, (1, 25), (0.05, 2.5), 0.4),
        JpegRanges(1.0, (30, 95)),
    )
    return Degradation((first, second), final_sinc_chance=0.8, jpeg_last_chance=0.5, clean_chance=0.0)


def _robust(scale: int) -> Degradation:
    stage = Stage(
        # Up to half a pixel of the small picture: a slight blur; more is another picture's business.
        BlurRanges(0.25, 0.0, (0.7, 0.3, 0, 0, 0, 0), (21, 21), (0.1 * scale, 0.5 * scale)),
        ResizeRanges("result", (0, 0, 1), (1, 1), ("antialiased",)),
        NoiseRanges(0.3, 0.7, (0.5, 8), (0.05, 0.6), 0.4),
        JpegRanges(0.85, (30, 98)),
    )
    # A third stays clean: what is good already shall not become soft.
    return Degradation((stage,), final_sinc_chance=0.0, jpeg_last_chance=1.0, clean_chance=1 / 3)
