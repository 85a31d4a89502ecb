"""ESC-Real: ESC for pictures from the wild, with a deeper body and a smoother head."""

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from esc_cli.networks.architectures.base import Architecture, State
from esc_cli.networks.architectures.esc import ESCConfig, make_blocks, new_large_kernel
from esc_cli.networks.architectures.tensors import FACTORS, count, esc_widths, exact_root
from esc_cli.networks.blocks import PictureConvolution
from esc_cli.networks.convolution import Convolution
from esc_cli.networks.dysample import GROUPS, DySample
from esc_cli.networks.mixers.convolutional import kernel_of_all_layers
from esc_cli.networks.padding import reflect_pad
from esc_cli.networks.runner import WHOLE, FeatureMap, Runner

NEAREST_HEAD_SCALE = 4
"""The nearest-neighbour head doubles twice, whatever else was asked for."""

SKIP_REACH_PX = 3

HEAD_REACH_PX = 2
"""Where a head convolves above the low resolution only: twice there, and again at each doubling, is less."""

_SLOPE = 0.2

# Peak of resident memory over a whole forward pass, measured as that of the bodies (``base``), MB:
#
#   network, float32          at 128x128   at 256x256   maps of dim channels per added pixel
#   ESC-Real x4, nearest              436          944   42.3, that is 2.6 at high resolution
#   ESC-Real x4, DySample             379         1087   59.0, that is 3.7 at high resolution
#   the same, neosr's head            304          914   50.9, that is 3.2
_HEAD_MAPS = {"nearest": 3.3, "dysample": 4.6, "neosr": 4.0}
"""Maps of ``dim`` channels alive at once in the heads, at high resolution: these and a quarter."""


@dataclass(frozen=True)
class ESCRealConfig(ESCConfig):
    """Widths of ESC-Real, as in ``ESCConfig``; the defaults are the published network.

    Attributes:
        head: ``nearest`` (upsample and convolve, always x4), ``dysample``, or ``neosr``: that project's
            nearest-neighbour head, with two convolutions after each doubling.
    """

    blocks: int = 10
    hidden_dim: int = 128
    inner_norm: bool = True
    head: Literal["nearest", "dysample", "neosr"] = "nearest"

    def __post_init__(self) -> None:
        if self.head == "nearest" and self.scale != NEAREST_HEAD_SCALE:
            raise ValueError(f"the nearest-neighbour head is always x{NEAREST_HEAD_SCALE}, not x{self.scale}")
        if self.head == "neosr" and self.scale.bit_count() != 1:
            raise ValueError(f"the head that doubles cannot be x{self.scale}")

    @property
    def head_maps(self) -> float:
        """Maps of ``dim`` channels alive at once in the head, at high resolution."""
        return _HEAD_MAPS[self.head]


class RealBody(nn.Module):
    """ESC-Real without its head.

    Args:
        config: Widths.
        unshuffle: Neighbours along each axis that are laid into the channels of one pixel first. The
            published keys then count that step in ``proj`` and ``skip``.
    """

    def __init__(self, config: ESCConfig, unshuffle: int = 1) -> None:
        super().__init__()
        channels = 3 * unshuffle**2
        # Rows are unshuffled before the runner cuts them.
        first: list[nn.Module] = [] if unshuffle == 1 else [nn.Identity()]
        entry = PictureConvolution(channels, config.dim, 3, padding=1)
        self.plk_filter = new_large_kernel(config)
        self.proj = nn.Sequential(*first, entry) if first else entry
        self.skip = _Skip(channels, config.dim, first)
        self.blocks = make_blocks(config)
        self.last = Convolution(config.dim, config.dim, 3, padding=1)

    def features(self, picture: Tensor, run: Runner) -> FeatureMap:
        """Map the picture, (N, 3 unshuffle^2, H, W), to what the head takes, (N, dim, H, W)."""
        shared = (kernel_of_all_layers(self.plk_filter),)
        shallow = run.local(self.proj, picture, reach_px=1, keep=False)  # (N, dim, H, W)
        features = shallow
        for block in self.blocks:
            features = block(features, shared, run)
        return run.local(self._gather, features, shallow, picture, reach_px=SKIP_REACH_PX, replaces=features)

    def _gather(self, features: Tensor, shallow: Tensor, picture: Tensor) -> Tensor:
        return self.last(features) + shallow + self.skip(picture)  # type: ignore[no-any-return]


class ESCReal(RealBody):
    """Low-resolution RGB to high-resolution RGB. Parameter names are the published ones.

    Source: arXiv 2503.06671, and its published code; the head ``neosr``: that project's code.
    """

    def __init__(self, config: ESCRealConfig) -> None:
        super().__init__(config)
        self.config = config
        self.to_img = _make_head(config)

    def forward(self, low: Tensor, run: Runner = WHOLE) -> FeatureMap:
        """Upscale.

        Args:
            low: (N, 3, H, W) RGB in [0, 1], any size from 1x1; float32 serves weights of any dtype.
            run: How the steps are run.

        Returns:
            (N, 3, scale H, scale W), about [0, 1], not clamped, of the wider dtype of low and weights. A
            tensor, unless the runner makes something else of it.
        """
        features = self.features(low, run)
        if isinstance(self.to_img, DySample):
            return run.unbounded(self.to_img, features)
        return run.local(self.to_img, features, reach_px=HEAD_REACH_PX, keep=False)


class _Skip(nn.Sequential):
    """The picture's own way to the head: pointwise, 7x7 depthwise (reflection), pointwise."""

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
    """Whether tensors are those of ESC-Real, and not of ESCRealM, whose head describes itself."""
    return "skip.0.weight" in state and "to_img.MetaUpsample" not in state


def scale_and_head(state: State) -> dict[str, Any]:
    """Give scale and head of an ESC-Real by its head's tensors."""
    if "to_img.offset.weight" in state:
        positions = state["to_img.offset.weight"].shape[0] // (2 * GROUPS)
        return {"scale": exact_root(positions), "head": "dysample"}
    if "to_img.4.weight" in state:
        return {"scale": NEAREST_HEAD_SCALE, "head": "nearest"}
    # Of five layers for each doubling the second and the fourth are convolutions; one more ends the head.
    return {"scale": 2 ** (count(state, r"to_img\.(\d+)\.") // 5), "head": "neosr"}


def _recognise(state: State) -> ESCRealConfig | None:
    """Know ESC-Real by the picture's own way to the head."""
    if not is_real(state) or FACTORS in state:
        return None
    return ESCRealConfig(**scale_and_head(state), **esc_widths(state))


ARCHITECTURE = Architecture(ESCRealConfig, ESCReal, _recognise, {"esc-real": ESCRealConfig})
