"""Attribution along a path: which pixels contribute to the result while a picture loses its blur."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from esc_cli.engine.memory.free import free_bytes
from esc_cli.errors import OutOfMemoryError
from esc_cli.evaluation.metrics import gaussian_weights, weighted_means
from esc_cli.networks.padding import reflect_pad

SIGMA_PX, STEPS = 1.2, 50
"""Sigma of the blur at the start of the path, and the number of steps that remove it, as published."""

_RADIUS_PX = 4
"""Radius of the blur's kernel, which is 9x9 as published."""

_USABLE = 0.8
"""Share of the free memory that may hold tensors for the backward pass.

These tensors are 0.9 of all memory that a pass takes (ESC x4 and ESC-light x2 at 64x64 and 128x128).
"""


def gradient(objective: Callable[[Tensor], Tensor], picture: Tensor) -> Tensor:
    """Differentiate an objective with respect to the pixels of a picture.

    Args:
        objective: Function that takes the picture and returns a number.
        picture: Tensor of any shape, floating point.

    Returns:
        A tensor with the shape, dtype and device of the picture.

    Raises:
        OutOfMemoryError: The device has too little memory. The free memory is read beforehand, because the
            host would end the program instead of raising an error.
    """
    with torch.enable_grad():
        point = picture.detach().requires_grad_()
        with _limited_bytes(int(_USABLE * free_bytes(picture.device))):
            value = objective(point)
        return torch.autograd.grad(value, point)[0]


@contextmanager
def _limited_bytes(limit_bytes: int) -> Iterator[None]:
    """Raise an error as soon as the tensors for the backward pass take more than ``limit_bytes``."""
    kept_bytes: dict[int, int] = {}  # by storage address: several tensors may be views of one storage

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept_bytes[storage.data_ptr()] = storage.nbytes()
        if sum(kept_bytes.values()) > limit_bytes:
            raise OutOfMemoryError(
                f"the gradients need more than the {limit_bytes / 10**9:.1f} GB available for them",
                hint="use a smaller crop of the picture",
            )
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        yield


def path_attribution(
    objective: Callable[[Tensor], Tensor],
    picture: Tensor,
    steps: int = STEPS,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Distribute among the pixels what an objective gains from the details of a picture.

    Args:
        objective: Differentiable function that takes a picture of the same shape and returns a number.
        picture: (N, C, H, W), floating point.
        steps: Number of steps of the path.
        progress: Function that is called with the number of steps done and the number of all steps.

    Returns:
        (N, C, H, W), positive or negative: the sum over the steps of the gradient times the change of the
        picture. The total over all pixels is about objective(picture) - objective(blurred picture), and
        exactly that if the objective is linear.

    Source: Gu and Dong (arXiv 2011.11036), section 3.2, as in its published code: gradients are taken at
    the end of each step. The published code multiplies each step by the number of steps and takes the mean,
    which is the same sum.
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
    """Sum the magnitude of the gradient (to the next row and column) in a square of (N, C, H, W).

    Source: The objective in the published code; see ``path_attribution``.
    """
    down = high[..., 1:, :-1] - high[..., :-1, :-1]
    across = high[..., :-1, 1:] - high[..., :-1, :-1]
    # A norm, not a square root: where nothing changes, the derivative of the root is infinite, that of the
    # norm is zero.
    magnitude: Tensor = torch.linalg.vector_norm(torch.stack((down, across)), dim=0)
    return magnitude[..., top : top + size_px, left : left + size_px].sum()


def blur(picture: Tensor, sigma_px: float) -> Tensor:
    """Blur (N, C, H, W) with a Gaussian cut off at 4 pixels, with reflection about the outermost pixels."""
    if sigma_px == 0:
        return picture.clone()
    line = gaussian_weights(2 * _RADIUS_PX + 1, sigma_px).to(picture)
    padded = reflect_pad(picture, *[_RADIUS_PX] * 4)
    planes = padded.flatten(0, 1)[:, None]  # (N C, 1, H + 8, W + 8)
    return weighted_means(planes, line, line).view_as(picture)
