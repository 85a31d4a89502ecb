"""The training loop: patches in, averaged weights out."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from esc_cli.checkpoints.files import read_state_dict
from esc_cli.engine.pixels import from_unit, to_unit
from esc_cli.errors import OutOfMemoryError, OutputError, UsageError
from esc_cli.evaluation.metrics import crop_border, luma, psnr
from esc_cli.networks.variants import VARIANTS, NetworkConfig, build_network
from esc_cli.training.configuration import TrainingConfig, is_over, learning_rate
from esc_cli.training.data import Pair, batch_of_step, load_pairs, load_validation_crops, split_by_source
from esc_cli.training.initial import adapt_weights
from esc_cli.training.state import STATE_FILE, WEIGHTS_FILE, RunState, load_state, save_state

LOG_FILE = "log.jsonl"
SPLIT_FILE = "pictures.json"

Forward = Callable[[Tensor], Tensor]

VALIDATION_WINDOWS = 3
"""Side of the validation crops, in attention windows."""


@dataclass
class _Run:
    config: TrainingConfig
    folder: Path
    device: torch.device
    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    step: int = 0
    elapsed_s: float = 0.0


def train(
    config: TrainingConfig,
    pictures: Path,
    folder: Path,
    *,
    device: torch.device,
    initial: Path | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> Path:
    """Train a network on a folder of pictures.

    Args:
        config: The run; when resuming, that of the run's first sitting is used instead.
        pictures: Folder of high-resolution pictures, searched with its sub-folders.
        folder: Where the state, the weights, the log and the list of pictures go.
        device: Where to train.
        initial: Weights to start from; of another scale or with fewer blocks if need be.
        resume: Go on with the run in ``folder``.
        quiet: Show no progress bar.

    Returns:
        The path of the averaged weights.

    Raises:
        InputError: There are no pictures to train on, or no run to resume.
        UsageError: The variant has no such scale.
        WeightsError: The initial weights do not fit.
        OutputError: The folder cannot be written to, or holds a run already.
        OutOfMemoryError: The device has too little memory.
    """
    with _translated_errors(device, folder):
        _prepare_folder(folder, resume)
        run = _resumed_run(folder, device) if resume else _new_run(config, folder, device, initial)
        split = split_by_source(pictures, run.config.validation_pictures, run.config.seed)
        _write_split(folder, pictures, split.training, split.validation)
        pairs = load_pairs(split.training, run.config.scale, run.config.patch_px, device)
        window = _network_config(run.config).window_size
        side = VALIDATION_WINDOWS * window
        crops = load_validation_crops(split.validation, run.config.scale, side, window, device)
        _run_steps(run, pairs, crops, quiet)
        return folder / WEIGHTS_FILE


@contextmanager
def _translated_errors(device: torch.device, folder: Path) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(f"{device} has not enough memory", hint="take a smaller batch") from error
    except OSError as error:
        raise OutputError(f"the run in {str(folder)!r} cannot be written: {error.strerror}") from error


def _prepare_folder(folder: Path, resume: bool) -> None:
    if not resume and (folder / STATE_FILE).exists():
        raise OutputError(f"there is a run in {str(folder)!r} already", hint="--resume goes on with it")
    folder.mkdir(parents=True, exist_ok=True)
    if not resume:
        (folder / LOG_FILE).unlink(missing_ok=True)  # of a run that was killed before its first state


def _network_config(config: TrainingConfig) -> NetworkConfig:
    try:
        return VARIANTS[config.variant](config.scale)
    except KeyError as error:
        raise UsageError(f"there is no variant {config.variant!r}", hint=", ".join(VARIANTS)) from error
    except ValueError as error:
        raise UsageError(f"{config.variant} cannot be x{config.scale}: {error}") from error


def _new_run(config: TrainingConfig, folder: Path, device: torch.device, initial: Path | None) -> _Run:
    torch.manual_seed(config.seed)
    network = build_network(_network_config(config))
    if initial is not None:
        network.load_state_dict(adapt_weights(read_state_dict(initial), network.state_dict()))
    elif config.zero_head:
        _zero_last_layer(network)
    return _assemble(config, folder, device, network)


@torch.no_grad()
def _zero_last_layer(network: nn.Module) -> None:
    head = network.get_submodule("upsampler.up_conv" if hasattr(network, "upsampler") else "to_img")
    last = head[-1] if isinstance(head, nn.Sequential) else head
    for parameter in last.parameters():
        parameter.zero_()


def _resumed_run(folder: Path, device: torch.device) -> _Run:
    state = load_state(folder)
    network = build_network(_network_config(state.config))
    network.load_state_dict(state.network)
    run = _assemble(state.config, folder, device, network)
    run.average.load_state_dict(state.average)
    run.optimizer.load_state_dict(state.optimizer)
    run.step, run.elapsed_s = state.step, state.elapsed_s
    return run


def _assemble(config: TrainingConfig, folder: Path, device: torch.device, network: nn.Module) -> _Run:
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = build_network(_network_config(config)).to(device).eval().requires_grad_(False)
    average.load_state_dict(network.state_dict())
    optimizer = torch.optim.AdamW(
        network.parameters(),
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=True,
    )
    return _Run(config, folder, device, network, average, optimizer)


def _run_steps(run: _Run, pairs: list[Pair], crops: list[Pair], quiet: bool) -> None:
    config = run.config
    forward: Forward = torch.compile(run.network) if config.compile else run.network
    total = config.steps if config.minutes is None else None
    begun = time.monotonic() - run.elapsed_s
    saved_s = run.elapsed_s
    with _log(run.folder) as log, tqdm(total=total, initial=run.step, disable=quiet, unit="step") as bar:
        while not is_over(config, run.step, run.elapsed_s):
            loss = _step(run, forward, pairs)
            run.step += 1
            run.elapsed_s = time.monotonic() - begun
            bar.update()
            over = is_over(config, run.step, run.elapsed_s)
            if over or run.step % config.validate_every == 0:
                entry = {**_entry(run, loss), "psnr": validate(run.average, crops)}
                log(entry)
                bar.set_postfix(loss=entry["loss"], psnr=entry["psnr"])
            if over or run.elapsed_s - saved_s >= config.save_every_s:
                _save(run)
                saved_s = run.elapsed_s


def _step(run: _Run, forward: Forward, pairs: list[Pair]) -> Tensor:
    config = run.config
    low, high = batch_of_step(
        pairs, run.step, seed=config.seed, batch_size=config.batch_size, patch_px=config.patch_px
    )
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate(config, run.step, run.elapsed_s)
    with torch.autocast(run.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        output = forward(low.contiguous(memory_format=torch.channels_last))
    loss = F.l1_loss(output.float(), high)
    run.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    run.optimizer.step()
    _update_average(run)
    return loss.detach()


@torch.no_grad()
def _update_average(run: _Run) -> None:
    """Move the averaged weights towards the live ones; the horizon grows with the run until it is full."""
    decay = min(run.config.ema_decay, (1 + run.step) / (10 + run.step))
    averages: list[Tensor] = list(run.average.parameters())
    live: list[Tensor] = list(run.network.parameters())
    torch._foreach_lerp_(averages, live, 1 - decay)


@torch.inference_mode()
def validate(network: nn.Module, crops: list[Pair]) -> float:
    """Give the mean PSNR on luma over the validation crops, dB, of 8-bit results."""
    values = []
    for crop in crops:
        scale = crop.high.shape[-1] // crop.low.shape[-1]
        high = from_unit(network(to_unit(crop.low[None])), torch.uint8)
        planes = [crop_border(luma(picture), scale) for picture in (high, crop.high[None])]
        values.append(psnr(planes[0], planes[1]))
    return round(sum(values) / len(values), 4)


def _entry(run: _Run, loss: Tensor) -> dict[str, Any]:
    rate = learning_rate(run.config, run.step, run.elapsed_s)
    return {
        "step": run.step,
        "elapsed_s": round(run.elapsed_s, 1),
        "loss": round(float(loss), 6),
        "learning_rate": rate,
    }


def _save(run: _Run) -> None:
    state = RunState(
        config=run.config,
        step=run.step,
        elapsed_s=run.elapsed_s,
        network=dict(run.network.state_dict()),
        average=dict(run.average.state_dict()),
        optimizer=run.optimizer.state_dict(),
    )
    save_state(state, run.folder)


@contextmanager
def _log(folder: Path) -> Iterator[Any]:
    with (folder / LOG_FILE).open("a", encoding="utf-8") as file:

        def write(entry: dict[str, Any]) -> None:
            print(json.dumps(entry), file=file, flush=True)

        yield write


def _write_split(
    folder: Path, pictures: Path, training: tuple[Path, ...], held_out: tuple[Path, ...]
) -> None:
    names = {
        "training": [path.relative_to(pictures).as_posix() for path in training],
        "validation": [path.relative_to(pictures).as_posix() for path in held_out],
    }
    (folder / SPLIT_FILE).write_text(json.dumps(names, indent=1), encoding="utf-8")
