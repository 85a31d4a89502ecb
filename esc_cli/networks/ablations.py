"""Networks that each differ from ESC in one part, to measure what that part contributes.

The paper names the rows of its ablation tables and says little about them. Here all networks have ESC's depth
and widths, and a comment beside each describes the part that differs. The paper keeps the latency of some
rows equal by changing their depth, so its networks differ from these; the comments note where.

Source: ESC (arXiv 2503.06671), its ablation tables, x2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from esc_cli.networks.architectures.esc import ESCConfig

ABLATIONS: dict[str, Callable[[int], ESCConfig]] = {
    # Each convolutional attention is replaced by one head of window attention over the same 16 channels. The
    # paper's network takes 128 ms and ESC takes 121 ms, so if it has four heads, it must have fewer layers.
    "self-attention-only": partial(ESCConfig, mixer="window"),
    # Each window attention is replaced by a mixing layer like the others: residual, norm, mixer, pointwise
    # convolution. Without windows, pictures are not padded to whole windows.
    "convolutional-attention-only": partial(ESCConfig, heads=0, window_size=1),
    "kernel-9": partial(ESCConfig, kernel_size=9),
    "kernel-17": partial(ESCConfig, kernel_size=17),
    # Each of the 25 mixing layers has a large kernel of its own.
    "no-sharing": partial(ESCConfig, shared_kernel=False),
    # Only the large kernel mixes, so nothing depends on the whole picture.
    "no-dynamic-kernel": partial(ESCConfig, mixer="static"),
    "no-sharing-no-dynamic-kernel": partial(ESCConfig, mixer="static", shared_kernel=False),
    # The paper's network with 16x16 windows has more layers, to keep the latency equal.
    "window-16": partial(ESCConfig, window_size=16),
    "window-64": partial(ESCConfig, window_size=64),
}
"""Functions that make the configuration for a scale, by the name of the network.

ESC itself has 13x13 kernels and 32x32 windows.
"""


@dataclass(frozen=True)
class Published:
    """The paper's results for a network at x2, after 500,000 steps.

    Attributes:
        set5: PSNR on Set5, in dB.
        urban100: PSNR on Urban100, in dB.
        latency_ms: Latency for a 1280x720 result on the paper's GPU.
    """

    set5: float
    urban100: float
    latency_ms: float


PUBLISHED = {
    "esc": Published(38.35, 33.46, 120.9),
    "self-attention-only": Published(38.27, 33.23, 128.2),
    "convolutional-attention-only": Published(38.18, 32.91, 126.3),
    "kernel-9": Published(38.33, 33.42, 117.1),
    "kernel-17": Published(38.32, 33.40, 126.6),
    "no-sharing-no-dynamic-kernel": Published(38.32, 33.37, 119.7),
    "no-dynamic-kernel": Published(38.31, 33.36, 119.7),
    "window-16": Published(38.24, 33.05, 118.0),
}
"""The rows of the paper's tables, by the name of the most similar network here."""
