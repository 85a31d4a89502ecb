"""Variants of ESC and ESC-Real whose attention bias was fine-tuned as factors (FlashBias), not as a table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from esc_cli.networks.architectures.base import Architecture, State
from esc_cli.networks.architectures.esc import ESC, ESCConfig
from esc_cli.networks.architectures.esc_real import ESCReal, ESCRealConfig, is_real, scale_and_head
from esc_cli.networks.architectures.tensors import FACTORS, esc_widths, pixel_shuffle_scale
from esc_cli.networks.attention.windows import FactorWindowAttention


@dataclass(frozen=True)
class ESCFlashBiasConfig(ESCConfig):
    """Widths of ESC with a factorized bias, as in ``ESCConfig``.

    Attributes:
        bias_rank: Channels of the factors of each head.
    """

    bias_rank: int = 48
    least_widths: ClassVar[Mapping[str, int]] = {"partial_dim": 2}
    learned_factors: ClassVar[bool] = True


@dataclass(frozen=True)
class ESCRealFlashBiasConfig(ESCRealConfig):
    """Widths of ESC-Real with a factorized bias, as in ``ESCRealConfig``.

    Attributes:
        bias_rank: Channels of the factors of each head.
    """

    bias_rank: int = 48
    least_widths: ClassVar[Mapping[str, int]] = {"partial_dim": 2}
    learned_factors: ClassVar[bool] = True


class ESCFlashBias(ESC):
    """ESC with a factorized bias. Parameter names are the published ones.

    Source: ESC's published code, models ``ESC_*_FB_R48``.
    """

    def __init__(self, config: ESCFlashBiasConfig) -> None:
        super().__init__(config)
        _factorise_biases(self.blocks, config)


class ESCRealFlashBias(ESCReal):
    """ESC-Real with a factorized bias. Parameter names are the published ones.

    Source: ESC's published code, models ``ESC_Real_FB_R48``.
    """

    def __init__(self, config: ESCRealFlashBiasConfig) -> None:
        super().__init__(config)
        _factorise_biases(self.blocks, config)


def _factorise_biases(blocks: nn.ModuleList, config: ESCFlashBiasConfig | ESCRealFlashBiasConfig) -> None:
    """Replace the attention of each block by one whose bias is a product of factors."""
    for block in blocks:
        block.attn = FactorWindowAttention(config.dim, config.heads, config.window_size, config.bias_rank)


def _recognise(state: State) -> ESCFlashBiasConfig | None:
    """Recognize ESC with a factorized bias by ESC's head and by the factors."""
    if "to_img.weight" not in state or FACTORS not in state:
        return None
    return ESCFlashBiasConfig(scale=pixel_shuffle_scale(state["to_img.weight"]), **esc_widths(state))


def _recognise_real(state: State) -> ESCRealFlashBiasConfig | None:
    if not is_real(state) or FACTORS not in state:
        return None
    return ESCRealFlashBiasConfig(**scale_and_head(state), **esc_widths(state))


ARCHITECTURE = Architecture(ESCFlashBiasConfig, ESCFlashBias, _recognise)
REAL_ARCHITECTURE = Architecture(ESCRealFlashBiasConfig, ESCRealFlashBias, _recognise_real)
