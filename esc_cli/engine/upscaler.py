"""The engine's front: from low-resolution pictures to high-resolution ones."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from esc_cli.checkpoints.checkpoint import (
    Checkpoint,
    available_scales,
    does_any_scale,
    load_checkpoint,
    open_model,
)
from esc_cli.checkpoints.manifest import DEFAULT_MODEL
from esc_cli.checkpoints.scales import plan_passes
from esc_cli.engine.attention_choice import choose_attention
from esc_cli.engine.device import Precision, PrecisionChoice, choose_device, choose_precision
from esc_cli.engine.executors.base import Runtime
from esc_cli.engine.executors.registry import AUTO, choose_runtime, runtime_named
from esc_cli.engine.memory.footprint import Work
from esc_cli.engine.memory.free import free_bytes
from esc_cli.engine.passes import Pass
from esc_cli.engine.pixels import check_dtype, check_picture
from esc_cli.engine.self_ensemble import SYMMETRIES, SelfEnsemble
from esc_cli.engine.tiling.choice import Tiling, TilingRequest, fits_whole, tiling_request
from esc_cli.errors import OutOfMemoryError, UsageError
from esc_cli.networks.architectures.interpolation import InterpolationConfig

ProgressCallback = Callable[[int, int], None]
"""Takes the low-resolution pixels done and to do, over all passes. The first rises to the second."""

DEFAULT_SCALE = 4

__all__ = ["DEFAULT_SCALE", "ProgressCallback", "Tiling", "Upscaled", "Upscaler"]


@dataclass(frozen=True)
class Upscaled:
    """A result, and how it was made.

    Attributes:
        high: (N, 3, scale H, scale W) on the host.
        ways: How each pass was run, and why, in words.
        overflow_retries: Pieces that overflowed in half precision and were done again in float32.
    """

    high: Tensor
    ways: tuple[str, ...]
    overflow_retries: int


class Upscaler:
    """Makes pictures larger.

    Args:
        model: A shipped model's name, the path of an ESC checkpoint, a baseline, or a loaded checkpoint.
        scale: The factor; above the model's scales by running it again. By default 4 if the model has it,
            else its largest. Only a model for any scale takes one that is not whole.
        device: ``auto``, or a device as torch names it.
        precision: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        tiling: ``none`` (the picture whole), ``exact`` (in strips, with the same result), ``overlap`` (in
            blended tiles, which is an approximation) or ``auto`` (the fastest of the exact ways that fits in
            memory, else tiles; with a ``tile_px`` tiles of that size).
        tile_px: Longest side of a tile at low resolution; by default as memory allows.
        overlap_px: What neighbouring tiles share at least, at low resolution. Both are rounded up to the
            model's attention window.
        attention: ``auto``, or the backend of the window attention: ``naive``, ``sdpa``, ``flex``, ``flash``.
        runtime: ``torch``, ``openvino``, or ``auto``: the one that saves most time, its start included.
            Others than torch are taken unasked only for pictures that fit in memory whole.
        tta: Whether each network's result is the mean over the eight flips and rotations of its picture (the
            self-ensemble): a little better, for eight times the work.

    Attributes:
        device: Where the network runs.
        device_reason: Why there.
        precision: Type of weights and features; where it was left free, of results of 8 bits, and float32
            of all others.
        precision_reason: Why this one.
        attention: Backend of the window attention.
        attention_reason: Why this one.
        passes: The scales of the networks that are run in turn.
        digests: The sha256 of each one's file, by which a result can name what made it.
        scale: Their product.
        does_any_scale: Whether the one network makes results of any size by itself.

    Raises:
        UsageError: The scale is out of reach, there is no such attention, or the tiling makes no sense.
        WeightsError: There is no such model, or its file is damaged.
        DeviceError: The device is not there, or cannot compute in this precision or with this attention.
    """

    def __init__(
        self,
        model: str | Path | Checkpoint = DEFAULT_MODEL,
        *,
        scale: float | None = None,
        device: str = "auto",
        precision: Precision = "auto",
        tiling: Tiling = "auto",
        tile_px: int | None = None,
        overlap_px: int | None = None,
        attention: str = "auto",
        runtime: str = AUTO,
        tta: bool = False,
    ) -> None:
        chosen_device = choose_device(device)
        self.device, self.device_reason = chosen_device.device, chosen_device.reason
        chosen_precision = choose_precision(precision, self.device)
        model = open_model(model)
        self.passes = _planned_scales(model, scale)
        self._checkpoints = {
            one: model if isinstance(model, Checkpoint) else load_checkpoint(model, int(one))
            for one in set(self.passes)
        }
        self._precision_is_free = precision == "auto"
        if self._precision_is_free and not any(map(_has_weights, self._checkpoints.values())):
            chosen_precision = PrecisionChoice(torch.float32, "a baseline has no weights to multiply with")
        self.precision, self.precision_reason = chosen_precision.dtype, chosen_precision.reason
        chosen_attention = choose_attention(attention, self.device, self.precision)
        self.attention, self.attention_reason = chosen_attention.name, chosen_attention.reason
        self.scale = math.prod(self.passes)
        self.does_any_scale = does_any_scale(model)
        missing = partial(
            Runtime.missing,
            strips=tiling == "exact",
            attention=attention != "auto",
            any_scale=self.does_any_scale,
        )
        if runtime != AUTO:
            _refuse_what_is_missing(runtime_named(runtime), missing)
        self._runtime, self._missing = runtime, missing
        for checkpoint in self._checkpoints.values():
            choose_runtime(runtime, checkpoint.network, self.device, self.precision, 0)
        self._requests = {
            one: tiling_request(tiling, tile_px, overlap_px, checkpoint.config.window_size)
            for one, checkpoint in self._checkpoints.items()
        }
        self._tta = tta
        if self.does_any_scale:
            _refuse_tiles(self._requests.values())
        self._runs: dict[tuple[float, torch.dtype, str], Pass | SelfEnsemble] = {}
        self.digests = tuple(self._checkpoints[one].sha256 for one in self.passes)

    def __repr__(self) -> str:
        names = ", ".join(dict.fromkeys(checkpoint.name for checkpoint in self._checkpoints.values()))
        dtype = str(self.precision).removeprefix("torch.")
        return f"<Upscaler {names} x{self.scale:g} on {self.device} in {dtype}, attention {self.attention}>"

    @property
    def keeps_pixels(self) -> bool:
        """Whether each pixel of a result is one of the picture's: it does not matter what lies beside it."""
        return all(
            checkpoint.config == InterpolationConfig(checkpoint.config.scale, "nearest")
            for checkpoint in self._checkpoints.values()
        )

    def precision_for(self, pixels: torch.dtype) -> torch.dtype:
        """Give the type of weights and features for results of a pixel type.

        The error of half precision, where it was not asked for, is too small for 8 bits, not for more.
        """
        enough = pixels == torch.uint8 or not self._precision_is_free
        return self.precision if enough else torch.float32

    def __call__(
        self,
        low: Tensor,
        dtype: torch.dtype | None = None,
        job_px: int | None = None,
        size: tuple[int, int] | None = None,
        progress: ProgressCallback | None = None,
    ) -> Tensor:
        """Upscale pictures of one size; ``run`` says also how that was done.

        Args:
            low: (N, 3, H, W) RGB, any size from 1x1, on any device: uint8, uint16, or floating point in
                [0, 1]. Not written to.
            dtype: Pixel type of the result; by default that of ``low``.
            job_px: Low-resolution pixels of all pictures of this size that there are to do; by default those
                of ``low``. A runtime that is slow to start is worth it only for many.
            size: What a model for any scale shall make instead, (height, width); others make what they make.
            progress: Called after each finished strip or tile.

        Returns:
            (N, 3, scale H, scale W) on the host, sides rounded to whole pixels: integers rounded, floating
            point clamped to [0, 1].

        Raises:
            InputError: ``low`` is no such picture.
            OutOfMemoryError: The result or the smallest tile does not fit in memory.
            WeightsError: The network's values are not finite.
        """
        return self.run(low, dtype, job_px, size, progress).high

    def run(
        self,
        low: Tensor,
        dtype: torch.dtype | None = None,
        job_px: int | None = None,
        size: tuple[int, int] | None = None,
        progress: ProgressCallback | None = None,
    ) -> Upscaled:
        """Upscale pictures as a call does, and say how; arguments and errors are those of a call."""
        check_picture(low)
        dtype = low.dtype if dtype is None else dtype
        check_dtype(dtype)
        rounds = len(SYMMETRIES) if self._tta else 1
        meter = _Meter(progress, rounds * _work_px(low, self.passes))
        # Between passes 16 bits lose nothing that can be seen, at half the memory of float32.
        between = torch.float32 if dtype.is_floating_point else torch.uint16
        job_px = low[:, 0].numel() if job_px is None else job_px
        # Half of the rounds are of the picture's own shape, and half of the turned one's.
        runs = self._planned_runs(dtype, low.shape, job_px * max(1, rounds // 2))
        asked = (size or self._scaled_size(low)) if self.does_any_scale else None
        ways, retries = [], 0
        try:
            with torch.inference_mode():
                for position, run in enumerate(runs, start=1):
                    result = run.run(low, dtype if position == len(runs) else between, meter.add, asked)
                    low = result.high
                    ways.append(result.way)
                    retries += result.overflow_retries
        except torch.OutOfMemoryError as error:
            raise OutOfMemoryError(f"{self.device} has not enough memory to join the tiles") from error
        return Upscaled(low, tuple(ways), retries)

    def _scaled_size(self, low: Tensor) -> tuple[int, int]:
        height, width = (max(1, round(side * self.scale)) for side in low.shape[-2:])
        return height, width

    def _planned_runs(self, pixels: torch.dtype, shape: torch.Size, job_px: int) -> list[Pass | SelfEnsemble]:
        """Give what runs each pass, for results of a pixel type."""
        dtype = self.precision_for(pixels)
        runs, (n, _, height, width) = [], shape
        for scale in self.passes:
            runtime = self._choose_runtime(scale, dtype, (n, height, width), job_px)
            runs.append(self._run(scale, dtype, runtime))
            height, width, job_px = (int(now) for now in (height * scale, width * scale, job_px * scale**2))
        return runs

    def _choose_runtime(
        self, scale: float, dtype: torch.dtype, pictures: tuple[int, int, int], job_px: int
    ) -> Runtime:
        """Choose what runs a pass over pictures, (N, H, W); others than torch, unasked, only whole ones."""
        checkpoint = self._checkpoints[scale]

        def suits(runtime: Runtime) -> bool:
            work = Work(checkpoint.config, dtype, self.attention, *pictures, runtime)
            fits = fits_whole(self._requests[scale], work, free_bytes(self.device))
            return fits and self._missing(runtime) is None

        return choose_runtime(self._runtime, checkpoint.network, self.device, dtype, job_px, suits)

    def _run(self, scale: float, dtype: torch.dtype, runtime: Runtime) -> Pass | SelfEnsemble:
        key = scale, dtype, runtime.name
        if key not in self._runs:
            executor = runtime.executor(self._checkpoints[scale], self.device, dtype, self.attention)
            run = Pass(executor, self._requests[scale])
            self._runs[key] = SelfEnsemble(run) if self._tta else run
        return self._runs[key]


class _Meter:
    """Adds up finished pixels for a callback."""

    def __init__(self, callback: ProgressCallback | None, total_px: int) -> None:
        self._callback = callback
        self._total_px = total_px
        self._done_px = 0

    def add(self, finished_px: int) -> None:
        self._done_px += finished_px
        if self._callback is not None and finished_px:
            self._callback(self._done_px, self._total_px)


def _has_weights(checkpoint: Checkpoint) -> bool:
    return any(True for _ in checkpoint.network.parameters())


def _planned_scales(model: str | Checkpoint, scale: float | None) -> tuple[float, ...]:
    available = available_scales(model)
    if scale is None:
        scale = DEFAULT_SCALE if DEFAULT_SCALE in available else max(available)
    if not does_any_scale(model):
        return plan_passes(scale, available)
    if not 1 <= scale < math.inf:
        raise UsageError(f"this model cannot do x{scale:g}", hint="it can do any scale from x1 up")
    return (scale,)


def _work_px(low: Tensor, passes: tuple[float, ...]) -> int:
    """Sum up the low-resolution pixels that go through each pass."""
    first_px = low[:, 0].numel()
    return sum(int(first_px * math.prod(passes[:position]) ** 2) for position in range(len(passes)))


def _refuse_tiles(requests: Iterable[TilingRequest]) -> None:
    """Refuse to run a model for any scale in tiles: its pixels lie on no grid that tiles could share."""
    if any(request.mode == "overlap" for request in requests):
        raise UsageError("a model for any scale is not run in tiles", hint="choose the tiling auto or exact")


def _refuse_what_is_missing(runtime: Runtime, missing: Callable[[Runtime], str | None]) -> None:
    what = missing(runtime)
    if what is not None:
        raise UsageError(f"{runtime.title} cannot {what}", hint="choose the runtime torch, or auto")
