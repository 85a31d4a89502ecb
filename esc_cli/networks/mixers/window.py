"""Window attention as a mixer, in place of convolutional attention and over the same channels."""

from torch import Tensor

from esc_cli.networks.attention.windows import WindowAttention
from esc_cli.networks.mixers.base import Mixer


class WindowMixer(Mixer):
    """Self-attention inside windows over the first ``partial_dim`` channels.

    ESC's convolutional attention replaces this.

    Args:
        partial_dim: Number of channels that are mixed. The other channels pass through.
        heads: Number of attention heads.
        window_size: Side of the attention windows, in pixels.
    """

    reach_px = 0

    def __init__(self, partial_dim: int, heads: int, window_size: int) -> None:
        super().__init__()
        self.partial_dim = partial_dim
        self.align_px = window_size
        self.attn = WindowAttention(partial_dim, heads, window_size)

    def mix(self, partial: Tensor, dynamic: Tensor, *shared: Tensor) -> Tensor:
        """Attend inside each window of (N, partial_dim, H, W)."""
        return self.attn(partial)  # type: ignore[no-any-return]
