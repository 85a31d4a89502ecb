"""The front end of the engine: it upscales low-resolution pictures with a model.

A picture reaches a network in four steps:

1. ``Upscaler.run`` runs the networks of a cascade one after the other, each in a ``Pass``. A ``PassPlanner``
   chooses the runtime of each pass.
2. ``Pass.run`` pads the picture for its network, chooses between the whole picture, exact strips and tiles,
   and assembles the result on the host. With the self-ensemble, it is called eight times.
3. An ``Executor`` runs the network on its device: ``__call__`` on a picture or a tile, ``stream`` in strips.
4. The network's ``forward(low, run)`` passes its layers to a runner, which may cut their input into strips.

The constructor makes all choices that do not depend on the picture. ``tuned`` improves them by measurements.
"""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from esc_cli.checkpoints.cascade import Cascade
from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.checkpoints.manifest import DEFAULT_MODEL
from esc_cli.engine.attention_choice import AttentionChoice, choose_attention
from esc_cli.engine.borders import NOT_WRAPPED, Seamless, Wraps
from esc_cli.engine.compatibility import (
    check_networks,
    check_runtime,
    check_scale_and_borders,
    suitable_precision,
)
from esc_cli.engine.device import Precision, choose_precision
from esc_cli.engine.executors.base import Demands, Runtime
from esc_cli.engine.executors.registry import AUTO, STANDARD, choose_device_for
from esc_cli.engine.pass_planner import PassPlanner
from esc_cli.engine.passes import PassRequest
from esc_cli.engine.pixels import array_of, check_dtype, check_picture, dtype_name, tensor_of
from esc_cli.engine.self_ensemble import SYMMETRIES
from esc_cli.engine.threads import copying
from esc_cli.engine.tiling.choice import Tiling, tiling_request
from esc_cli.engine.tiling.samples import sampled
from esc_cli.engine.tuning.candidates import Candidate, candidates
from esc_cli.engine.tuning.figures import Amount, Figures
from esc_cli.engine.tuning.trials import Bench
from esc_cli.engine.tuning.tuner import Tuner
from esc_cli.errors import OutOfMemoryError, UsageError

ProgressCallback = Callable[[int, int], None]
"""Receives the low-resolution pixels that are done and their total, over all passes.

The first number rises until it equals the second.
"""

MEASURED = "the fastest that was measured here"
USUAL = "the usual choice; no other that was measured here is certainly faster"
SUITS_8_BITS = "the error is below that of rounding to 8 bits, and results with more than 8 bits use float32"
"""Reasons for what follows from a measurement. The figures are in ``Upscaler.measured``."""


@dataclass(frozen=True)
class Upscaled:
    """A result, and how it was made.

    Attributes:
        high: The result, (N, 3, scale H, scale W), on the host.
        ways: A text for each pass that says how it was run and why.
        overflow_retries: Number of pieces that overflowed in half precision and were run again in float32.
    """

    high: Tensor
    ways: tuple[str, ...]
    overflow_retries: int


