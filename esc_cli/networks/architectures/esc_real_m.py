"""ESCRealM: ESC-Real for any integer scale, with one of several heads, which is named in the checkpoint."""

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
from esc_cli.networks.dysample import GROUPS, DySample, check_groups
from esc_cli.networks.padding import pad_to_multiple
from esc_cli.networks.runner import WHOLE, FeatureMap, Runner

Head = Literal["conv", "pixelshuffledirect", "pixelshuffle", "nearest+conv", "dysample", "transpose+conv"]
"""Names of the heads' options, in the order of the numbers that checkpoints store for them."""

HEAD_REACH_PX = 3
"""Reach of the heads in pixels of the low resolution. ``pixelshuffle`` has the largest.

It has two convolutions at low resolution, and all later layers together reach less than one more pixel.
"""

_HEAD_SCALES = {
    "pixelshuffle": (1, 2, 3, 4, 8, 16),
    "nearest+conv": (1, 2, 3, 4, 8, 16),
    "transpose+conv": (2, 3, 4),
}
"""Scales of the heads that enlarge step by step. The other heads support any integer scale."""

_META_VERSION = 3
"""Version of the layout of the head. Version 2 is the same, without ``transpose+conv``."""

_META = "to_img.MetaUpsample"
"""Key of the numbers by which a head describes itself."""

_READ_VERSIONS = (2, 3)

_REFUSED_HEADS = {6: "lda", 7: "pa_up"}
"""Heads that only traiNNer-redux has, by the numbers that checkpoints store for them."""

# Peak of resident memory over a whole forward pass, measured as for the bodies (see ``base``), MB:
#
#   network x4, float32       at 128x128   at 256x256   maps of dim channels per added pixel
#   nearest+conv                      299          931   52.7, that is 3.3 at high resolution
#   pixelshuffle                      226          579   29.4, that is 1.8
#   transpose+conv                    161          325   13.7, that is 0.9
_HEAD_MAPS = {
    "dysample": 4.6,  # as in ESC-Real
    "conv": 0.0,
    "pixelshuffledirect": 0.0,
    "pixelshuffle": 2.3,
    "nearest+conv": 4.1,
    "transpose+conv": 1.1,
}
"""Maps of ``dim`` channels alive at once in a head, at high resolution: the figures above plus a quarter."""


@dataclass(frozen=True)
class ESCRealMConfig(ESCConfig):
    """Widths of ESCRealM, as in ``ESCConfig``. The defaults are those of the published network.

    Attributes:
        window_size: Side of the attention windows, in pixels of the picture. In pixels of the feature maps,
            the side is ``unshuffle`` times smaller.
        head: Name of the head. ``conv`` does not enlarge.
        head_dim: Channels inside the heads ``pixelshuffle`` and ``dysample``.
        unshuffle: Factor of the pixel unshuffle before the network, along each axis.
    """

    blocks: int = 10
    hidden_dim: int = 128
    inner_norm: bool = True
    head: Head = "nearest+conv"
    head_dim: int = 48
    unshuffle: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.head == "dysample":
            check_groups(self.head_dim)
        if self.window_size % self.unshuffle:
            raise ValueError(f"the window size {self.window_size} is not a multiple of {self.unshuffle}")
        known = _HEAD_SCALES.get(self.head)
        if known is not None and self.head_scale not in known:
            raise ValueError(f"the head {self.head!r} does not support x{self.head_scale}")

    @property
    def head_scale(self) -> int:
        """Factor by which the head enlarges the feature maps, unless the head is ``conv``."""
        return self.scale * self.unshuffle

    @property
    def body_factor(self) -> int:
        """How many times the sides of the input are longer than those of the body's feature maps."""
        return self.unshuffle

    @property
    def head_maps(self) -> float:
        """Maps of ``dim`` channels alive at once in the head, at high resolution."""
        return _HEAD_MAPS[self.head]

    @property
    def shrinks(self) -> bool:
        """Whether results are ``unshuffle`` times smaller than the picture. The published code allows it."""
        return self.head == "conv" and self.unshuffle > 1

    def body(self) -> "ESCRealMConfig":
        """Return the configuration of the network for the unshuffled picture.

        Its scale is larger, and its windows are measured in pixels of the feature maps.
        """
        return replace(
            self, scale=self.head_scale, window_size=self.window_size // self.unshuffle, unshuffle=1
        )


