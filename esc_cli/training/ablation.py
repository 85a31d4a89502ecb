"""Run an ablation: train networks that differ in one part with the same small budget, and compare them."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from esc_cli.checkpoints.checkpoint import Checkpoint, load_checkpoint
from esc_cli.errors import EscError, UsageError
from esc_cli.evaluation.benchmark.candidates import NetworkSource, Settings
from esc_cli.evaluation.benchmark.measurement import Timing, measure, multiply_accumulates
from esc_cli.evaluation.benchmark.peak_memory import Trial, host_peak_bytes
from esc_cli.evaluation.benchmark.request import HD, low_size
from esc_cli.evaluation.evaluate import evaluate
from esc_cli.evaluation.figures import saved_figure
from esc_cli.networks.ablations import ABLATIONS
from esc_cli.networks.architectures.registry import VARIANTS
from esc_cli.training.configuration import TrainingConfig
from esc_cli.training.loop import train
from esc_cli.training.run_folder import STATE_FILE, WEIGHTS_FILE, read_log

REFERENCE = "esc"
"""The network that all others are compared with."""

LATENCY_PX = 128
"""Side of the square picture for measuring latency and memory, in pixels."""

WARM_UP, ROUNDS = 1, 5

_SETTINGS = Settings(precision="float32", tiling="none", runtime="torch")
"""How networks are run for measuring latency and memory."""


@dataclass(frozen=True)
class Trained:
    """A network after its training run, with its measurements.

    Attributes:
        name: Name of the variant or the ablation.
        parameters: Number of trained parameters.
        multiply_accumulates: Multiply-accumulates for one result of 720x1280 pixels, as in papers.
        latency_s: Latency for one square picture with sides of ``LATENCY_PX``, in float32; the median of
            interleaved rounds.
        peak_bytes: Peak resident memory of a process that upscales this picture once; None if the system
            does not report it.
        psnr: PSNR on the test pictures by the published protocol, in dB; None without test pictures.
        curve: Pairs of a step and the PSNR on the held-out pictures at that step, in dB.
    """

    name: str
    parameters: int
    multiply_accumulates: int
    latency_s: float
    peak_bytes: int | None
    psnr: float | None
    curve: tuple[tuple[int, float], ...]


def known_networks() -> tuple[str, ...]:
    """Return the networks that can be compared: the reference, mixers of other works, and the ablations."""
    return (REFERENCE, "esc-milk", "esc-atconv", *ABLATIONS)


def ablate(
    names: Sequence[str],
    config: TrainingConfig,
    pictures: Path,
    folder: Path,
    *,
    test: Path | None = None,
    device: torch.device,
    announce: Callable[[str], None] = lambda name: None,
    quiet: bool = False,
) -> tuple[Trained, ...]:
    """Train networks one after the other, or resume the runs of an earlier call, and measure them.

    Args:
        names: Names from ``VARIANTS`` or ``ABLATIONS``.
        config: Configuration of all runs; its variant is replaced. A resumed run keeps its own configuration.
        pictures: Folder of pictures to train on; see ``train``.
        folder: Folder that holds one subfolder for each run, with the network's name.
        test: Pictures to score the networks on; see ``evaluate``.
        device: Device to train on. Measurements are made on the CPU.
        announce: Function that is called with each network's name when its training begins.
        quiet: Whether to hide the progress bar.

    Returns:
        The measured networks, in the order of ``names``.

    Raises:
        UsageError: A name is unknown.
        EscError: Any error of ``train`` and ``evaluate``.
    """
    unknown = sorted(set(names) - set(VARIANTS) - set(ABLATIONS))
    if unknown:
        raise UsageError(f"there is no network {unknown[0]!r}", hint=", ".join(known_networks()))
    for name in names:
        announce(name)
        own = dataclasses.replace(config, variant=name)
        begun = (folder / name / STATE_FILE).exists()
        train(own, pictures, folder / name, device=device, resume=begun, quiet=quiet)
    weights = [folder / name / WEIGHTS_FILE for name in names]
    checkpoints = [load_checkpoint(path) for path in weights]
    latencies = _latencies_s(checkpoints)
    runs = zip(weights, checkpoints, latencies, strict=True)
    return tuple(_measured(path, checkpoint, latency_s, test) for path, checkpoint, latency_s in runs)


def _measured(weights: Path, checkpoint: Checkpoint, latency_s: float, test: Path | None) -> Trained:
    scale = checkpoint.config.scale
    height, width = low_size(HD, scale)
    return Trained(
        name=weights.parent.name,
        parameters=sum(parameter.numel() for parameter in checkpoint.network.parameters()),
        multiply_accumulates=multiply_accumulates(checkpoint.config, height, width),
        latency_s=latency_s,
        peak_bytes=_peak_bytes(weights, scale),
        psnr=None if test is None else evaluate(test, weights, device="cpu").psnr,
        curve=tuple((entry["step"], entry["psnr"]) for entry in read_log(weights.parent)),
    )


def _latencies_s(checkpoints: Sequence[Checkpoint]) -> list[float]:
    low = torch.rand(1, 3, LATENCY_PX, LATENCY_PX)
    runs = [partial(_SETTINGS.upscaler(checkpoint, "cpu"), low) for checkpoint in checkpoints]
    return [_median_s(timing) for timing in measure(runs, warm_up=WARM_UP, rounds=ROUNDS)]


def _median_s(timing: Timing | EscError) -> float:
    if isinstance(timing, EscError):
        raise timing
    return timing.median_s


def _peak_bytes(weights: Path, scale: int) -> int | None:
    threads = torch.get_num_threads()
    return host_peak_bytes(
        Trial(NetworkSource(str(weights), scale), _SETTINGS, LATENCY_PX, LATENCY_PX, threads)
    )


def draw_curves(trained: Sequence[Trained], path: Path) -> None:
    """Plot the PSNR on the held-out pictures over the steps, with one line for each network.

    Args:
        trained: The networks.
        path: A .png or .svg file; an existing file is replaced.

    Raises:
        UsageError: See ``check_plot``.
        OutputError: The file cannot be written.
    """
    with saved_figure(path, (8, 5)) as figure:
        axes = figure.subplots()
        for one in trained:
            steps, psnr = zip(*one.curve, strict=True)
            axes.plot(steps, psnr, label=one.name)
        axes.set_xlabel("steps")
        axes.set_ylabel("PSNR on the held-out pictures, dB")
        axes.legend(fontsize=8)
