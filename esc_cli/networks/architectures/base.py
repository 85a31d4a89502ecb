"""What the rest of the program asks of an architecture, so that nobody else asks for one by name."""

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

State = Mapping[str, Tensor]
"""A state dict."""

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
"""Maps of ``dim`` channels alive at once in the body: the largest of these and a quarter."""


@dataclass(frozen=True)
class MemoryProfile:
    """What of a network's memory grows with the picture, in numbers, not bytes.

    Attributes:
        values_per_pixel: Numbers alive at once at the peak, for each pixel of the body's input, without the
            result's.
        held_channels: Channels of the feature maps that a run in strips holds at once.
        scores_per_pixel: Attention scores of one pixel, where all are made.
        bias_values: Numbers in the dense bias of one attention layer.
        bias_layers: How many attention layers there are.
        learned_factors: Whether the bias is learned as factors, so that only ``naive`` attention makes it
            dense.
    """

    values_per_pixel: int = 0
    held_channels: int = 0
    scores_per_pixel: int = 0
    bias_values: int = 0
    bias_layers: int = 0
    learned_factors: bool = False


class NetworkConfig:
    """The configuration of a network; each architecture has a frozen dataclass of this kind.

    Attributes:
        scale: Pixels out per pixel in, along each axis.
        window_size: Side of the attention windows, pixels; 1 where there is no attention.
        any_scale: Whether it makes results of any size, and ``scale`` only where nobody asks for one.
        pools: Whether it pools over the whole picture, so that no overlap makes tiles equal to it.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]  # every subclass is a dataclass
    scale: int
    window_size: int
    any_scale: ClassVar[bool] = False
    pools: ClassVar[bool] = True

    @property
    def body_factor(self) -> int:
        """Sides of the input divided by those of the body's feature maps."""
        return 1

    @property
    def shrinks(self) -> bool:
        """Whether results are smaller than the picture."""
        return False

    def body(self) -> "NetworkConfig":
        """Give the configuration of the body, which may see the picture unshuffled and so smaller."""
        return self

    def memory(self) -> MemoryProfile:
        """Give what of the memory grows with the picture."""
        return MemoryProfile()


class BlocksConfig(NetworkConfig):
    """The configuration of a network made of ESC's blocks; see ``ESCConfig`` for the widths."""

    dim: int
    partial_dim: int
    heads: int
    blocks: int
    learned_factors: ClassVar[bool] = False

    @property
    def head_maps(self) -> float:
        """Maps of ``dim`` channels alive at once in the head, at high resolution."""
        return 0.0

    @property
    def pooled_channels(self) -> int:
        """Channels that a strip's neighbours wait for: those that a mixer pools over."""
        return self.partial_dim

    def memory(self) -> MemoryProfile:
        """Give what of the memory grows with the picture.

        A run in strips holds a block's input, the inner residual, and what a mixer pools over.
        """
        return MemoryProfile(
            values_per_pixel=round(max(_BODY_MAPS, self.head_maps * self.scale**2) * self.dim),
            held_channels=2 * self.dim + self.pooled_channels,
            scores_per_pixel=self.heads * self.window_size**2,
            bias_values=self.heads * self.window_size**4,
            bias_layers=self.blocks,
            learned_factors=self.learned_factors,
        )


@dataclass(frozen=True)
class Architecture:
    """One architecture, as it stands in the registry.

    Attributes:
        config: Class of its configurations.
        network: Makes a network of one, with freshly initialised weights.
        recognise: Gives the configuration that a state dict was made with, None where it is not of this
            architecture. It may raise KeyError, IndexError or ValueError where the tensors do not fit each
            other, and WeightsError where it knows better what is wrong.
        variants: The published networks by name: what makes the configuration of a scale.
    """

    config: type[NetworkConfig]
    network: Callable[[Any], nn.Module]
    recognise: Callable[[State], NetworkConfig | None]
    variants: Mapping[str, Callable[[int], NetworkConfig]] = field(default_factory=dict)
