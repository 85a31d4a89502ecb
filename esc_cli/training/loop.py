"""The training loop, which turns patches into averaged weights."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from esc_cli.checkpoints.checkpoint import load_checkpoint
from esc_cli.engine.attention_choice import EXACT, choose_attention
from esc_cli.engine.executors.inference import for_inference
from esc_cli.engine.threads import limit_threads
from esc_cli.errors import OutOfMemoryError, OutputError, UsageError
from esc_cli.evaluation.degradation.wild import Degradation, recipe_of
from esc_cli.training.acceleration import (
    Learn,
    RecordedStep,
    compile_blocks,
    flushed_denormals,
    set_capturable,
    set_rate,
    tuned_convolutions,
)
from esc_cli.training.configuration import TrainingConfig, is_over, learning_rate
from esc_cli.training.losses import border_loss, frequency_loss
from esc_cli.training.pairs import Pairs, Split, find_files, load_pairs, split_by_source
from esc_cli.training.patches import Batch, batch_of_step, room_px
from esc_cli.training.processes import Processes, joined_processes
from esc_cli.training.run import Run, branched_run, network_config, new_run, resumed_run
from esc_cli.training.run_folder import (
    WEIGHTS_FILE,
    check_free,
    open_log,
    read_split,
    write_config,
    write_split,
)
from esc_cli.training.validation import ValidationSet, load_validation_set


@dataclass(frozen=True)
class Lessons:
    """The data that a run learns from, on its device.

    Attributes:
        pairs: Pictures to train on.
        recipe: Degradation that makes the low-resolution patches; None if those of ``pairs`` are used.
        teacher: Network whose results are learned, too; None if there is no teacher, or if its results are
            pictures in ``pairs``.
        validation: Held-out pictures.
    """

    pairs: Pairs
    recipe: Degradation | None
    teacher: nn.Module | None
    validation: ValidationSet


def train(
    config: TrainingConfig,
    pictures: Path,
    folder: Path,
    *,
    device: torch.device,
    resume: bool = False,
    trunk: Path | None = None,
    quiet: bool = False,
) -> Path:
    """Train a network on a folder of pictures, together with the other processes that ``torchrun`` started.

    Args:
        config: Configuration of the run. A resumed run keeps its own configuration; if its rate is constant,
            it takes ``steps`` and ``minutes`` from this one.
        pictures: Folder of high-resolution pictures, searched recursively.
        folder: Folder of the run, for its configuration, state, weights, log and list of pictures.
        device: Device to train on.
        resume: Whether to resume the run in ``folder``.
        trunk: Folder of another run to branch from. The new run begins with its network, average and
            optimizer, and trains on its pictures. The other run is not changed.
        quiet: Whether to hide the progress bar.

    Returns:
        The path of the averaged weights.

    Raises:
        InputError: There are no pictures to train on, or no run to resume.
        UsageError: The variant does not support the scale, the batch is smaller than the number of processes,
            a patch is too small for the border loss, Muon is to be recorded as a CUDA graph, or the source of
            a teacher's pictures is not given.
        WeightsError: The initial weights or the teacher do not fit.
        OutputError: The folder cannot be written to, or it already contains a run.
        DeviceError: Another process of the run has ended.
        OutOfMemoryError: The device has too little memory.
    """
    fast = {"cuda": tuned_convolutions, "cpu": flushed_denormals}.get(device.type, nullcontext)
    with _translated_errors(device, folder), joined_processes(device) as processes, fast():
        if device.type == "cpu":
            limit_threads()
        if not resume:
            check_free(folder)
        run = _opened_run(config, folder, device, resume=resume, trunk=trunk)
        _check(run.config, processes.count)
        begun = folder if resume else trunk
        split = (
            split_by_source(pictures, config.validation_pictures)
            if begun is None
            else read_split(pictures, begun)
        )
        if processes.is_first:
            write_config(run.config, folder)
            write_split(split, pictures, folder)
        if not is_over(run.config, run.step, run.elapsed_s):
            _run_steps(run, load_lessons(run, split, pictures), folder, processes, quiet=quiet)
        return folder / WEIGHTS_FILE


def _opened_run(
    config: TrainingConfig, folder: Path, device: torch.device, *, resume: bool, trunk: Path | None
) -> Run:
    if not resume:
        return new_run(config, device) if trunk is None else branched_run(config, trunk, device)
    run = resumed_run(folder, device)
    if run.config.schedule == "constant":
        run.config = dataclasses.replace(run.config, steps=config.steps, minutes=config.minutes)
    return run


@contextmanager
def _translated_errors(device: torch.device, folder: Path) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(f"{device} does not have enough memory", hint="use a smaller batch") from error
    except OSError as error:
        place = error.filename or str(folder)
        raise OutputError(f"{str(place)!r} cannot be read or written: {error.strerror}") from error


def _check(config: TrainingConfig, processes: int) -> None:
    if config.batch_size < processes:
        raise UsageError(f"{processes} processes cannot share a batch of {config.batch_size} patches")
    window_px = network_config(config).window_size
    if config.border_weight and config.patch_px <= window_px:
        raise UsageError(
            f"patches of {config.patch_px} pixels contain no border between attention windows",
            hint=f"use a --patch-px larger than {window_px}, or --border-weight 0",
        )
    if config.cuda_graph and config.optimizer == "muon":
        raise UsageError(
            "Muon needs the host in each step, so the steps cannot be recorded as a CUDA graph",
            hint="remove --cuda-graph",
        )
    if _lessons_folder(config) and not config.teacher_source:
        raise UsageError(
            f"the source of the teacher's pictures in {config.teacher!r} is not given",
            hint="name the program that made them and its license with --teacher-source, for the model card",
        )


def _lessons_folder(config: TrainingConfig) -> Path | None:
    """Return the folder of the teacher's results; None if the teacher is a model, or if none is used."""
    if config.teacher is None or config.teacher_share == 0:
        return None
    return Path(config.teacher) if Path(config.teacher).is_dir() else None


