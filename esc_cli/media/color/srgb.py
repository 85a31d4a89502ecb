"""The tone curve of sRGB, for values and light from 0 to 1."""

import torch
from torch import Tensor


def light_of(values: Tensor) -> Tensor:
    """Undo the tone curve. Source: IEC 61966-2-1:1999, 5.2."""
    return torch.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def encoded(light: Tensor) -> Tensor:
    """Apply the tone curve. Source: IEC 61966-2-1:1999, 5.2."""
    return torch.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
