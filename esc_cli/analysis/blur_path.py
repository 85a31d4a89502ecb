"""Attribution along a path: as a picture loses its blur, which pixels bring what is seen in the result?"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F

from esc_cli.engine.memory.free import free_bytes
from esc_cli.errors import OutOfMemoryError
from esc_cli.networks.padding import reflect_pad

_USABLE = 0.8
"""Share of the free memory that may be kept for going back: 0.9 of what a pass takes in all is kept (ESC x4
and ESC-light x2 at 64x64 and 128x128)."""


def gradient(objective: Callable[[Tensor], Tensor], picture: Tensor) -> Tensor:
    """Differentiate an objective by the pixels of a picture.

    Args:
        objective: Takes the picture and gives a number.
        picture: Floating point, any shape.

    Returns:
        The picture's shape, dtype and device.

    Raises:
        OutOfMemoryError: The device has too little memory; the host is asked beforehand, which would end
            the program instead.
    """
    with torch.enable_grad():
        point = picture.detach().requires_grad_()
        with _limited_bytes(int(_USABLE * free_bytes(picture.device))):
            value = objective(point)
        return torch.autograd.grad(value, point)[0]


@contextmanager
def _limited_bytes(limit_bytes: int) -> Iterator[None]:
    """Stop as soon as more than that is kept for going back."""
    kept_bytes: dict[int, int] = {}  # by the address of each storage, of which several tensors may be views

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept_bytes[storage.data_ptr()] = storage.nbytes()
        if sum(kept_bytes.values()) > limit_bytes:
            raise OutOfMemoryError(
                f"the gradients need more than the {limit_bytes / 10**9:.1f} GB that there are for them",
                hint="take a smaller crop of the picture",
            )
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        yield


SIGMA_PX, STEPS = 1.2, 50
"""Of the blur at the beginning of the path, and how many steps it is taken off in: the published ones."""

_RADIUS_PX = 4
"""The published kernel is 9x9."""


def path_attribution(
    objective: Callable[[Tensor], Tensor],
    picture: Tensor,
    steps: int = STEPS,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Share what an objective gains from a picture's details among its pixels.

    Args:
        objective: Takes a picture of the same shape and gives a number, differentiable.
        picture: (N, C, H, W), floating point.
        steps: Of the path.
        progress: Is told how many steps are done, of how many.

    Returns:
        (N, C, H, W), of either sign: each step's gradient times what the picture changed in the step. The
        sum is about objective(picture) - objective(blurred picture), exactly so if that is linear.

    Source: Gu and Dong (arXiv 2011.11036), section 3.2, as in its published code: gradients are taken at
    the end of each step. Theirs is the mean of steps, each multiplied by how many there are: this sum.
    """
    attribution = torch.zeros_like(picture)
    blurred = blur(picture, SIGMA_PX)
    for step in range(1, steps + 1):
        sharper = blur(picture, SIGMA_PX * (1 - step / steps))
        attribution += gradient(objective, sharper) * (sharper - blurred)
        blurred = sharper
        if progress is not None:
            progress(step, steps)
    return attribution


def detail_in_window(high: Tensor, top: int, left: int, size_px: int) -> Tensor:
    """Sum up the magnitude of the gradient (to the next row and column) in a square of (N, C, H, W).

    Source: as of ``path_attribution``: the published objective.
    """
    down = high[..., 1:, :-1] - high[..., :-1, :-1]
    across = high[..., :-1, 1:] - high[..., :-1, :-1]
    # A norm, not a root: where nothing changes the root's derivative is infinite, the norm's is zero.
    magnitude: Tensor = torch.linalg.vector_norm(torch.stack((down, across)), dim=0)
    return magnitude[..., top : top + size_px, left : left + size_px].sum()


def blur(picture: Tensor, sigma_px: float) -> Tensor:
    """Blur (N, C, H, W) by a Gaussian cut off at 4 pixels, reflected about the outermost ones."""
    if sigma_px == 0:
        return picture.clone()
    places = torch.arange(-_RADIUS_PX, _RADIUS_PX + 1, dtype=torch.float64)
    weights = torch.exp(-(places**2) / (2 * sigma_px**2))
    line = (weights / weights.sum()).to(picture)
    padded = reflect_pad(picture, *[_RADIUS_PX] * 4)
    planes = padded.flatten(0, 1)[:, None]  # (N C, 1, H + 8, W + 8)
    blurred = F.conv2d(F.conv2d(planes, line.view(1, 1, -1, 1)), line.view(1, 1, 1, -1))
    return blurred.view_as(picture)
