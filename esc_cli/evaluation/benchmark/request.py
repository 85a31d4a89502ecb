"""The request for a benchmark: networks, the ways to run them, picture and sizes."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, get_args

import torch
from torch import Tensor

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.engine.device import Precision
from esc_cli.engine.executors.registry import MODULES, REQUESTS, runtime_named
from esc_cli.engine.tiling.choice import Tiling
from esc_cli.errors import UsageError
from esc_cli.evaluation.benchmark.candidates import REFERENCE, NetworkSource, Settings
from esc_cli.evaluation.benchmark.sample_picture import cut_to, sample_picture
from esc_cli.networks.attention.windows import ATTENTION_BACKENDS

T = TypeVar("T")

HD = "hd"
_HD_HEIGHT, _HD_WIDTH = 720, 1280
"""Size of the result at which the papers measure."""


@dataclass(frozen=True)
class BenchmarkRequest:
    """The values to measure: the reference, and every combination of them.

    Attributes:
        sources: Sources of the networks.
        sizes: Sizes of low-resolution pictures, each ``HxW`` in pixels or ``hd`` for a result of 720x1280.
        attentions: Attention backends; see ``Upscaler``.
        precisions: Precisions. The default is float32 and the half precisions of the device.
        tilings: Tilings; see ``Upscaler``.
        runtimes: Runtimes. The default is all that are installed.
        device: Name of the device; see ``Upscaler``.
        rounds: Number of measured rounds. The default is 5 on the CPU and 50 elsewhere.
        picture: Path of the picture to upscale, which is cropped or mirrored to each size. The default is a
            generated picture.
    """

    sources: Sequence[NetworkSource]
    sizes: Sequence[str]
    attentions: Sequence[str] = ("auto",)
    precisions: Sequence[str] | None = None
    tilings: Sequence[str] = ("auto",)
    runtimes: Sequence[str] | None = None
    device: str = "auto"
    rounds: int | None = None
    picture: Path | None = None


@dataclass(frozen=True)
class BenchmarkTask:
    """A network and a picture for it.

    Attributes:
        source: Source from which another process can load the network.
        checkpoint: The loaded network.
        low: (1, 3, H, W) in [0, 1], float32.
    """

    source: NetworkSource
    checkpoint: Checkpoint
    low: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture, in pixels."""
        return self.low.shape[-2], self.low.shape[-1]


def requested_tasks(request: BenchmarkRequest) -> list[BenchmarkTask]:
    """Load the networks and crop the pictures; return the tasks by network, then by size.

    Raises:
        WeightsError: A model does not exist.
        UsageError: A variant or size does not exist.
        InputError: The picture cannot be read.
    """
    picture = sample_picture(request.picture)
    tasks = []
    for source in request.sources:
        checkpoint = source.load()
        sizes = dict.fromkeys(low_size(size, checkpoint.config.scale) for size in request.sizes)
        tasks += [BenchmarkTask(source, checkpoint, cut_to(picture, *size)) for size in sizes]
    return tasks


def requested_ways(request: BenchmarkRequest, device: torch.device) -> tuple[Settings, ...]:
    """Return the ways of running without duplicates, with the reference first.

    Raises:
        UsageError: A way does not exist.
    """
    on_cpu = device.type == "cpu"
    installed = [name for name in MODULES if _can_run(name, device)]
    half = ("bfloat16",) if on_cpu else ("bfloat16", "float16")
    combinations = itertools.product(
        _known("attention", request.attentions, ("auto", *ATTENTION_BACKENDS)),
        _known("precision", request.precisions or ("float32", *half), get_args(Precision)),
        _known("tiling", request.tilings, get_args(Tiling)),
        _known("runtime", request.runtimes or installed, REQUESTS),
    )
    return tuple(dict.fromkeys((REFERENCE, *(Settings(*way) for way in combinations))))


def _can_run(runtime: str, device: torch.device) -> bool:
    """Return whether a runtime is installed and supports a device."""
    chosen = runtime_named(runtime)
    return chosen.is_installed and chosen.runs_on(device)


def low_size(size: str, scale: int) -> tuple[int, int]:
    """Read ``HxW`` or ``hd``.

    Returns:
        Height and width of the low-resolution picture, in pixels.

    Raises:
        UsageError: The text has another form.
    """
    if size == HD:
        return _HD_HEIGHT // scale, _HD_WIDTH // scale
    match = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", size)
    if match is None:
        raise UsageError(
            f"{size!r} is not a size", hint=f"use HEIGHTxWIDTH of the low-resolution picture, or {HD}"
        )
    return int(match[1]), int(match[2])


def _known(kind: str, names: Sequence[str], known: Sequence[T]) -> list[T]:
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise UsageError(f"there is no {kind} {unknown!r}", hint=f"use one of {', '.join(map(str, known))}")
    return [word for name in names for word in known if word == name]
