"""Check that the networks of a model, and the runtime, can do what the options of an upscaler ask for."""

from collections.abc import Collection

import torch

from esc_cli.checkpoints.cascade import Cascade
from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.engine.borders import Wraps
from esc_cli.engine.device import PrecisionChoice
from esc_cli.engine.executors.base import Demands, Runtime
from esc_cli.engine.executors.registry import AUTO, choose_runtime, runtime_named
from esc_cli.engine.pixels import dtype_name
from esc_cli.engine.tiling.choice import Tiling, TilingRequest
from esc_cli.errors import UsageError


def suitable_precision(
    chosen: PrecisionChoice, cascade: Cascade, device: torch.device, runtime: str
) -> PrecisionChoice:
    """Return the precision for ``auto``, which is float32 if the networks or the runtime need it.

    Args:
        chosen: The usual precision on the device.
        cascade: The networks.
        device: Device that the networks run on.
        runtime: Name of a runtime, or ``auto``.

    Raises:
        UsageError: There is no runtime with this name.
    """
    if not cascade.has_weights:
        return PrecisionChoice(torch.float32, "a baseline has no weights to multiply with")
    if cascade.is_opaque:
        return PrecisionChoice(torch.float32, "the error of half precision is not known here")
    return chosen if runtime == AUTO else _supported(chosen, cascade, device, runtime_named(runtime))


def _supported(
    chosen: PrecisionChoice, cascade: Cascade, device: torch.device, runtime: Runtime
) -> PrecisionChoice:
    """Return a precision, or float32 if a runtime supports only that for these networks."""
    networks = [checkpoint.network for checkpoint in cascade.checkpoints.values()]

    def is_supported(dtype: torch.dtype) -> bool:
        return all(runtime.obstacle(network, device, dtype) is None for network in networks)

    if is_supported(chosen.dtype) or not is_supported(torch.float32):
        return chosen
    return PrecisionChoice(torch.float32, f"{runtime.title} needs it")


def check_networks(cascade: Cascade, dtype: torch.dtype, tiling: Tiling, attention: str) -> None:
    """Refuse what a network does not support, and what needs to know its steps if they are not known.

    Raises:
        UsageError: A network does not support the precision, the tiling or the attention backend.
    """
    for checkpoint in cascade.checkpoints.values():
        _check_network(checkpoint, dtype, tiling, attention)


def _check_network(checkpoint: Checkpoint, dtype: torch.dtype, tiling: Tiling, attention: str) -> None:
    if not checkpoint.config.supports(dtype):
        raise UsageError(
            f"the network {checkpoint.variant} does not support {dtype_name(dtype)}",
            hint="choose precision float32",
        )
    if checkpoint.config.opaque and tiling == "exact":
        raise UsageError(
            f"the network {checkpoint.variant} cannot run in exact strips, as its steps are not known",
            hint="choose tiling auto, none or overlap",
        )
    if checkpoint.config.opaque and attention not in ("auto", "naive"):
        raise UsageError(
            f"the network {checkpoint.variant} has no attention to choose", hint="choose attention auto"
        )


def check_runtime(
    request: str | Runtime, demands: Demands, cascade: Cascade, device: torch.device, dtype: torch.dtype
) -> None:
    """Refuse a runtime that cannot do what the user asks for, or cannot run the networks.

    Args:
        request: A runtime or its name. ``auto`` is never refused.
        demands: What the user asks for.
        cascade: The networks.
        device: Device that the networks run on.
        dtype: Type of weights and features.

    Raises:
        UsageError: The runtime does not exist, or cannot do what the user asks for.
        DeviceError: The runtime is not installed, or cannot run a network.
    """
    if request == AUTO:
        return
    runtime = runtime_named(request) if isinstance(request, str) else request
    what = runtime.missing(demands)
    if what is not None:
        raise UsageError(f"{runtime.title} cannot {what}", hint="choose the runtime torch or auto")
    for checkpoint in cascade.checkpoints.values():
        choose_runtime(request, checkpoint.network, device, dtype, 0)


def check_scale_and_borders(cascade: Cascade, wraps: Wraps, tilings: Collection[TilingRequest]) -> None:
    """Refuse what the networks cannot do with pictures of any scale, or with borders that wrap.

    Raises:
        UsageError: The networks cannot do it.
    """
    if cascade.does_any_scale:
        _refuse_tiles(tilings, "an arbitrary-scale model cannot run in tiles")
    if not wraps:
        return
    _refuse_tiles(tilings, "a picture whose borders wrap cannot run in tiles")
    if cascade.does_any_scale:
        raise UsageError("an arbitrary-scale model cannot let borders wrap", "name another model")
    if cascade.is_opaque:
        raise UsageError(
            "the borders of a network cannot wrap if its steps are not known", "name an ESC model"
        )


def _refuse_tiles(tilings: Collection[TilingRequest], message: str) -> None:
    """Refuse tiles: pixels of any scale lie on no grid that tiles share, and tiles do not wrap."""
    if any(tiling.mode == "overlap" for tiling in tilings):
        raise UsageError(message, hint="choose tiling auto or exact")
