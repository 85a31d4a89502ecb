"""Random degradations of pictures in the wild: blur, resizing, noise and JPEG, once or twice."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from esc_cli.engine.pixels import from_unit, to_unit
from esc_cli.enhancement.resize import resize
from esc_cli.evaluation.degradation.artifacts import (
    add_gaussian_noise,
    add_poisson_noise,
    blur,
    compress_jpeg,
    gaussian_kernel,
    sinc_kernel,
)
from esc_cli.evaluation.degradation.bicubic import downscale
from esc_cli.evaluation.degradation.names import WildDegradation

Range = tuple[float, float]
"""Smallest and largest value, between which a value is drawn uniformly."""

ResizeMethod = Literal["area", "bilinear", "bicubic", "antialiased"]

_SINC_CUTOFF = (math.pi / 3, math.pi)
"""Range of the cutoff of the final sinc filter, in radians per pixel."""


@dataclass(frozen=True)
class BlurRanges:
    """Ranges of a random blur.

    Attributes:
        chance: Probability of a blur.
        sinc_chance: Probability that its kernel is a sinc, which causes ringing.
        shape_chances: Probabilities of the other kernels: Gaussian, generalized Gaussian and plateau, each
            round and elliptic.
        sides_px: Smallest and largest side of the kernel, odd.
        sigma_px: Standard deviation.
        generalised_shape: Exponent of generalized Gaussians, half of them below 1.
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
    """Ranges of a random change of size.

    Attributes:
        relative_to: Size that the factor is applied to: the current size of the picture, or the size of the
            result.
        chances: Probabilities of enlarging, shrinking and keeping the size.
        factors: Smallest and largest factor.
        methods: Methods, one of which is drawn. All but the last of ``ResizeMethod`` alias, as in many
            programs.
    """

    relative_to: Literal["picture", "result"]
    chances: tuple[float, float, float]
    factors: Range
    methods: tuple[ResizeMethod, ...]


@dataclass(frozen=True)
class NoiseRanges:
    """Ranges of random noise.

    Attributes:
        chance: Probability of noise.
        gaussian_chance: Probability that the noise is Gaussian instead of Poisson noise.
        sigma: Standard deviation of Gaussian noise, for values from 0 to 255.
        poisson_strength: Factor of Poisson noise.
        gray_chance: Probability that all colors have the same noise.
    """

    chance: float
    gaussian_chance: float
    sigma: Range
    poisson_strength: Range
    gray_chance: float


@dataclass(frozen=True)
class JpegRanges:
    """Probability of a JPEG compression, and its smallest and largest quality."""

    chance: float
    quality: tuple[int, int]


@dataclass(frozen=True)
class Stage:
    """One stage of a degradation. Its steps are applied in this order."""

    blur: BlurRanges
    resize: ResizeRanges
    noise: NoiseRanges
    jpeg: JpegRanges


@dataclass(frozen=True)
class Degradation:
    """The whole degradation of a picture.

    Attributes:
        stages: Stages, applied one after the other. The picture is resized to its final size before or after
            the JPEG compression of the last stage.
        final_sinc_chance: Probability of a sinc filter, which causes ringing, after this final resize.
        jpeg_last_chance: Probability that the last JPEG compression comes after the final resize.
        clean_chance: Probability that the antialiased bicubic of the papers' protocol is all that is applied.
    """

    stages: tuple[Stage, ...]
    final_sinc_chance: float
    jpeg_last_chance: float
    clean_chance: float


def recipe_of(name: WildDegradation, scale: int) -> Degradation:
    """Return the ranges of a named degradation.

    Args:
        name: ``robust`` covers clean pictures to JPEG of quality 30, some with slight blur or noise, as they
            come from cameras and the web. ``real`` is the second-order degradation of Real-ESRGAN.
        scale: Output pixels per input pixel.

    Source: ``real``: Real-ESRGAN (arXiv 2107.10833), section 3, and its published options, which are the
    same for every scale. ``robust`` is ours.
    """
    return RECIPES[name](scale)


def degrade(high: Tensor, scale: int, recipe: Degradation, random: np.random.Generator) -> Tensor:
    """Shrink and degrade pictures, all of them in the same way.

    Args:
        high: (N, 3, H, W), float32 in [0, 1], on any device. The sides must be multiples of ``scale``.
        scale: Output pixels per input pixel.
        recipe: Ranges of the degradation.
        random: Random generator of all choices. On a CPU, the same generator gives the same result.

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
        # As in the published code, small kernels blur less: a low cutoff needs room.
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
    """Draw values below 1 as often as above, as published, even if one side is much wider."""
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


def _real(_: int) -> Degradation:
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
        # A slight blur, up to half a low-resolution pixel. This recipe is not for stronger blur.
        BlurRanges(0.25, 0.0, (0.7, 0.3, 0, 0, 0, 0), (21, 21), (0.1 * scale, 0.5 * scale)),
        ResizeRanges("result", (0, 0, 1), (1, 1), ("antialiased",)),
        NoiseRanges(0.3, 0.7, (0.5, 8), (0.05, 0.6), 0.4),
        JpegRanges(0.85, (30, 98)),
    )
    # A third of the pictures stays clean, so that good pictures do not become soft.
    return Degradation((stage,), final_sinc_chance=0.0, jpeg_last_chance=1.0, clean_chance=1 / 3)


RECIPES: Mapping[WildDegradation, Callable[[int], Degradation]] = {"robust": _robust, "real": _real}
"""Functions that make the ranges for a scale, by the name of the degradation."""
