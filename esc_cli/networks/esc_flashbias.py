"""ESC and ESC-Real whose attention bias was fine-tuned as factors (FlashBias), not as a table."""

from dataclasses import dataclass

from esc_cli.networks.attention import FactorWindowAttention
from esc_cli.networks.blocks import Block
from esc_cli.networks.esc import ESC, ESCConfig
from esc_cli.networks.esc_real import ESCReal, ESCRealConfig


@dataclass(frozen=True)
class ESCFlashBiasConfig(ESCConfig):
    """Widths as in ``ESCConfig``.

    Attributes:
        bias_rank: Channels of the factors of each head.
    """

    bias_rank: int = 48


@dataclass(frozen=True)
class ESCRealFlashBiasConfig(ESCRealConfig):
    """Widths as in ``ESCRealConfig``.

    Attributes:
        bias_rank: Channels of the factors of each head.
    """

    bias_rank: int = 48


class ESCFlashBias(ESC):
    """ESC with a factorised bias. Parameter names are the published ones.

    Source: ESC's published code, models ``ESC_*_FB_R48``.
    """

    def __init__(self, config: ESCFlashBiasConfig) -> None:
        super().__init__(config)
        for block in self.blocks:
            _factorise_bias(block, config)  # type: ignore[arg-type]


class ESCRealFlashBias(ESCReal):
    """ESC-Real with a factorised bias. Parameter names are the published ones.

    Source: ESC's published code, models ``ESC_Real_FB_R48``.
    """

    def __init__(self, config: ESCRealFlashBiasConfig) -> None:
        super().__init__(config)
        for block in self.blocks:
            _factorise_bias(block, config)  # type: ignore[arg-type]


def _factorise_bias(block: Block, config: ESCFlashBiasConfig | ESCRealFlashBiasConfig) -> None:
    attention = FactorWindowAttention(config.dim, config.heads, config.window_size, config.bias_rank)
    block.attn = attention  # type: ignore[assignment]
