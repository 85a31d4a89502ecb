"""The interface of an architecture, which lets other modules use it without knowing its name."""

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

State = Mapping[str, Tensor]
"""A state dict."""

TilingAdvice = Literal["supported", "discouraged", "internal"]
"""How well a network runs in tiles: well, badly, or not at all because it cuts the picture itself."""

# Peak of resident memory over a whole forward pass in a fresh process (two threads, fused attention, the
# attention biases included), torch 2.13 on an x86-64 CPU, MB:
#
#   network x4, float32    at 256x256   at 512x512   maps of dim channels per added pixel
#   ESC-light                     387         1011   13.0
#   ESC                           463         1075   12.8
#   ESC-FP                        436          798   10.1
#   ESC-light, bfloat16           219          508   12.0
#
#   network, float32            at 96x96   at 192x192
#   ESC-XL x4                         607          906   14.8
_BODY_MAPS = 18.5
"""Maps of ``dim`` channels alive at once in the body: the largest figure above plus a quarter."""


@dataclass(frozen=True)
class MemoryProfile:
    """The memory that a network needs for a picture, counted in values and not in bytes.

    Attributes:
        values_per_pixel: Values alive at once at the peak, for each pixel of the body's input, without
            the values of the result.
        held_channels: Channels of the feature maps that a run in strips holds at once.
        scores_per_pixel: Attention scores of one pixel, if all scores are stored.
        bias_values: Values in the dense bias of one attention layer.
        bias_layers: Number of attention layers.
        learned_factors: Whether the bias is learned as factors, so that only ``naive`` attention makes it
            dense.
        values_per_square: Values that each pixel of the input adds to ``values_per_pixel``, in a network
            whose memory grows faster than the picture.
    """

    values_per_pixel: int = 0
    held_channels: int = 0
    scores_per_pixel: int = 0
    bias_values: int = 0
    bias_layers: int = 0
    learned_factors: bool = False
    values_per_square: float = 0.0


class NetworkConfig:
    """The configuration of a network. Each architecture has a subclass that is a frozen dataclass.

    Attributes:
        scale: Output pixels per input pixel, along each axis.
        window_size: Side of the attention windows, in pixels; 1 if the network has no attention.
        any_scale: Whether the network makes results of any size. ``scale`` is then only the default, and its
            ``forward`` takes a ``Grid`` after the runner.
        pools: Whether the network pools over the whole picture. Tiles then differ from the whole picture,
            however large their overlap is.
        opaque: Whether the steps of the network are not known here. It then runs only whole or in tiles, and
            nothing in it is rewritten for speed.
        tiling: How well the network runs in tiles.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]  # every subclass is a dataclass
    scale: int
    window_size: int
    any_scale: ClassVar[bool] = False
    pools: ClassVar[bool] = True
    opaque: ClassVar[bool] = False
    tiling: TilingAdvice = "supported"

    @property
    def body_factor(self) -> int:
        """How many times the sides of the input are longer than those of the body's feature maps."""
        return 1

    @property
    def shrinks(self) -> bool:
        """Whether results are smaller than the picture."""
        return False

    @property
    def keeps_pixels(self) -> bool:
        """Whether each pixel of a result copies one pixel of the picture, whatever its neighbors are."""
        return False

    def body(self) -> "NetworkConfig":
        """Return the configuration of the body, whose input may be an unshuffled and thus smaller picture."""
        return self

    def shortened(self) -> "NetworkConfig":
        """Return the configuration of the network with one of its equal blocks, if it has several."""
        return self

    def memory(self) -> MemoryProfile:
        """Return the memory that the network needs for a picture."""
        return MemoryProfile()

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size, (height, width), to which a picture is padded before the network runs."""
        window_px = self.window_size
        return height + -height % window_px, width + -width % window_px

    def supports(self, dtype: torch.dtype) -> bool:
        """Return whether the network can be run in a precision."""
        return True


class BlocksConfig(NetworkConfig):
    """The configuration of a network made of ESC's blocks; see ``ESCConfig`` for the widths.

    Attributes:
        least_widths: The smallest values of the widths, by their names. It is 1 for all others.
        learned_factors: Whether the bias is learned as factors.
    """

    dim: int
    partial_dim: int
    heads: int
    blocks: int
    kernel_size: int
    least_widths: ClassVar[Mapping[str, int]] = {}
    learned_factors: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the widths, which may come from a file.

        Raises:
            ValueError: No network can be built or run with these widths.
        """
        for name in (one.name for one in fields(self)):
            least = self.least_widths.get(name, 1)
            if any(width < least for width in _integers(getattr(self, name))):
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if self.kernel_size % 2 == 0:
            raise ValueError(f"the kernel size must be an odd number, not {self.kernel_size}")
        if self.partial_dim > self.dim:
            raise ValueError(f"the mixing layers cannot mix {self.partial_dim} of {self.dim} channels")
        if self.heads and self.dim % self.heads:
            raise ValueError(f"{self.dim} channels cannot be divided among {self.heads} heads")

    @property
    def head_maps(self) -> float:
        """Maps of ``dim`` channels alive at once in the head, at high resolution."""
        return 0.0

    @property
    def pooled_channels(self) -> int:
        """Channels that a mixer pools over. A run in strips holds them until the last strip is pooled."""
        return self.partial_dim

    def shortened(self) -> NetworkConfig:
        """Return the configuration of the network with one of its equal blocks."""
        return replace(self, blocks=1)

    def memory(self) -> MemoryProfile:
        """Return the memory that the network needs for a picture.

        A run in strips holds a block's input, the inner residual, and the channels that a mixer pools over.
        """
        return MemoryProfile(
            values_per_pixel=round(max(_BODY_MAPS, self.head_maps * self.scale**2) * self.dim),
            held_channels=2 * self.dim + self.pooled_channels,
            scores_per_pixel=self.heads * self.window_size**2,
            bias_values=self.heads * self.window_size**4,
            bias_layers=self.blocks,
            learned_factors=self.learned_factors,
        )


def _integers(value: object) -> tuple[int, ...]:
    """Return the integers in a value of a configuration; none for a name or a truth value."""
    values = value if isinstance(value, tuple) else (value,)
    return tuple(one for one in values if isinstance(one, int) and not isinstance(one, bool))


@dataclass(frozen=True)
class Architecture:
    """An entry of the registry of architectures.

    Attributes:
        config: Class of the architecture's configurations.
        network: Function that makes a network from a configuration, with newly initialized weights.
        recognise: Function that returns the configuration of a state dict, or None if the state dict is not
            of this architecture. It may raise KeyError, IndexError or ValueError if the tensors do not fit
            each other, and WeightsError if it knows a more precise reason.
        variants: Functions that make the configuration of a named network for a scale, by the name of the
            network.
    """

    config: type[NetworkConfig]
    network: Callable[[Any], nn.Module]
    recognise: Callable[[State], NetworkConfig | None]
    variants: Mapping[str, Callable[[int], NetworkConfig]] = field(default_factory=dict)


def has_weights(network: nn.Module) -> bool:
    """Return whether a network has weights. An interpolation has none."""
    return next(network.parameters(), None) is not None
