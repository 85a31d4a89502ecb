"""ESCRealM: ESC-Real for any whole scale, with a choice of heads that its checkpoints name themselves."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esc_cli.errors import WeightsError
from esc_cli.networks.architectures.base import Architecture, State
from esc_cli.networks.architectures.esc import ESCConfig
from esc_cli.networks.architectures.esc_real import RealBody
from esc_cli.networks.architectures.tensors import entry, esc_widths, exact_root
from esc_cli.networks.convolution import Convolution
from esc_cli.networks.dysample import GROUPS, DySample
from esc_cli.networks.padding import pad_to_multiple
from esc_cli.networks.runner import WHOLE, FeatureMap, Runner

Head = Literal["conv", "pixelshuffledirect", "pixelshuffle", "nearest+conv", "dysample", "transpose+conv"]
"""By the names of their options, in the order of the numbers in which checkpoints store them."""

HEAD_REACH_PX = 3
"""Two convolutions at low resolution, and less than one more pixel by all that follow: ``pixelshuffle``."""

_HEAD_SCALES = {
    "pixelshuffle": (1, 2, 3, 4, 8, 16),
    "nearest+conv": (1, 2, 3, 4, 8, 16),
    "transpose+conv": (2, 3, 4),
}
"""What heads that enlarge step by step can do; the others can do any whole scale."""

_META_VERSION = 3
"""Of the head's layout. Version 2 is the same, without ``transpose+conv``."""

_META = "to_img.MetaUpsample"
"""Numbers by which the heads describe themselves."""

_READ_VERSIONS = (2, 3)

_REFUSED_HEADS = {6: "lda", 7: "pa_up"}
"""Heads that only traiNNer-redux has, by their numbers."""

# Peak of resident memory over a whole forward pass, measured as that of the bodies (``base``), MB:
#
#   network x4, float32       at 128x128   at 256x256   maps of dim channels per added pixel
#   nearest+conv                      299          931   52.7, that is 3.3 at high resolution
#   pixelshuffle                      226          579   29.4, that is 1.8
#   transpose+conv                    161          325   13.7, that is 0.9
_HEAD_MAPS = {
    "dysample": 4.6,  # as of ESC-Real
    "conv": 0.0,
    "pixelshuffledirect": 0.0,
    "pixelshuffle": 2.3,
    "nearest+conv": 4.1,
    "transpose+conv": 1.1,
}
"""Maps of ``dim`` channels alive at once in the heads, at high resolution: these and a quarter."""


@dataclass(frozen=True)
class ESCRealMConfig(ESCConfig):
    """Widths of ESCRealM, as in ``ESCConfig``; the defaults are the published network.

    Attributes:
        window_size: Side of the attention windows in pixels of the picture: ``unshuffle`` times those of
            the feature maps.
        head: How the picture is made. ``conv`` does not enlarge.
        head_dim: Channels inside the heads ``pixelshuffle`` and ``dysample``.
        unshuffle: Neighbours along each axis that are laid into the channels of one pixel first.
    """

    blocks: int = 10
    hidden_dim: int = 128
    inner_norm: bool = True
    head: Head = "nearest+conv"
    head_dim: int = 48
    unshuffle: int = 1

    def __post_init__(self) -> None:
        known = _HEAD_SCALES.get(self.head)
        if known is not None and self.head_scale not in known:
            raise ValueError(f"the head {self.head!r} cannot be x{self.head_scale}")

    @property
    def head_scale(self) -> int:
        """How much the head enlarges the feature maps, unless it is ``conv``."""
        return self.scale * self.unshuffle

    @property
    def body_factor(self) -> int:
        """Sides of the input divided by those of the body's feature maps."""
        return self.unshuffle

    @property
    def head_maps(self) -> float:
        """Maps of ``dim`` channels alive at once in the head, at high resolution."""
        return _HEAD_MAPS[self.head]

    @property
    def shrinks(self) -> bool:
        """Whether results are smaller than the picture, ``unshuffle`` times: its code allows that."""
        return self.head == "conv" and self.unshuffle > 1

    def body(self) -> "ESCRealMConfig":
        """Give the network of the unshuffled picture: of higher scale, windows in feature maps' pixels."""
        return replace(
            self, scale=self.head_scale, window_size=self.window_size // self.unshuffle, unshuffle=1
        )


class ESCRealM(RealBody):
    """Low-resolution RGB to high-resolution RGB. Parameter names are the published ones.

    Source: ESC's published code, and for ``transpose+conv`` that of traiNNer-redux.
    """

    def __init__(self, config: ESCRealMConfig) -> None:
        super().__init__(config.body(), config.unshuffle)
        self.config = config
        self.to_img = _make_head(config)

    def forward(self, low: Tensor, run: Runner = WHOLE) -> FeatureMap:
        """Upscale.

        Args:
            low: (N, 3, H, W) RGB in [0, 1], any size from 1x1; float32 serves weights of any dtype. Where
                the runner does not give tensors, H and W are multiples of ``unshuffle``.
            run: How the steps are run.

        Returns:
            (N, 3, scale H, scale W), about [0, 1], not clamped, of the wider dtype of low and weights; of
            a network that ``shrinks`` (N, 3, H / unshuffle, W / unshuffle), rounded up. A tensor, unless
            the runner makes something else of it.
        """
        height, width = low.shape[-2:]
        unshuffle, scale = self.config.unshuffle, self.config.scale
        picture = F.pixel_unshuffle(pad_to_multiple(low, unshuffle), unshuffle)
        high = self._reconstruct(self.features(picture, run), run)
        return high[..., : scale * height, : scale * width] if isinstance(high, Tensor) else high

    def _reconstruct(self, features: FeatureMap, run: Runner) -> FeatureMap:
        *before, last = self.to_img
        if not isinstance(last, DySample):
            return run.local(self.to_img, features, reach_px=HEAD_REACH_PX, keep=False)
        if before:
            features = run.local(nn.Sequential(*before), features, reach_px=1)
        return run.unbounded(last, features)


