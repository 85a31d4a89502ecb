"""Blurs, sharpening, noise and JPEG, as lenses, sensors, programs and websites apply them to pictures."""

import io
import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from esc_cli.engine.pixels import from_unit, to_unit

_GRAY = (0.2989, 0.587, 0.114)
"""Weights of the colors in luma."""

_SHARPENING = 0.5
_SHARPENING_THRESHOLD = 10 / 255
_SHARPENING_SIDE_PX = 51
_SHARPENING_SIGMA_PX = 0.3 * ((_SHARPENING_SIDE_PX - 1) * 0.5 - 1) + 0.8  # OpenCV's default for this side


def gaussian_kernel(
    side_px: int,
    sigma_px: tuple[float, float],
    *,
    rotation: float = 0.0,
    shape: float = 1.0,
    plateau: bool = False,
) -> Tensor:
    """Make a Gaussian kernel, or a related kernel with a sharper or flatter top.

    Args:
        side_px: Side of the kernel, odd.
        sigma_px: Standard deviations along the two axes of the ellipse.
        rotation: Rotation of the ellipse, in radians.
        shape: Exponent of the squared distance; 1 is the Gaussian.
        plateau: Whether the kernel falls off as 1 / (1 + d) instead of exp(-d / 2).

    Returns:
        (side, side), float32, with sum 1.

    Source: Real-ESRGAN (arXiv 2107.10833), section 3.1, and its published code.
    """
    y, x = _grid(side_px)
    along = (x * math.cos(rotation) + y * math.sin(rotation)) / sigma_px[0]
    across = (y * math.cos(rotation) - x * math.sin(rotation)) / sigma_px[1]
    distance = (along**2 + across**2) ** shape
    return _normalised(1 / (1 + distance) if plateau else torch.exp(-distance / 2))


def sinc_kernel(side_px: int, cutoff: float) -> Tensor:
    """Make the kernel of the ideal two-dimensional low-pass filter. Its truncation causes ringing.

    Args:
        side_px: Side of the kernel, odd.
        cutoff: Highest frequency that passes, in radians per pixel, at most pi.

    Returns:
        (side, side), float32, with sum 1.

    Source: Real-ESRGAN (arXiv 2107.10833), equation 4.
    """
    y, x = _grid(side_px)
    radius = torch.hypot(x, y)
    at_centre = torch.tensor(cutoff**2 / (4 * math.pi), dtype=torch.float64)
    values = cutoff * torch.special.bessel_j1(cutoff * radius) / (2 * math.pi * radius)
    return _normalised(torch.where(radius == 0, at_centre, values))


def blur(picture: Tensor, kernel: Tensor) -> Tensor:
    """Convolve each channel of (N, C, H, W), float32, with a symmetric kernel; the border is repeated.

    The convolution uses the Fourier transform: with a kernel of 21x21 on 224x224 pixels, it takes 3.1 ms on
    one core, and a direct convolution takes 19.4 ms. The published code mirrors the border, which needs
    pictures larger than the kernel.
    """
    pad = kernel.shape[-1] // 2
    padded = F.pad(picture, (pad,) * 4, mode="replicate")  # (N, C, H + 2p, W + 2p)
    size = padded.shape[-2:]
    spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(kernel.to(picture.device), size)
    convolved: Tensor = torch.fft.irfft2(spectrum, size)
    return convolved[..., 2 * pad :, 2 * pad :]  # the rest has wrapped around


def sharpen(picture: Tensor) -> Tensor:
    """Sharpen (N, C, H, W), float32 in [0, 1], with an unsharp mask, except in flat areas.

    Source: Real-ESRGAN (arXiv 2107.10833), section 3.4, and its published code: half the difference from a
    blurred copy is added near differences above 10 of 255.
    """
    sigma = _SHARPENING_SIGMA_PX
    kernel = gaussian_kernel(_SHARPENING_SIDE_PX, (sigma, sigma))
    detail = picture - blur(picture, kernel)
    mask = blur((detail.abs() > _SHARPENING_THRESHOLD).to(picture.dtype), kernel)
    sharp = (picture + _SHARPENING * detail).clamp(0, 1)
    return mask * sharp + (1 - mask) * picture


def _grid(side_px: int) -> tuple[Tensor, Tensor]:
    offsets = torch.arange(side_px, dtype=torch.float64) - (side_px - 1) / 2
    y, x = torch.meshgrid(offsets, offsets, indexing="ij")
    return y, x


def _normalised(kernel: Tensor) -> Tensor:
    return (kernel / kernel.sum()).to(torch.float32)


def add_gaussian_noise(picture: Tensor, sigma: float, *, gray: bool, random: np.random.Generator) -> Tensor:
    """Add noise of the same strength everywhere.

    Args:
        picture: (N, 3, H, W), float32 in [0, 1].
        sigma: Standard deviation, for values from 0 to 255.
        gray: Whether all three colors get the same noise.
        random: Random generator of the noise.

    Returns:
        (N, 3, H, W), clamped to [0, 1].
    """
    channels = 1 if gray else picture.shape[1]
    noise = random.standard_normal((len(picture), channels, *picture.shape[-2:]), dtype=np.float32)
    return (picture + torch.from_numpy(noise).to(picture.device) * (sigma / 255)).clamp(0, 1)


def add_poisson_noise(picture: Tensor, strength: float, *, gray: bool, random: np.random.Generator) -> Tensor:
    """Add noise that grows with the light, like the noise of photon counts.

    Args:
        picture: (N, 3, H, W), float32 in [0, 1].
        strength: Factor of the noise.
        gray: Whether all three colors get the same noise, that of the picture's luma.
        random: Random generator of the noise.

    Returns:
        (N, 3, H, W), clamped to [0, 1].

    Source: Real-ESRGAN (arXiv 2107.10833), section 3.1, and its published code: white is as many photons as
    the picture has different values, rounded up to a power of two.
    """
    weights = picture.new_tensor(_GRAY).view(1, 3, 1, 1)
    source = (picture * weights).sum(1, keepdim=True) if gray else picture
    stored = from_unit(source.clone(), torch.uint8).cpu()
    photons = 2 ** int(np.ceil(np.log2(len(torch.unique(stored)))))
    light = to_unit(stored)
    counted = torch.from_numpy(random.poisson(light.numpy() * photons).astype(np.float32))
    noise: Tensor = (counted / photons - light).to(picture.device)
    return (picture + strength * noise).clamp(0, 1)


def compress_jpeg(picture: Tensor, quality: int) -> Tensor:
    """Encode as JPEG and decode again, with libjpeg and its default 4:2:0 subsampling.

    Args:
        picture: (N, 3, H, W), float32 in [0, 1]. It is first rounded to 8 bits. If it is on another device,
            it is copied to the CPU and back.
        quality: JPEG quality, 1 to 95.

    Returns:
        (N, 3, H, W), float32, multiples of 1 / 255.
    """
    stored = from_unit(picture.clone(), torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    decoded = torch.stack([_through_jpeg(one, quality) for one in stored])
    return to_unit(decoded.permute(0, 3, 1, 2).to(picture.device))


def _through_jpeg(pixels: np.ndarray, quality: int) -> Tensor:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    with Image.open(file) as picture:
        return torch.from_numpy(np.array(picture))
