"""Networks that differ from ESC in one thing, to see what that thing is worth.

The paper's ablation names its rows and says little about them. Here all networks have ESC's depth and widths,
and what was exchanged stands beside each; rows that the paper kept at one latency by other depths are other
networks there, as noted.

Source: ESC (arXiv 2503.06671), its ablation tables, x2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from esc_cli.networks.architectures.esc import ESCConfig

ABLATIONS: dict[str, Callable[[int], ESCConfig]] = {
    # Each convolutional attention is one head of window attention over the same 16 channels. The paper's
    # network takes 128 ms where ESC takes 121: if its heads were four, its layers were fewer.
    "self-attention-only": partial(ESCConfig, mixer="window"),
    # Each window attention is a mixing layer as the others are: residual, norm, mixer, pointwise convolution.
    # Without windows a picture is not padded to them, either.
    "convolutional-attention-only": partial(ESCConfig, heads=0, window_size=1),
    "kernel-9": partial(ESCConfig, kernel_size=9),
    "kernel-17": partial(ESCConfig, kernel_size=17),
    # Each of the 25 mixing layers has a large kernel of its own.
    "no-sharing": partial(ESCConfig, shared_kernel=False),
    # The large kernel alone mixes, so that nothing depends on the whole picture.
    "no-dynamic-kernel": partial(ESCConfig, mixer="static"),
    "no-sharing-no-dynamic-kernel": partial(ESCConfig, mixer="static", shared_kernel=False),
    # The paper's network with windows of 16 has more layers, for the same latency.
    "window-16": partial(ESCConfig, window_size=16),
    "window-64": partial(ESCConfig, window_size=64),
}
"""Configurations by name, for a scale. ESC itself has kernels of 13 and windows of 32."""


@dataclass(frozen=True)
class Published:
    """What the paper says of a network at x2, after 500,000 steps.

    Attributes:
        set5: PSNR, dB.
        urban100: PSNR, dB.
        latency_ms: Of a result of 1280x720 on its GPU.
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
"""Its rows, by the name of the network here that is nearest."""