def load_lessons(run: Run, split: Split, pictures: Path) -> Lessons:
    """Load the training data of a run onto its device.

    Raises:
        InputError: A picture is missing or cannot be read, or none is large enough.
        WeightsError: There is no such teacher.
    """
    config, device = run.config, run.device
    recipe = _recipe_of(config)
    needed_px = room_px(config.patch_px, recipe)
    low = None if config.low_pictures is None else Path(config.low_pictures)
    training = find_files(split.training, pictures, low=low, lessons=_lessons_folder(config))
    validation = find_files(split.validation, pictures, low=low)
    return Lessons(
        load_pairs(training, config.scale, needed_px, device, sharpened=config.sharpen_originals),
        recipe,
        _load_teacher(config, device),
        load_validation_set(validation, config.scale, device, recipe=recipe),
    )


def _recipe_of(config: TrainingConfig) -> Degradation | None:
    """Return the degradation that makes low-resolution patches; None if low-resolution pictures are used."""
    if config.degradation == "bicubic" or config.low_pictures is not None:
        return None
    return recipe_of(config.degradation, config.scale)


def _load_teacher(config: TrainingConfig, device: torch.device) -> nn.Module | None:
    if config.teacher is None or config.teacher_share == 0 or _lessons_folder(config) is not None:
        return None
    network = load_checkpoint(config.teacher, config.scale).network
    dtype = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    # On the CPU the choice is fixed. Elsewhere it is measured, and could change when the run is resumed.
    attention = choose_attention("auto", device, dtype).name if device.type == "cpu" else EXACT
    return for_inference(network, device, dtype, attention)


def _run_steps(run: Run, lessons: Lessons, folder: Path, processes: Processes, *, quiet: bool) -> None:
    config = run.config
    learn = learner(run, lessons.teacher, processes)
    begun, saved_s, first = time.monotonic() - run.elapsed_s, run.elapsed_s, run.step
    with _reports(run, lessons, folder, processes, quiet=quiet) as report:
        while not is_over(config, run.step, run.elapsed_s):
            loss = take_step(run, learn, lessons, processes)
            if config.compile and run.step == first:
                begun = time.monotonic() - run.elapsed_s  # the run's time does not include compilation
            run.step += 1
            run.elapsed_s = processes.from_first(time.monotonic() - begun, run.device)
            report(loss)
            over = is_over(config, run.step, run.elapsed_s)
            if processes.is_first and (over or run.elapsed_s - saved_s >= config.save_every_s):
                run.save(folder)
                saved_s = run.elapsed_s