class Upscaler:
    """Upscale pictures with a model.

    Args:
        model: The name of a shipped model or a baseline, the path of a checkpoint, or a loaded checkpoint.
        scale: Scale factor. Above the model's own scales, networks run one after the other. The default is 4
            if the model has that scale, else its largest scale. Only an arbitrary-scale model accepts a
            factor that is not a whole number.
        device: ``auto``, or a device as torch names it. ONNX Runtime has devices of its own (``directml``).
        precision: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        tiling: ``none`` runs the whole picture at once. ``exact`` runs it in strips, with the same result.
            ``overlap`` runs it in blended tiles, which is an approximation. ``auto`` takes the fastest of the
            exact ways that fits in memory, else tiles; with a ``tile_px`` it is ``overlap``.
        tile_px: Longest side of a tile, in low-resolution pixels. By default it depends on the free memory.
        overlap_px: Smallest overlap of neighboring tiles, in low-resolution pixels. This and ``tile_px`` are
            rounded up to multiples of the model's attention window.
        attention: ``auto``, or the backend of the window attention: ``naive``, ``sdpa``, ``flex``, ``flash``
            or ``blocked``.
        runtime: ``torch``, ``openvino``, ``onnx``, or ``auto`` for the one that saves the most time, with its
            start. ``auto`` takes a runtime other than torch only for pictures that fit in memory whole.
        tta: Whether each network's result is the mean over the eight flips and rotations of its picture (the
            self-ensemble). It is a little better, for eight times the work.
        seamless: Axes along which pictures wrap: ``x`` (left and right), ``y`` or ``xy``, as textures and
            panoramas do. Results wrap along the same axes. Only torch does this.

    Attributes:
        device: Device that the networks run on. If the runtime has devices of its own, it is the CPU.
        device_name: Name of the device that computes.
        device_reason: Reason for this device.
        precision: Type of weights and features. If the precision was ``auto``, only 8-bit results use this
            type, and all other results use float32.
        precision_reason: Reason for this precision.
        attention: Backend of the window attention.
        attention_reason: Reason for this backend.
        measured: Sentences with the times that were measured on this machine, if any. A measurement that is
            less than 5 % better than the usual choice does not change it.
        passes: Scales of the networks that run one after the other.
        digests: The sha256 of each of these networks' files, so that a result can name what made it.
        scale: Product of ``passes``.
        does_any_scale: Whether the model is an arbitrary-scale model: one network makes results of any size.
        keeps_pixels: Whether each pixel of a result copies one pixel of the picture, whatever its neighbors
            are.
        window_px: Side of the attention windows of the first network, in pixels of the picture.
        wraps: Axes along which pictures wrap.

    Raises:
        UsageError: The scale is out of reach, a named precision, attention backend or runtime does not exist,
            or options contradict each other.
        WeightsError: The model does not exist, or its file is damaged.
        DeviceError: The device does not exist, or cannot compute in this precision or with this attention.
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
        seamless: Seamless | None = None,
    ) -> None:
        self.wraps = Wraps.parse(seamless)
        chosen_device, runtime_request = choose_device_for(runtime, device)
        self.device, self.device_reason = chosen_device.device, chosen_device.reason
        self.device_name = chosen_device.name
        chosen_precision = choose_precision(precision, self.device)
        cascade = self._cascade = Cascade.load(model, scale)
        self.passes, self.scale, self.digests = cascade.scales, cascade.scale, cascade.digests
        self.does_any_scale, self.keeps_pixels = cascade.does_any_scale, cascade.keeps_pixels
        self.window_px = cascade.first.config.window_size
        self._precision_is_free = precision == "auto"
        if self._precision_is_free:
            chosen_precision = suitable_precision(chosen_precision, cascade, self.device, runtime)
        self.precision, self.precision_reason = chosen_precision.dtype, chosen_precision.reason
        chosen_attention = choose_attention(attention, self.device, self.precision)
        if cascade.is_opaque:
            chosen_attention = AttentionChoice("naive", "the network is run as it is written")
        self.attention, self.attention_reason = chosen_attention.name, chosen_attention.reason
        check_networks(cascade, self.precision, tiling, attention)
        demands = Demands(
            strips=tiling == "exact",
            attention=attention != "auto",
            any_scale=self.does_any_scale,
            wraps=bool(self.wraps),
        )
        check_runtime(runtime_request, demands, cascade, self.device, self.precision)
        tilings = {
            one: tiling_request(tiling, tile_px, overlap_px, checkpoint.config.window_size)
            for one, checkpoint in cascade.checkpoints.items()
        }
        check_scale_and_borders(cascade, self.wraps, tilings.values())
        self._planner = PassPlanner(
            cascade, self.device, runtime_request, tilings, demands, tta, self.attention
        )
        self._use_earlier_figures(any_attention=attention == "auto")

    def __repr__(self) -> str:
        names = ", ".join(dict.fromkeys(checkpoint.name for checkpoint in self._cascade.checkpoints.values()))
        kind = f"x{self.scale:g} on {self.device_name} in {dtype_name(self.precision)}"
        return f"<Upscaler {names} {kind}, attention {self.attention}>"

    @overload
    def __call__(
        self,
        low: Tensor,
        dtype: torch.dtype | None = None,
        job_px: int | None = None,
        size: tuple[int, int] | None = None,
        progress: ProgressCallback | None = None,
    ) -> Tensor: ...

    @overload
    def __call__(
        self,
        low: npt.NDArray[Any],
        dtype: torch.dtype | None = None,
        job_px: int | None = None,
        size: tuple[int, int] | None = None,
        progress: ProgressCallback | None = None,
    ) -> npt.NDArray[Any]: ...

    def __call__(
        self,
        low: Tensor | npt.NDArray[Any],
        dtype: torch.dtype | None = None,
        job_px: int | None = None,
        size: tuple[int, int] | None = None,
        progress: ProgressCallback | None = None,
    ) -> Tensor | npt.NDArray[Any]:
        """Upscale pictures of one size. ``run`` also returns how that was done.

        Args:
            low: (N, 3, H, W) RGB, any size from 1x1, on any device: uint8, uint16, or floating point in
                [0, 1]. It is not modified. An array is one picture, (H, W, 3), of the same types.
            dtype: Pixel type of the result. The default is the type of ``low``. For an array, it is a type of
                torch that NumPy also has, so not bfloat16.
            job_px: Number of low-resolution pixels of all pictures of this size in the job. The default is
                the number in ``low``. A runtime that is slow to start is worth it only for many pixels.
            size: Size of an arbitrary-scale model's result, (height, width), instead of the scaled size.
                Other models ignore it.
            progress: Called after each finished strip or tile.

        Returns:
            (N, 3, scale H, scale W) on the host, with sides rounded to whole pixels, or an array,
            (scale H, scale W, 3). Integer values are rounded, and floating-point values are clamped to
            [0, 1].

        Raises:
            InputError: ``low`` is not a picture of this kind.
            UsageError: NumPy does not have the type of the result, or a side of ``size`` is below 1 px.
            OutOfMemoryError: The result or the smallest tile does not fit in memory.
            DeviceError: The device failed.
            WeightsError: The network's values are not finite.
        """
        if isinstance(low, np.ndarray):
            if dtype == torch.bfloat16:
                raise UsageError("an array cannot be of the type bfloat16", hint="choose float32")
            return array_of(self(tensor_of(low), dtype, job_px, size, progress))
        return self.run(low, dtype, job_px, size, progress).high

    def run(
        self,
        low: Tensor,
        dtype: torch.dtype | None = None,
        job_px: int | None = None,
        size: tuple[int, int] | None = None,
        progress: ProgressCallback | None = None,
        samples: Tensor | None = None,
    ) -> Upscaled:
        """Upscale pictures as ``__call__`` does, with the same arguments and errors, and return how.

        ``low`` may also be a part of a larger picture. ``samples`` is then a small picture that stands for
        the whole (see ``tiling.samples``). The networks pool over it, and no border of ``low`` wraps.
        """
        check_picture(low)
        dtype = low.dtype if dtype is None else dtype
        check_dtype(dtype)
        low_px = low[:, 0].numel()
        rounds = len(SYMMETRIES) if self._planner.tta else 1
        meter = _Meter(progress, rounds * self._cascade.work_px(low_px))
        job_px = low_px if job_px is None else job_px
        # Half of the rounds have the picture's own shape, and half have the rotated picture's shape.
        job_px *= max(1, rounds // 2)
        precision, is_part = self.precision_for(dtype), samples is not None
        passes = self._planner.plan(low.shape, precision, job_px, is_part=is_part)
        # Between passes, 16 bits lose nothing visible and take half the memory of float32.
        between = torch.float32 if dtype.is_floating_point else torch.uint16
        wraps = self.wraps if samples is None else NOT_WRAPPED
        size = self._size(low, size) if self.does_any_scale else None
        ways, retries = [], 0
        try:
            with torch.inference_mode(), self._threads(low):
                for position, one in enumerate(passes, start=1):
                    is_last = position == len(passes)
                    kind = dtype if is_last else between
                    result = one.run(PassRequest(low, kind, size, wraps, samples), meter.add)
                    if samples is not None and not is_last:
                        samples = sampled(one.run(PassRequest(samples, kind), lambda px: None).high)
                    low = result.high  # (N, 3, scale H, scale W), on the host
                    ways.append(result.way)
                    retries += result.overflow_retries
        except torch.OutOfMemoryError as error:
            raise OutOfMemoryError(f"{self.device} does not have enough memory for the picture") from error
        return Upscaled(low, tuple(ways), retries)

    def precision_for(self, pixels: torch.dtype) -> torch.dtype:
        """Return the type of weights and features for results of a pixel type.

        The error of half precision is too small to matter in 8 bits, but not in more. Unless the user asked
        for half precision, only 8-bit results use it.
        """
        enough = pixels == torch.uint8 or not self._precision_is_free
        return self.precision if enough else torch.float32

    def _size(self, low: Tensor, asked: tuple[int, int] | None) -> tuple[int, int]:
        """Return the size of an arbitrary-scale model's result: the requested size or the scaled size."""
        if asked is None:
            height, width = (max(1, round(side * self.scale)) for side in low.shape[-2:])
            return height, width
        if min(asked) < 1:
            raise UsageError(
                f"a result must have at least 1x1 pixels, not {asked[0]}x{asked[1]} (height x width)"
            )
        return asked

    def _threads(self, low: Tensor) -> AbstractContextManager[None]:
        """Return the context that limits the threads of a baseline, which has no weights to multiply with."""
        if self.device.type != "cpu" or self._cascade.has_weights:
            return nullcontext()
        return copying(round(low.numel() * self.scale**2))

    def _use_earlier_figures(self, *, any_attention: bool) -> None:
        """Replace the usual choices by what earlier jobs have shown to be faster."""
        self._usual = Candidate(self.precision, self.attention)
        self._reasons = self.precision_reason, self.attention_reason
        found = candidates(
            self._usual, self.device, any_precision=self._precision_is_free, any_attention=any_attention
        )
        self._candidates = tuple(one for one in found if self._cascade.supports(one.dtype))
        self.measured: tuple[str, ...] = ()
        tuner = self._tuner()
        if tuner is not None:
            self._settle(tuner, tuner.bench.recall(), Amount())

    def tuned(self, amount: Amount, *, anew: bool = False) -> "Upscaler":
        """Return an upscaler with the fastest settings for a job, of those that the user left open.

        What is not known from an earlier job is measured, if the job is so large that it may pay.

        Args:
            amount: The job.
            anew: Whether to measure what is known once more, whatever the size of the job.
        """
        tuner = self._tuner()
        if tuner is None:
            return self
        figures = tuner.measure(amount, anew=anew)
        now = Candidate(self.precision, self.attention)
        if figures == self._planner.figures and tuner.best(figures, amount) == now:
            return self  # with the executors that it has made
        tuned = copy.copy(self)
        tuned._settle(tuner, figures, amount)
        return tuned

    def _tuner(self) -> Tuner | None:
        """Return what chooses by measurements, or None if these may not change how the networks run."""
        cascade, planner = self._cascade, self._planner
        if not cascade.has_weights or cascade.is_opaque:
            return None
        if planner.runtime not in (AUTO, STANDARD):
            return None
        # The networks of further passes are of the same kind as the first one.
        bench = Bench(cascade.first, self.device)

        def suits(runtime: Runtime, size: tuple[int, int]) -> bool:
            return planner.suits(runtime, self.passes[0], torch.float32, (1, *size))

        return Tuner(self._usual, self._candidates, bench, suits if planner.runtime == AUTO else None)

    def _settle(self, tuner: Tuner, figures: Figures, amount: Amount) -> None:
        """Choose the precision and the attention backend according to figures."""
        best = tuner.best(figures, amount)
        self._planner = replace(self._planner, attention=best.attention, figures=figures)
        self.measured = tuner.bench.in_words(figures)
        self.precision, self.attention = best.dtype, best.attention
        self.precision_reason, self.attention_reason = self._reasons
        if len(self._candidates) == 1 or not figures.knows([best.name]):
            return
        reason = USUAL if best == self._usual else MEASURED
        if len({one.dtype for one in self._candidates}) > 1:
            self.precision_reason = f"{reason}; {SUITS_8_BITS}"
        if self.attention_reason != "asked for":
            self.attention_reason = reason


class _Meter:
    """Add up finished pixels for a callback."""

    def __init__(self, callback: ProgressCallback | None, total_px: int) -> None:
        self._callback = callback
        self._total_px = total_px
        self._done_px = 0

    def add(self, finished_px: int) -> None:
        self._done_px += finished_px
        if self._callback is not None and finished_px:
            self._callback(self._done_px, self._total_px)
