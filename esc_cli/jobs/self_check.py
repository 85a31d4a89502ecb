"""Check that every part of the program works on this machine: each is tried with a small picture.

The parts are those of the registries: models, runtimes, picture formats and containers.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.checkpoints.manifest import DEFAULT_MODEL, read_manifest, verify
from esc_cli.engine.device import available_devices, choose_device, choose_precision
from esc_cli.engine.executors.base import Runtime
from esc_cli.engine.executors.registry import MODULES, is_standard, runtime_named
from esc_cli.engine.memory.free import free_bytes
from esc_cli.engine.pixels import dtype_name
from esc_cli.engine.upscaler import Upscaler
from esc_cli.errors import DEBUG_VARIABLE, EscError, OutputError, WeightsError, as_ours
from esc_cli.jobs.events import seconds_since
from esc_cli.jobs.installation import device_name
from esc_cli.jobs.upscale import upscale_files
from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.formats.registry import DEFAULT_FORMAT, FORMATS
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.picture import Picture, PictureFile
from esc_cli.media.read import read_picture
from esc_cli.media.video.containers import CONTAINERS, Container
from esc_cli.media.video.reader import VideoReader
from esc_cli.media.write import encode_file
from esc_cli.networks.architectures.esc import ESCConfig
from esc_cli.networks.architectures.registry import build_network
from esc_cli.version import install_hint

State = Literal["works", "not installed", "cannot be used", "fails"]

_LARGEST_DIFFERENCE = 1e-3
"""Largest difference between a runtime and the plain network in float32, of values from 0 to 1."""

_MEAN_DIFFERENCE = 8
"""Largest mean difference of a picture that was written and read again, of values from 0 to 255."""

_FRAMES = 3


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        kind: Kind of the part: ``device``, ``model``, ``runtime``, ``format`` or ``container``.
        name: Name of the part.
        state: Whether the part works. Parts that are ``not installed`` need an extra, and parts that ``cannot
            be used`` do not suit this machine.
        detail: A description of the trial, or the reason for its failure.
        seconds: Duration of the check.
        optional: Whether the program works without the part.
        exit_code: Exit code of the failure; 0 if there is none.
    """

    kind: str
    name: str
    state: State
    detail: str
    seconds: float
    optional: bool = False
    exit_code: int = 0


def all_checks() -> Iterator[Check]:
    """Make all checks, one after the other."""
    for name in available_devices():
        yield _check("device", name, partial(_device_works, name), optional=name != "cpu")
    yield _check("model", "files", _files_are_intact)
    yield _check("model", DEFAULT_MODEL, _default_model_works)
    yield from _runtimes()
    for format in FORMATS.values():
        yield _of_format(format)
    for container in CONTAINERS:
        yield _check("container", container.name, partial(_container_works, container))


def _check(kind: str, name: str, trial: Callable[[], str], *, optional: bool = False) -> Check:
    begun = time.monotonic()
    try:
        check = Check(kind, name, "works", trial(), 0.0, optional=optional)
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE) and not isinstance(error, EscError):
            raise
        detail, code = _description(error), int(as_ours(error).exit_code)
        check = Check(kind, name, "fails", detail, 0.0, optional=optional, exit_code=code)
    return replace(check, seconds=seconds_since(begun))


def _description(error: BaseException) -> str:
    """Return the message of an error with its cause, which helps more than advice for users."""
    if not isinstance(error, EscError):
        return f"{type(error).__name__}: {error}"
    return error.message if error.__cause__ is None else f"{error.message}: {_description(error.__cause__)}"


def _device_works(name: str) -> str:
    device = choose_device(name)
    precision = choose_precision("auto", device.device)
    gigabytes = free_bytes(device.device) / 10**9
    return f"{device_name(device)}, {gigabytes:.1f} GB free, {dtype_name(precision.dtype)}"


def _files_are_intact() -> str:
    entries = read_manifest()
    for entry in entries:
        verify(entry)
    return f"{len(entries)} models are intact"


def _default_model_works() -> str:
    upscaler = Upscaler(DEFAULT_MODEL)
    high = upscaler(_gradient())
    if high.float().std() == 0:
        raise WeightsError("the result is one flat color")
    return f"x{upscaler.scale} on {upscaler.device} in {dtype_name(upscaler.precision)}"


def _runtimes() -> Iterator[Check]:
    checkpoint = _small_network()
    low = _gradient() / 255
    with torch.inference_mode():
        expected = checkpoint.network(low)
        for name in MODULES:
            yield _of_runtime(runtime_named(name), checkpoint, low, expected)