@contextmanager
def _reports(
    run: Run, lessons: Lessons, folder: Path, processes: Processes, *, quiet: bool
) -> Iterator[Callable[[Tensor], None]]:
    """Yield a function that reports a finished step. It does nothing except in the first process."""
    if not processes.is_first:
        yield lambda loss: None
        return
    config = run.config
    total = config.steps if config.minutes is None else None
    with (
        open_log(folder, run.step) as log,
        tqdm(total=total, initial=run.step, disable=quiet, unit="step") as bar,
    ):

        def report(loss: Tensor) -> None:
            bar.update()
            if is_over(config, run.step, run.elapsed_s) or run.step % config.validate_every == 0:
                entry = _entry(run, loss) | lessons.validation.scores(run.average)
                log(entry)
                bar.set_postfix(loss=entry["loss"], psnr=entry["psnr"])

        yield report


def _entry(run: Run, loss: Tensor) -> dict[str, Any]:
    rate = learning_rate(run.config, run.step, run.elapsed_s)
    return {
        "step": run.step,
        "elapsed_s": round(run.elapsed_s, 1),
        "loss": round(float(loss), 6),
        "learning_rate": rate,
    }


def learner(run: Run, teacher: nn.Module | None, processes: Processes) -> Learn:
    """Return the function that takes a step on the tensors of a batch, compiled or recorded if configured."""
    learn = partial(_learn, run, teacher, processes)
    set_capturable(run.optimizer, False)  # the saved state of a recorded run has it set
    if run.config.compile:
        compile_blocks(run.network)
    is_recorded = run.config.cuda_graph and run.device.type == "cuda" and processes.count == 1
    return RecordedStep(learn, run.optimizer, run.device) if is_recorded else learn


def take_step(run: Run, learn: Learn, lessons: Lessons, processes: Processes) -> Tensor:
    """Take the next step of a run and return its loss. The caller must increase ``run.step``."""
    config = run.config
    samples = processes.share(config.batch_size)
    batch = batch_of_step(
        lessons.pairs, run.step, samples, seed=config.seed, patch_px=config.patch_px, recipe=lessons.recipe
    )
    set_rate(run.optimizer, learning_rate(config, run.step, run.elapsed_s))
    loss = learn(*batch.tensors)
    run.update_average()
    return loss


def _learn(run: Run, teacher: nn.Module | None, processes: Processes, *batch: Tensor) -> Tensor:
    loss = _loss(run, teacher, Batch(*batch)) * (len(batch[0]) / run.config.batch_size)
    run.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in run.network.parameters() if parameter.grad is not None]
    processes.add_up([*gradients, loss.detach()])
    run.optimizer.step()
    return loss.detach()


def _loss(run: Run, teacher: nn.Module | None, batch: Batch) -> Tensor:
    low = batch.low.contiguous(memory_format=torch.channels_last)
    is_half, cached = run.config.precision == "bfloat16", not run.config.cuda_graph
    with torch.autocast(run.device.type, torch.bfloat16, enabled=is_half, cache_enabled=cached):
        output = run.network(low).float()
    loss, target, lesson = F.l1_loss(output, batch.high), batch.high, batch.lesson
    if teacher is not None:
        with torch.no_grad():
            lesson = teacher(low).float()
    if lesson is not None:
        share = run.config.teacher_share
        loss = torch.lerp(loss, F.l1_loss(output, lesson), share)
        target = torch.lerp(target, lesson, share)
    if run.config.border_weight:
        window_px = network_config(run.config).window_size
        loss = loss + run.config.border_weight * border_loss(output - target, run.config.scale, window_px)
    if run.config.frequency_weight:
        loss = loss + run.config.frequency_weight * frequency_loss(output - target)
    return loss
