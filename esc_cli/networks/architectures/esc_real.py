"""ESC-Real: ESC for real-world pictures, with a deeper body and a smoother head."""

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from esc_cli.networks.architectures.base import Architecture, State
from esc_cli.networks.architectures.esc import ESCConfig, make_blocks
from esc_cli.networks.architectures.tensors import FACTORS, esc_widths, exact_root, numbers
from esc_cli.networks.blocks import PictureConvolution
from esc_cli.networks.convolution import Convolution
from esc_cli.networks.dysample import GROUPS, DySample, check_groups
from esc_cli.networks.mixers.convolutional import kernel_of_all_layers, orthogonal_kernel
from esc_cli.networks.padding import reflect_pad
from esc_cli.networks.runner import WHOLE, FeatureMap, Runner

NEAREST_HEAD_SCALE = 4
"""Scale of the nearest-neighbor head, which always doubles twice."""

SKIP_REACH_PX = 3

HEAD_REACH_PX = 2
"""Reach of the heads whose convolutions all follow a doubling, in pixels of the low resolution.

Two convolutions after each doubling reach less than this in total.
"""

_SLOPE = 0.2

# Peak of resident memory over a whole forward pass, measured as for the bodies (see ``base``), MB:
#
#   network, float32          at 128x128   at 256x256   maps of dim channels per added pixel
#   ESC-Real x4, nearest              436          944   42.3, that is 2.6 at high resolution
#   ESC-Real x4, DySample             379         1087   59.0, that is 3.7 at high resolution
#   the same, neosr's head            304          914   50.9, that is 3.2
_HEAD_MAPS = {"nearest": 3.3, "dysample": 4.6, "neosr": 4.0}
"""Maps of ``dim`` channels alive at once in a head, at high resolution: the figures above plus a quarter."""


@dataclass(frozen=True)
class ESCRealConfig(ESCConfig):
    """Widths of ESC-Real, as in ``ESCConfig``. The defaults are those of the published network.

    Attributes:
        head: Name of the head: ``nearest`` (upsample and convolve, always x4), ``dysample``, or ``neosr``
            (the nearest-neighbor head of the neosr project, with two convolutions after each doubling).
    """

    blocks: int = 10
    hidden_dim: int = 128
    inner_norm: bool = True
    head: Literal["nearest", "dysample", "neosr"] = "nearest"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.head == "dysample":
            check_groups(self.dim)
        if self.head == "nearest" and self.scale != NEAREST_HEAD_SCALE:
            raise ValueError(f"the nearest-neighbor head is always x{NEAREST_HEAD_SCALE}, not x{self.scale}")
        if self.head == "neosr" and self.scale.bit_count() != 1:
            raise ValueError(f"the head 'neosr' supports only powers of two, not x{self.scale}")

    @property
    def head_maps(self) -> float:
        """Maps of ``dim`` channels alive at once in the head, at high resolution."""
        return _HEAD_MAPS[self.head]


class RealBody(nn.Module):
    """ESC-Real without its head.

    Args:
        config: Widths of the network.
        unshuffle: Factor of the pixel unshuffle before the network, along each axis. If it is above 1, the
            published keys count that step in ``proj`` and ``skip``.
    """

    def __init__(self, config: ESCConfig, unshuffle: int = 1) -> None:
        super().__init__()
        channels = 3 * unshuffle**2
        # Rows are unshuffled before the runner cuts them.
        first: list[nn.Module] = [] if unshuffle == 1 else [nn.Identity()]
        entry = PictureConvolution(channels, config.dim, 3, padding=1)
        self.plk_filter = orthogonal_kernel(config.partial_dim, config.kernel_size)
        self.proj = nn.Sequential(*first, entry) if first else entry
        self.skip = _Skip(channels, config.dim, first)
        self.blocks = make_blocks(config)
        self.last = Convolution(config.dim, config.dim, 3, padding=1)

    def features(self, picture: Tensor, run: Runner) -> FeatureMap:
        """Map the picture, (N, 3 unshuffle^2, H, W), to the input of the head, (N, dim, H, W)."""
        shared = (kernel_of_all_layers(self.plk_filter),)
        shallow = run.local(self.proj, picture, reach_px=1, keep=False)  # (N, dim, H, W)
        features = shallow
        for block in self.blocks:
            features = block(features, shared, run)
        return run.local(self._gather, features, shallow, picture, reach_px=SKIP_REACH_PX, replaces=features)

    def _gather(self, features: Tensor, shallow: Tensor, picture: Tensor) -> Tensor:
        return self.last(features) + shallow + self.skip(picture)  # type: ignore[no-any-return]


