"""A gradient that says so where memory does not suffice for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from esc_cli.engine.memory.free import free_bytes
from esc_cli.errors import OutOfMemoryError

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
