"""Encode values that are proportional to light with sRGB's tone curve while a network sees them.

A picture goes through the network in its own color space and keeps its profile. This choice was measured.
Crops were halved in their own space, enlarged by the shipped `esc` x2, and compared with the originals in Lab
(mean Delta E 1976). They were enlarged as they are ("keep"), after conversion to sRGB and back ("sRGB"), and
with only sRGB's tone curve applied and removed again ("tone"):

    picture                                                       keep     sRGB     tone
    Display P3, a photo without a color beyond sRGB              0.377    0.384    0.377
    Display P3, color bars                                       0.433    2.922    0.435
    Adobe RGB, two photos                                 1.970, 0.221  2.001, 0.229  1.968, 0.221
    a profile that swaps channels                                0.831    0.874    0.856
    gamma 2.5, two photos                                 2.526, 0.288  2.532, 0.296  2.517, 0.288
    gamma 1.8, two photos                                 2.541, 0.289  2.552, 0.295  2.533, 0.288
    proportional to light, two photos                     2.961, 0.296  2.891, 0.291  2.884, 0.288
    the same, three stops darker                          1.487, 0.191  1.397, 0.186  1.361, 0.149
    PQ (white is 203 cd/m2), two photos                   0.431, 0.064  0.562, 0.220  0.470, 0.066

Primaries, the order of channels and any usual gamma do not matter to the network, and PQ suits it better than
relative light does. Only values that are proportional to light, or nearly, come out closer (by 3 % to 22 %)
with a tone curve, so only they get one. Conversion to sRGB is never the closest, and it loses colors.

Light may exceed white by far, as a lamp or the sun does. If sRGB's tone curve were applied to values as
shares of the brightest one, nearly everything would be close to black. So light beyond white is encoded by
its logarithm, which continues the curve with the same slope. Four photos of light with a lamp in a corner
were averaged over 2x2 pixels, enlarged by `esc-light` x2, and compared with the originals outside of the
lamp, as sRGB (dB):

    brightest light, white is 1       1       8      50    1000
    shares of the brightest       32.69   32.68   31.72   26.57
    PQ                            31.67   31.86   31.92   31.97
    logarithm beyond white        32.69   32.91   32.90   32.85
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from esc_cli.media.color import srgb
from esc_cli.media.color.conversion import Array, is_usable, through_profile
from esc_cli.media.pixels.alpha import largest_value

_STRIP_PX = 2**22
"""Pixels of a plane that are converted at a time, so that memory holds few values in float64."""

_CURVE_POINTS = 4096
"""Number of values at which a curve is known. Values between them are interpolated."""

_NEARLY_LIGHT = 0.12
"""Smallest increase by sRGB's encoding, at its maximum over all values, for which a tone curve is used.

The maximum is 0.28 if values are proportional to light, 0.14 if they are its 1.5th root, and 0.07 if they are
its 1.8th root.
"""


_SLOPE_AT_WHITE = 1.055 / 2.4
"""The slope of sRGB's tone curve at white."""


@dataclass(frozen=True, eq=False)
class Tone:
    """A tone curve that gives values an encoding like sRGB's, and removes it again.

    Attributes:
        own: Values as they are in the picture, increasing from 0 to 1.
        encoded: The same values as a network sees them, strictly increasing from 0 to 1.
    """

    own: npt.NDArray[np.float64]
    encoded: npt.NDArray[np.float64]

    def encode(self, color: Tensor) -> Tensor:
        """Encode values for a network.

        Args:
            color: (1, 3, H, W), uint8, uint16 or float32 in [0, 1].

        Returns:
            Same shape, float32 in [0, 1], because fewer bits could not tell all dark values apart. `decode`
            returns exactly the original values (for 16 bits, within one).
        """
        white = largest_value(color.dtype)
        result = torch.empty(color.shape, dtype=torch.float32)
        for source, target in _strips(color, result):
            target[:] = np.interp(source / white, self.own, self.encoded)
        return result

    def decode(self, color: Tensor, dtype: torch.dtype) -> Tensor:
        """Decode values from a network.

        Args:
            color: (1, 3, H, W), float32.
            dtype: uint8, uint16 or float32.

        Returns:
            Same shape, of type ``dtype``, clamped.
        """
        white = largest_value(dtype)
        result = torch.empty(color.shape, dtype=dtype)
        for source, target in _strips(color, result):
            own = np.interp(source, self.encoded, self.own)
            target[:] = own if dtype.is_floating_point else (own * white).round()
        return result


@lru_cache(maxsize=16)
def tone_of(icc_profile: bytes | None, gray: bool, lights: tuple[float, float] = (0.0, 1.0)) -> Tone | None:
    """Return the tone curve with which values must be encoded for a network, or None.

    Args:
        icc_profile: ICC profile of the picture.
        gray: Whether the picture is gray.
        lights: The light that 0 and 1 in the picture stand for, if values are proportional to light. The
            white of a screen is 1.

    Returns:
        A tone curve, the same for all channels, for values that are proportional to light, or nearly. None
        for all other values, which a network sees as they are (see the docstring of this module).
    """
    if icc_profile is None or not is_usable(icc_profile, gray):
        return None
    own = np.linspace(0, 1, _CURVE_POINTS)
    ramp = (own * 65_535).round().astype(np.uint16).reshape(1, -1, 1)
    neutral = ramp if gray else np.repeat(ramp, 3, axis=2)
    seen = through_profile(neutral, icc_profile)[0].mean(axis=1) / 65_535
    # The curve increases strictly, even where a profile is flat, so that no two values become one.
    rising = np.maximum.accumulate(seen) + own / 128
    encoded = (rising - rising[0]) / (rising[-1] - rising[0])
    if (encoded - own).max() <= _NEARLY_LIGHT:
        return None
    return Tone(own, encoded) if lights[1] <= 1 else _tone_of_lights(*lights)


def _tone_of_lights(black: float, white: float) -> Tone:
    """Return sRGB's tone curve up to light 1, which continues as a logarithm."""
    lights = np.concatenate((np.linspace(black, 1, _CURVE_POINTS), np.geomspace(1, white, _CURVE_POINTS)[1:]))
    values = np.where(
        lights <= 1,
        srgb.encoded(torch.from_numpy(lights)).numpy(),
        1 + _SLOPE_AT_WHITE * np.log(np.maximum(lights, 1)),
    )
    ends = values[0], values[-1]
    return Tone((lights - black) / (white - black), (values - ends[0]) / (ends[1] - ends[0]))


def _strips(source: Tensor, target: Tensor) -> Iterator[tuple[Array, Array]]:
    """Yield views of the same pixels of two (N, C, H, W), some rows of one plane at a time."""
    for planes in zip(source.flatten(0, 1), target.flatten(0, 1), strict=True):
        rows = max(1, _STRIP_PX // source.shape[-1])
        here, there = (torch.split(plane, rows) for plane in planes)
        yield from ((one.numpy(), other.numpy()) for one, other in zip(here, there, strict=True))