def _make_head(config: ESCRealMConfig) -> nn.Sequential:
    scale, dim, inner = config.head_scale, config.dim, config.head_dim
    head = nn.Sequential(*_LAYERS[config.head](scale, dim, inner))
    number = list(_LAYERS).index(config.head)
    meta = [_META_VERSION, number, scale, dim, 3, inner, GROUPS]
    # Scales of 2 and 3 have the same tensors in some heads: without these numbers they could not be told
    # apart. They are on the CPU even if the network is made without memory for the rest.
    head.register_buffer("MetaUpsample", torch.tensor(meta, dtype=torch.uint8, device="cpu"))
    return head


def _conv(scale: int, dim: int, inner: int) -> list[nn.Module]:
    return [_convolution(dim, 3)]


def _pixelshuffledirect(scale: int, dim: int, inner: int) -> list[nn.Module]:
    return [_convolution(dim, 3 * scale**2), nn.PixelShuffle(scale)]


def _pixelshuffle(scale: int, dim: int, inner: int) -> list[nn.Module]:
    layers = [_convolution(dim, inner), nn.LeakyReLU()]
    for factor in _factors(scale):
        layers += [_convolution(inner, factor**2 * inner), nn.PixelShuffle(factor)]
    return [*layers, _convolution(inner, 3)]


def _nearest_conv(scale: int, dim: int, inner: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for factor in _factors(scale):
        layers += [_convolution(dim, dim), nn.Upsample(scale_factor=factor), nn.LeakyReLU(0.2)]
    return [*layers, _convolution(dim, dim), nn.LeakyReLU(0.2), _convolution(dim, 3)]


def _dysample(scale: int, dim: int, inner: int) -> list[nn.Module]:
    before = [] if inner == dim else [_convolution(dim, inner), nn.LeakyReLU()]
    return [*before, DySample(inner, 3, scale)]


def _transpose_conv(scale: int, dim: int, inner: int) -> list[nn.Module]:
    layers: dict[int, list[nn.Module]] = {
        2: [_doubling(dim, 3)],
        3: [nn.ConvTranspose2d(dim, 3, 3, stride=3)],
        4: [_doubling(dim, dim), nn.GELU(), _doubling(dim, 3)],
    }
    return [*layers[scale], _convolution(3, 3)]


_LAYERS = {
    "conv": _conv,
    "pixelshuffledirect": _pixelshuffledirect,
    "pixelshuffle": _pixelshuffle,
    "nearest+conv": _nearest_conv,
    "dysample": _dysample,
    "transpose+conv": _transpose_conv,
}


def _factors(scale: int) -> list[int]:
    """Split a power of two into twos; 3 is left as it is."""
    return [3] if scale == 3 else [2] * (scale.bit_length() - 1)


def _convolution(channels: int, out_channels: int) -> Convolution:
    return Convolution(channels, out_channels, 3, padding=1)


def _doubling(channels: int, out_channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, out_channels, 4, stride=2, padding=1)


def _recognise(state: State) -> ESCRealMConfig | None:
    """Know ESCRealM by what its head says of itself, which the other tensors do not show.

    Source: the published code; of seven numbers the second is the head's, then its scale; the sixth is its
    inner width.
    """
    if _META not in state:
        return None
    version, number, head_scale, _, _, head_dim, _ = (int(value) for value in state[_META].tolist())
    if version not in _READ_VERSIONS or number in _REFUSED_HEADS:
        described = repr(_REFUSED_HEADS.get(number, f"version {version}"))
        raise WeightsError(f"the file holds an ESCRealM network with the head {described}, unknown here")
    head: Head = get_args(Head)[number] if head_scale > 1 else "conv"
    widths = esc_widths(state)
    unshuffle = exact_root(state[entry(state)].shape[1] // 3)
    if head != "conv" and head_scale % unshuffle:
        raise ValueError(f"a head of x{head_scale} after unshuffling by {unshuffle} gives no whole scale")
    return ESCRealMConfig(
        scale=1 if head == "conv" else head_scale // unshuffle,
        head=head,
        head_dim=head_dim,
        unshuffle=unshuffle,
        **widths | {"window_size": widths["window_size"] * unshuffle},
    )


def _published(scale: int) -> ESCRealMConfig:
    unshuffle = max(1, 4 // scale) if scale < 3 else 1
    return ESCRealMConfig(scale, window_size=32 * unshuffle, unshuffle=unshuffle)


ARCHITECTURE = Architecture(ESCRealMConfig, ESCRealM, _recognise, {"esc-realm": _published})