def _small_network() -> Checkpoint:
    """Return an ESC network of one block with random weights, which are the same each time."""
    config = ESCConfig(2, 32, 8, 2, blocks=1, mixers=1, window_size=16, first_hidden_dim=32, hidden_dim=32)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        network = build_network(config).eval()
    return Checkpoint(network, config, 2, "small", "small", "random weights", "small")


def _of_runtime(runtime: Runtime, checkpoint: Checkpoint, low: Tensor, expected: Tensor) -> Check:
    if not runtime.is_installed:
        return _not_installed("runtime", runtime.name, runtime.name)
    chosen = choose_device().device
    device = chosen if runtime.runs_on(chosen) else torch.device("cpu")
    obstacle = runtime.obstacle(checkpoint.network, device, torch.float32)
    if obstacle is not None:
        return Check("runtime", runtime.name, "cannot be used", obstacle, 0.0, optional=True)

    def trial() -> str:
        high = runtime.executor(checkpoint, device, torch.float32, "naive")(low).cpu()
        difference = (high - expected).abs().max().item()
        if not difference < _LARGEST_DIFFERENCE:
            raise WeightsError(f"its result differs by {difference:.2g} from that of the plain network")
        return f"a small network in float32 on {device}, differs by at most {difference:.0e}"

    return _check("runtime", runtime.name, trial, optional=not is_standard(runtime))


def _of_format(format: PictureFormat) -> Check:
    if not format.is_installed():
        return _not_installed("format", format.name, str(format.extra))
    return _check("format", format.name, partial(_format_works, format), optional=format.extra is not None)


def _format_works(format: PictureFormat) -> str:
    color = _gradient()
    if format.written_as is not None:
        content = format.sample((color[0].permute(1, 2, 0) / 255).numpy())
    else:
        picture = Picture(color, None, gray=False, metadata=Metadata(), format=format.name)
        content = encode_file(PictureFile((picture,)), format)
    _compare(read_picture(content).color, color)
    return ", ".join(format.extensions) + (" (only read)" if format.written_as is not None else "")


def _container_works(container: Container) -> str:
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _works_in(Path(folder), container)
    except OSError as error:
        raise OutputError(f"temporary files cannot be written: {error.strerror}") from error


def _works_in(folder: Path, container: Container) -> str:
    """Make a clip of a few pictures as the command does, and read it."""
    picture = Picture(_gradient(), None, gray=False, metadata=Metadata(), format=DEFAULT_FORMAT.name)
    content = encode_file(PictureFile((picture,)), DEFAULT_FORMAT)
    for number in range(_FRAMES):
        (folder / f"{number}{DEFAULT_FORMAT.extensions[0]}").write_bytes(content)
    frames, target = folder / f"%d{DEFAULT_FORMAT.extensions[0]}", folder / f"clip{container.extensions[0]}"
    for failure in upscale_files([frames], target, model="nearest", scale=1, fps="25", device="cpu").failures:
        raise failure.error
    with VideoReader(target) as reader:
        colors = [frame.color for frame in reader]
        codec = reader.clip.codec
    if len(colors) != _FRAMES:
        raise OutputError(f"{len(colors)} of {_FRAMES} frames are left")
    _compare(colors[0], picture.color)
    return f"{', '.join(container.extensions)}; {codec}"


def _compare(read: Tensor, written: Tensor) -> None:
    """Raise an error if a picture is not what was written.

    Raises:
        OutputError: The size or the colors differ.
    """
    if read.shape != written.shape:
        raise OutputError(
            f"the picture that was read has {tuple(read.shape)} values, not {tuple(written.shape)}"
        )
    difference = (read.float() - written.float()).abs().mean().item()
    if difference > _MEAN_DIFFERENCE:
        raise OutputError(f"the colors that were read are {difference:.0f} of 255 off")


def _gradient() -> Tensor:
    """Return a smooth picture, (1, 3, 32, 32), uint8."""
    ramp = torch.linspace(0, 255, 32)
    rows, columns = ramp[:, None].expand(32, 32), ramp[None].expand(32, 32)
    return torch.stack([rows, columns, (rows + columns) / 2])[None].to(torch.uint8)


def _not_installed(kind: str, name: str, extra: str) -> Check:
    return Check(kind, name, "not installed", install_hint(extra), 0.0, optional=True)