class ESCReal(RealBody):
    """Maps low-resolution RGB to high-resolution RGB. Parameter names are the published ones.

    Source: arXiv 2503.06671, and its published code; for the head ``neosr``, the code of the neosr project.
    """

    def __init__(self, config: ESCRealConfig) -> None:
        super().__init__(config)
        self.config = config
        self.to_img = _make_head(config)

    def forward(self, low: Tensor, run: Runner = WHOLE) -> FeatureMap:
        """Upscale.

        Args:
            low: (N, 3, H, W) RGB in [0, 1], of any size from 1x1. float32 works with weights of any dtype.
            run: The runner of the network's steps.

        Returns:
            (N, 3, scale H, scale W), about [0, 1] but not clamped, in the wider dtype of ``low`` and the
            weights. The result is a tensor, unless the runner returns another kind of feature map.
        """
        features = self.features(low, run)
        if isinstance(self.to_img, DySample):
            return run.unbounded(self.to_img, features)
        return run.local(self.to_img, features, reach_px=HEAD_REACH_PX, keep=False)


class _Skip(nn.Sequential):
    """The skip from the picture to the head: pointwise, 7x7 depthwise with reflection padding, pointwise."""

    def __init__(self, channels: int, dim: int, first: list[nn.Module]) -> None:
        super().__init__(
            *first,
            PictureConvolution(channels, 2 * dim, 1),
            Convolution(2 * dim, 2 * dim, 2 * SKIP_REACH_PX + 1, groups=2 * dim),
            nn.LeakyReLU(_SLOPE),
            Convolution(2 * dim, dim, 1),
        )

    def forward(self, picture: Tensor) -> Tensor:
        *_, first, depthwise, activation, last = self
        padded = reflect_pad(first(picture), SKIP_REACH_PX, SKIP_REACH_PX, SKIP_REACH_PX, SKIP_REACH_PX)
        return last(activation(depthwise(padded)))  # type: ignore[no-any-return]


def _make_head(config: ESCRealConfig) -> nn.Module:
    dim = config.dim
    if config.head == "dysample":
        return DySample(dim, 3, config.scale)
    if config.head == "neosr":
        doublings = config.scale.bit_length() - 1
        layers = [layer for _ in range(doublings) for layer in (*_doubled(dim), *_convolved(dim))]
    else:
        layers = [*_doubled(dim), *_doubled(dim), *_convolved(dim)]
    return nn.Sequential(*layers, Convolution(dim, 3, 3, padding=1))


def _doubled(dim: int) -> tuple[nn.Module, ...]:
    return nn.Upsample(scale_factor=2), *_convolved(dim)


def _convolved(dim: int) -> tuple[nn.Module, ...]:
    return Convolution(dim, dim, 3, padding=1), nn.LeakyReLU(_SLOPE)


def is_real(state: State) -> bool:
    """Return whether the tensors are those of ESC-Real, not of ESCRealM, whose head describes itself."""
    return "skip.0.weight" in state and "to_img.MetaUpsample" not in state


def scale_and_head(state: State) -> dict[str, Any]:
    """Return the scale and the head of an ESC-Real network, found from the tensors of its head."""
    if "to_img.offset.weight" in state:
        positions = state["to_img.offset.weight"].shape[0] // (2 * GROUPS)
        return {"scale": exact_root(positions), "head": "dysample"}
    if "to_img.4.weight" in state:
        return {"scale": NEAREST_HEAD_SCALE, "head": "nearest"}
    # Each doubling has two convolutions, and one more convolution ends the head.
    return {"scale": 2 ** (len(numbers(state, r"to_img\.(\d+)\.")) // 2), "head": "neosr"}


def _recognise(state: State) -> ESCRealConfig | None:
    """Recognize ESC-Real by the skip from the picture to the head."""
    if not is_real(state) or FACTORS in state:
        return None
    return ESCRealConfig(**scale_and_head(state), **esc_widths(state))


ARCHITECTURE = Architecture(ESCRealConfig, ESCReal, _recognise, {"esc-real": ESCRealConfig})
