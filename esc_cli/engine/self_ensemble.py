"""Self-ensemble: run a picture in all its flips and rotations, and average the results."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from esc_cli.engine.memory.free import check_room, host_free_bytes
from esc_cli.engine.output import ReportPixels
from esc_cli.engine.passes import Pass, PassRequest, PassResult
from esc_cli.engine.pixels import from_unit, movable


@dataclass(frozen=True)
class Symmetry:
    """One of the eight flips and rotations of a picture.

    Attributes:
        turns: Number of quarter turns, counterclockwise.
        mirrored: Whether left and right are swapped after the turns.
    """

    turns: int
    mirrored: bool

    def apply(self, picture: Tensor) -> Tensor:
        """Return a turned copy of (..., H, W), of any pixel type, on any device."""
        turned = movable(picture).rot90(self.turns, (-2, -1))
        return (turned.flip(-1) if self.mirrored else turned).view(picture.dtype)

    def size_of(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the size, (height, width), of a turned picture, given its size before."""
        height, width = size
        return (width, height) if self.turns % 2 else size

    def undo(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a view of (..., H, W) that undoes ``apply``. Arrays, unlike tensors, turn without a copy."""
        upright = np.flip(pixels, -1) if self.mirrored else pixels
        return np.rot90(upright, -self.turns, (-2, -1))


# The symmetries that swap height and width come last, so that preparations for a shape happen only twice.
SYMMETRIES = tuple(Symmetry(turns, mirrored) for turns in (0, 2, 1, 3) for mirrored in (False, True))
"""All eight symmetries. The first one leaves the picture as it is."""


class SelfEnsemble:
    """Run a pass eight times and average the results, with the interface of the pass itself.

    Upscaling a flipped or turned picture gives the flipped or turned result. The self-ensemble costs eight
    times the work, and memory for two results in float32.

    Source: Timofte et al., "Seven ways to improve example-based single image super resolution" (CVPR 2016),
    section 3.3; "self-ensemble" since EDSR (Lim et al., CVPRW 2017), section 3.4.
    """

    def __init__(self, run: Pass) -> None:
        self._pass = run

    def run(self, request: PassRequest, report: ReportPixels) -> PassResult:
        """Upscale a picture to the mean of eight results in [0, 1], which is rounded once.

        Args:
            request: See ``Pass.run``.
            report: Called with the low-resolution pixels as they are finished, 8 N H W in total.

        Returns:
            The upscaled picture, (N, 3, scale H, scale W) or of the requested size, on the host.

        Raises:
            OutOfMemoryError: Two results do not fit in memory, or no way to compute them does.
            DeviceError: The device failed.
            WeightsError: The network's values are not finite.
        """
        scale, (height, width) = self._pass.config.scale, request.low.shape[-2:]
        _check_room((*request.low.shape[:2], *(request.size or (scale * height, scale * width))))
        first = self._pass.run(_turned(request, SYMMETRIES[0]), report)
        total, retries = first.high.numpy(), first.overflow_retries
        for symmetry in SYMMETRIES[1:]:
            result = self._pass.run(_turned(request, symmetry), report)
            np.add(total, symmetry.undo(result.high.numpy()), out=total)
            retries += result.overflow_retries
            del result  # free its memory before the next result is made
        with torch.inference_mode(mode=False):  # an ordinary tensor, which the caller may change
            high = from_unit(first.high.div_(len(SYMMETRIES)), request.dtype)
        return PassResult(high, f"self-ensemble of {len(SYMMETRIES)}: {first.way}", retries)


def _turned(request: PassRequest, symmetry: Symmetry) -> PassRequest:
    """Return the request for a turned picture, with a result in float32."""
    return PassRequest(
        symmetry.apply(request.low),
        torch.float32,
        size=None if request.size is None else symmetry.size_of(request.size),
        wraps=request.wraps.turned(symmetry.turns),
        samples=None if request.samples is None else symmetry.apply(request.samples),
    )


def _check_room(shape: tuple[int, ...]) -> None:
    """Raise an error before the work if two results in float32 do not fit in memory."""
    what = f"the self-ensemble of {shape[-2]}x{shape[-1]} pixels needs"
    hint = "choose a smaller scale, or turn the self-ensemble off"
    check_room(what, 2 * math.prod(shape) * torch.float32.itemsize, host_free_bytes(), hint)