class ESCRealM(RealBody):
    """Maps low-resolution RGB to high-resolution RGB. Parameter names are the published ones.

    Source: ESC's published code; for ``transpose+conv``, the code of traiNNer-redux.
    """

    def __init__(self, config: ESCRealMConfig) -> None:
        super().__init__(config.body(), config.unshuffle)
        self.config = config
        self.to_img = _make_head(config)

    def forward(self, low: Tensor, run: Runner = WHOLE) -> FeatureMap:
        """Upscale.

        Args:
            low: (N, 3, H, W) RGB in [0, 1], of any size from 1x1. float32 works with weights of any dtype. If
                the runner does not return tensors, H and W must be multiples of ``unshuffle``.
            run: The runner of the network's steps.

        Returns:
            (N, 3, scale H, scale W), about [0, 1] but not clamped, in the wider dtype of ``low`` and the
            weights. If the network ``shrinks``, the shape is (N, 3, H / unshuffle, W / unshuffle), rounded
            up. The result is a tensor, unless the runner returns another kind of feature map.
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
    # In some heads the scales 2 and 3 have the same tensors and cannot be told apart without these numbers.
    # The numbers are on the CPU even if the rest of the network is made without memory.
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
    """Split a power of two into factors of two. 3 is left as it is."""
    return [3] if scale == 3 else [2] * (scale.bit_length() - 1)


def _convolution(channels: int, out_channels: int) -> Convolution:
    return Convolution(channels, out_channels, 3, padding=1)


def _doubling(channels: int, out_channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, out_channels, 4, stride=2, padding=1)


def _recognise(state: State) -> ESCRealMConfig | None:
    """Recognize ESCRealM by the numbers that describe its head, which the other tensors do not show.

    Source: the published code. Of the seven numbers, the second is the number of the head, the third its
    scale and the sixth its inner width.
    """
    if _META not in state:
        return None
    version, number, head_scale, _, _, head_dim, _ = _described(state[_META])
    if version not in _READ_VERSIONS or number in _REFUSED_HEADS:
        described = repr(_REFUSED_HEADS.get(number, f"version {version}"))
        raise WeightsError(
            f"the file holds an ESCRealM network with the head {described}, which is not supported"
        )
    if number >= len(get_args(Head)):
        raise ValueError(f"no head has the number {number}")
    head: Head = get_args(Head)[number] if head_scale > 1 else "conv"
    widths = esc_widths(state)
    channels = state[entry(state)].shape[1]
    if channels < 3:
        raise ValueError(f"its first convolution reads {channels} channels, and a picture has 3")
    unshuffle = exact_root(channels // 3)
    if head != "conv" and head_scale % unshuffle:
        raise ValueError(f"a head of x{head_scale} after unshuffling by {unshuffle} makes no whole scale")
    return ESCRealMConfig(
        scale=1 if head == "conv" else head_scale // unshuffle,
        head=head,
        head_dim=head_dim,
        unshuffle=unshuffle,
        **widths | {"window_size": widths["window_size"] * unshuffle},
    )


def _described(meta: Tensor) -> list[int]:
    """Return the numbers by which a head describes itself. They are bytes, whatever type a file stores.

    Raises:
        ValueError: They are not.
    """
    numbers = meta.flatten().tolist()
    if not all(0 <= number < 256 for number in numbers):
        raise ValueError(f"the numbers {numbers} do not describe a head")
    return [int(number) for number in numbers]


def _published(scale: int) -> ESCRealMConfig:
    unshuffle = 4 // scale if scale < 3 else 1
    return ESCRealMConfig(scale, window_size=32 * unshuffle, unshuffle=unshuffle)


ARCHITECTURE = Architecture(ESCRealMConfig, ESCRealM, _recognise, {"esc-realm": _published})
