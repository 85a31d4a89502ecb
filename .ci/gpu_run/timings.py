"""Stages that measure time: single operations of a training step, and the engine's latency."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from checks import CHANNELS, HEADS, WINDOW_PX
from measures import milliseconds_of, peak_bytes, reason
from settings import Settings, Told
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from esc_cli.engine.upscaler import Upscaler
from esc_cli.errors import EscError
from esc_cli.evaluation.benchmark.sample_picture import cut_to, sample_picture
from esc_cli.evaluation.metrics import psnr
from esc_cli.networks.attention.position_bias import TableBias
from esc_cli.networks.attention.windows import ATTENTION_BACKENDS

Work = Callable[[], object]

_KERNELS = ("EFFICIENT_ATTENTION", "CUDNN_ATTENTION", "MATH")
_DEPTHWISE_CHANNELS = 128


def operations(settings: Settings) -> Told:
    """Time attention and convolutions of a training step in bfloat16, forward or forward and backward."""
    device = torch.device(settings.device)
    for name, work in _operations(settings, device):
        try:
            yield {"operation": name, "ms": milliseconds_of(work, device)}
        except (RuntimeError, NotImplementedError, EscError) as error:
            yield {"operation": name, "failed": reason(error)}


def _operations(settings: Settings, device: torch.device) -> Iterator[tuple[str, Work]]:
    """Yield the operations to time, with their names. Those that compile come last."""
    shape = (settings.batch, 16, settings.patch_px, settings.patch_px)
    yield "13x13 of 16 channels, back", _convolution(shape, 16, 13, 1, device)
    wide = (settings.batch, _DEPTHWISE_CHANNELS, *shape[2:])
    yield "depthwise 3x3, back", _convolution(wide, _DEPTHWISE_CHANNELS, 3, _DEPTHWISE_CHANNELS, device)
    for kernel in _KERNELS:
        yield f"attention, forward, {kernel}", _with_kernel(kernel, settings, device)
    for name in ("naive", "sdpa"):
        yield f"attention, back, {name}", _attention(ATTENTION_BACKENDS[name].attend, settings, device)
    yield "depthwise 3x3 as nine products, back", _nine_products(wide, device)
    compiled = torch.compile(ATTENTION_BACKENDS["naive"].attend, dynamic=False)
    yield "attention, back, naive compiled", _attention(compiled, settings, device)
    yield "attention, back, flex", _attention(ATTENTION_BACKENDS["flex"].attend, settings, device)


def _attention(backend: Callable[..., Tensor], settings: Settings, device: torch.device) -> Work:
    leaves = [one.requires_grad_() for one in _tokens(settings, device)]
    table = torch.zeros(HEADS, (2 * WINDOW_PX - 1) ** 2, device=device, requires_grad=True)
    gradient = torch.randn_like(leaves[0])
    bias = TableBias(table, WINDOW_PX)

    def work() -> object:
        return torch.autograd.grad(backend(*leaves, bias), [*leaves, table], gradient)

    return work


def _with_kernel(kernel: str, settings: Settings, device: torch.device) -> Work:
    """Return a function that computes attention without gradients, with one of PyTorch's kernels."""
    query, key, value = _tokens(settings, device)
    bias = torch.zeros(1, HEADS, WINDOW_PX**2, WINDOW_PX**2, device=device, dtype=query.dtype)

    def work() -> object:
        with sdpa_kernel(getattr(SDPBackend, kernel)), torch.no_grad():
            return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)

    return work


def _tokens(settings: Settings, device: torch.device) -> list[Tensor]:
    windows = settings.batch * max(1, settings.patch_px // WINDOW_PX) ** 2
    shape = (windows, HEADS, WINDOW_PX**2, CHANNELS)
    return [torch.randn(shape, device=device, dtype=torch.bfloat16) for _ in range(3)]


def _convolution(shape: tuple[int, ...], out: int, side: int, groups: int, device: torch.device) -> Work:
    features, gradient = (_features(shape, device) for _ in range(2))
    kernel = torch.randn(out, shape[1] // groups, side, side, device=device, dtype=torch.bfloat16)
    leaves = [features.requires_grad_(), kernel.requires_grad_()]

    def work() -> object:
        return torch.autograd.grad(F.conv2d(*leaves, padding=side // 2, groups=groups), leaves, gradient)

    return work


def _nine_products(shape: tuple[int, ...], device: torch.device) -> Work:
    """Return a compiled depthwise convolution that is a sum of shifted feature maps times kernel weights."""
    features, gradient = (_features(shape, device) for _ in range(2))
    kernel = torch.randn(9, shape[1], 1, 1, device=device, dtype=torch.bfloat16)
    leaves = [features.requires_grad_(), kernel.requires_grad_()]

    @torch.compile(dynamic=False)
    def convolve(features: Tensor, kernel: Tensor) -> Tensor:
        padded, (height, width) = F.pad(features, (1, 1, 1, 1)), features.shape[-2:]
        shifts = [(down, across) for down in range(3) for across in range(3)]
        return sum(
            padded[..., down : down + height, across : across + width] * kernel[3 * down + across]
            for down, across in shifts
        )

    def work() -> object:
        return torch.autograd.grad(convolve(*leaves), leaves, gradient)

    return work


def _features(shape: tuple[int, ...], device: torch.device) -> Tensor:
    features = torch.randn(shape, device=device, dtype=torch.bfloat16)
    return features.contiguous(memory_format=torch.channels_last)


def latency(settings: Settings) -> Told:
    """Time ESC x4 as a user runs it, with each precision and attention. ``flex`` compiles, so it is last."""
    low = cut_to(sample_picture(), settings.height, settings.width).to(settings.device)
    exact = Upscaler("esc", scale=4, device=settings.device, precision="float32", tiling="none")(low)
    on_cpu = torch.device(settings.device).type == "cpu"  # float16 takes minutes there
    precisions = ("float32", "bfloat16") if on_cpu else ("float32", "float16", "bfloat16")
    for attention in ("sdpa", "flash", "naive", "flex"):
        for precision in precisions:
            way = {"attention": attention, "precision": precision}
            try:
                yield way | _latency(low, exact, settings.device, way)
            except (EscError, RuntimeError) as error:
                yield way | {"failed": reason(error)}


def _latency(low: Tensor, exact: Tensor, device: str, way: dict[str, Any]) -> dict[str, Any]:
    upscaler = Upscaler("esc", scale=4, device=device, tiling="none", runtime="torch", **way)
    if upscaler.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    result = upscaler(low)
    milliseconds = milliseconds_of(lambda: upscaler(low), upscaler.device)
    distance = psnr(result.double() * 255, exact.double() * 255)
    return {
        "ms": milliseconds,
        "psnr": round(min(distance, 999.0), 2),
        "peak_bytes": peak_bytes(upscaler.device),
    }
