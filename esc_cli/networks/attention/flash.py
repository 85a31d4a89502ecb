"""Flash attention for networks with a position bias, which is passed as factors.

Flash kernels themselves take no bias, and factors only approximate a table. On the shipped weights, the RMS
error of the scores in the worst head of each block is:

    weights        rank 16                                rank 48
    ESC x4         0.060 0.033 0.012 0.004 0.033          0.054 0.030 0.009 0.002 0.029
    ESC x2         0.040 0.020 0.003 0.004 0.015          0.035 0.016 0.003 0.002 0.010
    ESC-light x4   0.028 0.003 0.008                      0.023 0.002 0.006

The PSNR of the result in dB against the exact result is given below for Set5's butterfly and woman (for x2
their first 128x128 pixels). All blocks run in float32 at the given rank; rank 0 means no bias at all:

    weights    rank 0        8             16            48            112           240
    ESC x4     71.8  74.9    73.5  77.7    73.6  78.0    74.6  79.3    76.0  81.1    79.0  84.4
    ESC x2     83.8  83.6    84.7  84.5    85.3  85.0    86.3  85.7    87.5  87.0    90.2  89.4

The largest error of a single score falls far more slowly: at rank 48 it is between 0.02 and 0.44 in the worst
head of the blocks of ESC x4. To stay below 0.01, two of the ten blocks of x4 and x2 need 232 and 136 channels
and the others more than 240. None reaches 0.001. The tolerance below therefore limits the RMS error, because
softmax averages over the errors.
"""

from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from esc_cli.networks.attention.factorised import attend_with_factors, factorise, fused, score_error
from esc_cli.networks.attention.position_bias import FactorBias, PositionBias, TableBias
from esc_cli.networks.attention.sdpa import sdpa

SCORE_TOLERANCE = 0.05
"""Largest RMS error of the scores at which factors may replace a table.

With this tolerance the results of ESC x4 for Set5's butterfly and woman are 91.5 and 90.8 dB from the exact
results in float32, where the first block stays dense. In bfloat16 the results are 57.57 and 57.39 dB from the
exact ones, about as far as those of ``sdpa`` in bfloat16 (57.57 and 57.40 dB).
"""

CHANNELS = (32, 64)
"""Widths of a head with its factors, in the order in which they are tried.

Flash kernels are built for these widths and compute narrower heads at one of them. Nobody has shown that
wider heads are worth their additional arithmetic: the speedup published for ESC (51.1 ms, and 59.9 ms with
flex, on an RTX 4090) is at width 64.
"""


def has_flash_kernel(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether the flash kernels are made for a device and a type of features."""
    return device.type == "cuda" and dtype != torch.float32


def flash(query: Tensor, key: Tensor, value: Tensor, bias: PositionBias) -> Tensor:
    """Compute attention with a flash kernel, with the bias in additional channels.

    The result is exact for a bias that was learned as factors. A table is approximated within
    ``SCORE_TOLERANCE`` and decomposed again only after it changes. ``sdpa`` computes the exact result if the
    table is being trained or needs too many channels.

    Raises:
        RuntimeError: Torch has no flash kernel for the device.
    """
    on_cuda = query.device.type == "cuda"
    factors = _factors(bias, query.shape[-1])
    # If half precision overflows, the network runs again in float32, for which CUDA has no flash kernel.
    if factors is None or (on_cuda and query.dtype == torch.float32):
        return sdpa(query, key, value, bias)
    if on_cuda and find_spec("flash_attn") is not None:
        return attend_with_factors(query, key, value, factors, kernel=_flash_attn)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        return attend_with_factors(query, key, value, factors, kernel=fused)


def _factors(bias: PositionBias, channels: int) -> FactorBias | None:
    if isinstance(bias, FactorBias):
        return bias
    if not isinstance(bias, TableBias) or bias.needs_gradient:
        return None
    table = bias
    kind = "low-rank factors"
    return bias.cache.recall(kind, bias.table, bias.table.dtype, lambda: _approximation(table, channels))


def _approximation(bias: TableBias, channels: int) -> FactorBias | None:
    """Return the narrowest factors within the tolerance, or None if there are none.

    A width below that of the head alone leaves no channels for factors.
    """
    tokens = bias.window_size**2
    for width in (one for one in CHANNELS if one >= channels):
        factors = factorise(bias, min(width - channels, tokens))
        if score_error(bias, factors) <= SCORE_TOLERANCE:
            return factors
    return None


def _flash_attn(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Call the flash-attn package, which takes tensors with the tokens before the heads."""
    tokens_first = (tensor.transpose(1, 2) for tensor in (query, key, value))
    attended: Tensor = import_module("flash_attn").flash_attn_func(*tokens_first, softmax_scale=1.0)
    return attended.transpose(1, 2)
