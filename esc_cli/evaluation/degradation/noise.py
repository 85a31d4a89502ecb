"""Noise of sensors, and artifacts of JPEG."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from esc_cli.engine.pixels import from_unit, to_unit

_GRAY = (0.2989, 0.587, 0.114)


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
