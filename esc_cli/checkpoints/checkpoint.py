"""Load a network that is ready to run, from a file or by the name of a shipped model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from esc_cli.checkpoints.files import bare, read_tensors, without_prefixes
from esc_cli.checkpoints.foreign import INSTALL_HINT, is_spandrel_installed, load_foreign
from esc_cli.checkpoints.manifest import Baseline, ModelEntry, is_baseline, is_name, read_manifest, verify
from esc_cli.errors import UnknownNetworkError, WeightsError
from esc_cli.networks.architectures.base import NetworkConfig
from esc_cli.networks.architectures.interpolation import InterpolationConfig
from esc_cli.networks.architectures.registry import build_network, recognise, variant_name
from esc_cli.storage.whole_files import file_sha256

BASELINE_SCALES = (2, 3, 4)


@dataclass(frozen=True)
class Checkpoint:
    """A loaded network and its origin.

    Attributes:
        network: The network, in eval mode, in float32, on the CPU.
        config: Configuration of the network.
        scale: Output pixels per input pixel, along each axis. None means that the network supports any scale,
            with ``config.scale`` as the default.
        name: Name of the shipped model, or name of the file.
        variant: Name of the network in the paper, or a description.
        origin: Path of the file, or "built in" for networks without a file.
        sha256: SHA-256 digest of the file, hexadecimal. For a baseline, its name and scale.
    """

    network: nn.Module
    config: NetworkConfig
    scale: int | None
    name: str
    variant: str
    origin: str
    sha256: str


def load_checkpoint(model: str | Path, scale: int | None = None) -> Checkpoint:
    """Load a shipped model by its name, a checkpoint by its path, or a baseline.

    A checkpoint of another family than ESC is loaded with spandrel, if that is installed.

    Args:
        model: A name (``esc-light``), a path (``ESC_DIV2K_X4.pth``), ``nearest`` or ``bicubic``.
        scale: The scale to load. The default is the model's largest scale. A file has one scale or supports
            any scale.

    Raises:
        WeightsError: The model does not exist, it does not have this scale, or its file is missing, damaged
            or not of a known network.
    """
    if not is_name(model):
        checkpoint = _from_file(Path(model), Path(model).name)
        if scale is not None and checkpoint.scale is not None:
            _check_scale(model, scale, (checkpoint.scale,))
        return checkpoint
    available = available_scales(str(model))
    scale = max(available) if scale is None else scale
    _check_scale(model, scale, available)
    if is_baseline(model):
        return _interpolation(model, scale)
    entry = _shipped(model)[scale]
    verify(entry)
    return _from_file(entry.path, entry.name)


def open_model(model: str | Path | Checkpoint) -> str | Checkpoint:
    """Load a model that is given as a file, so that the file is read only once.

    A name is returned as it is, because it may stand for several files.

    Returns:
        The name of a shipped model or a baseline, or a loaded checkpoint.

    Raises:
        WeightsError: The model does not exist, or its file is damaged or not of a known network.
    """
    if isinstance(model, Checkpoint):
        return model
    return str(model) if is_name(model) else load_checkpoint(model)


def available_scales(model: str | Checkpoint) -> tuple[int, ...]:
    """Return the scales of a model from ``open_model``, smallest first.

    If the model supports any scale, only its default scale is returned.

    Raises:
        WeightsError: The model makes pictures smaller.
    """
    if isinstance(model, Checkpoint):
        config = model.config
        if config.shrinks:
            raise WeightsError(f"the model {model.name!r} makes pictures {config.body_factor} times smaller")
        return (config.scale,)
    return BASELINE_SCALES if is_baseline(model) else tuple(sorted(_shipped(model)))


def does_any_scale(model: str | Checkpoint) -> bool:
    """Return whether a model from ``open_model`` can make results of any size by itself."""
    return isinstance(model, Checkpoint) and model.scale is None


def _check_scale(model: str | Path, scale: int, available: tuple[int, ...]) -> None:
    if scale not in available:
        listed = ", ".join(f"x{one}" for one in available)
        raise WeightsError(f"the model {str(model)!r} has no scale x{scale}, only {listed}")


def _shipped(model: str | Path) -> dict[int, ModelEntry]:
    return {entry.scale: entry for entry in read_manifest() if entry.name == model}


def _from_file(path: Path, name: str) -> Checkpoint:
    tensors = read_tensors(path)
    state = bare(tensors)
    try:
        config = recognise(state)
    except UnknownNetworkError as error:
        if not is_spandrel_installed():
            raise WeightsError(
                error.message, hint=f"for networks of other families: {INSTALL_HINT}"
            ) from error
        return _foreign(tensors, path, name)
    network = build_network(config)
    misfit = _misfit(network.state_dict(), state)
    if misfit is not None:
        raise WeightsError(f"the tensors of {str(path)!r} do not fit its network: {misfit}")
    network.load_state_dict(state)
    scale = None if config.any_scale else config.scale
    return Checkpoint(
        network.float().eval(), config, scale, name, variant_name(config), str(path), file_sha256(path)
    )


def _misfit(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str | None:
    """Return why tensors do not fit a network; None if they do."""
    for names, verb in ((expected.keys() - state, "missing"), (state.keys() - expected, "unknown")):
        if names:
            rest = f" and {len(names) - 1} more are" if len(names) > 1 else " is"
            return f"{min(names)!r}{rest} {verb}"
    for name, tensor in expected.items():
        if state[name].shape != tensor.shape:
            return f"{name!r} has the shape {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
        if state[name].layout != torch.strided:
            return f"{name!r} is a sparse tensor"
    return None


def _foreign(tensors: dict[str, Tensor], path: Path, name: str) -> Checkpoint:
    network = load_foreign(without_prefixes(tensors), str(path))
    config = network.config
    return Checkpoint(network, config, config.scale, name, config.architecture, str(path), file_sha256(path))


def _interpolation(method: Baseline, scale: int) -> Checkpoint:
    config = InterpolationConfig(scale, method)
    network = build_network(config).eval()
    return Checkpoint(network, config, scale, method, method, "built in", f"{method} x{scale}")
