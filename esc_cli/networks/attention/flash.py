"""Flash attention for networks with a position bias, which flash kernels do not take: by factors.

What it costs on the shipped weights: the RMS error of the scores in the worst head of each block,

    weights        rank 16                                rank 48
    ESC x4         0.060 0.033 0.012 0.004 0.033          0.054 0.030 0.009 0.002 0.029
    ESC x2         0.040 0.020 0.003 0.004 0.015          0.035 0.016 0.003 0.002 0.010
    ESC-light x4   0.028 0.003 0.008                      0.023 0.002 0.006

and the PSNR in dB of the result against the exact one, all blocks in float32 at the given rank (0: no bias at
all), Set5's butterfly and woman (of x2 their first 128x128 pixels):

    weights    rank 0        8             16            48            112           240
    ESC x4     71.8  74.9    73.5  77.7    73.6  78.0    74.6  79.3    76.0  81.1    79.0  84.4
    ESC x2     83.8  83.6    84.7  84.5    85.3  85.0    86.3  85.7    87.5  87.0    90.2  89.4

The largest error of a single score falls far more slowly: at rank 48 it is between 0.02 and 0.44 in the worst
head of the blocks of ESC x4. To stay below 0.01 two of the ten blocks of x4 and x2 need 232 and 136 channels,
the others more than 240; none reaches 0.001. Hence the tolerance below is for the RMS, over which softmax
averages.
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
"""Largest RMS error of the scores for which factors stand in for a table.

With it ESC x4 gives Set5's butterfly and woman at 91.5 and 90.8 dB from the exact result in float32 (its
first block stays dense); in bfloat16 at 57.57 and 57.39 dB, as ``sdpa`` does in bfloat16 (57.57 and 57.40).
"""

CHANNELS = (32, 64)
"""Widths of a head with its factors that are tried, smallest first.

Flash kernels are built for these and compute narrower heads as such. Wider ones cost more arithmetic than
anybody has shown to pay: the gain published for ESC (51.1 ms against flex's 59.9, RTX 4090) is at 64.
"""


def flash(query: Tensor, key: Tensor, value: Tensor, bias: PositionBias) -> Tensor:
    """Compute attention with a flash kernel, the bias in additional channels.

    Exact for factors. A table is approximated within ``SCORE_TOLERANCE``, decomposed once for as long as it
    stays as it is; where it is being trained, or too rich for few channels, ``sdpa`` computes it exactly.

    Raises:
        RuntimeError: Torch has no flash kernel for the device.
    """
    on_cuda = query.device.type == "cuda"
    factors = _factors(bias, query.shape[-1])
    # Where half precision overflows, the network runs again in float32, for which CUDA has no flash kernel.
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
    return bias.cache.recall("factors", bias.table, bias.table.dtype, lambda: _approximation(table, channels))


def _approximation(bias: TableBias, channels: int) -> FactorBias | None:
    """Find the narrowest factors that keep to the tolerance, or None."""
    tokens = bias.window_size**2
    for width in CHANNELS:
        factors = factorise(bias, min(width - channels, tokens))
        if score_error(bias, factors) <= SCORE_TOLERANCE:
            return factors
    return None


def _flash_attn(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Call the flash-attn package, which has the tokens before the heads."""
    tokens_first = (tensor.transpose(1, 2) for tensor in (query, key, value))
    attended: Tensor = import_module("flash_attn").flash_attn_func(*tokens_first, softmax_scale=1.0)
    return attended.transpose(1, 2)
