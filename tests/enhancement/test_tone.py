"""Values that are proportional to light get a tone curve, and other values stay as they are."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from esc_cli.enhancement.tone import tone_of
from esc_cli.media.color.profiles import (
    Primaries,
    gray_profile,
    power_curve,
    rgb_profile,
    sampled_curve,
    srgb_curve,
)
from esc_cli.media.color.signalling import PRIMARIES, transfer_curve

ADOBE_RGB = Primaries((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))


def profile_of(primaries: Primaries, curve: bytes) -> bytes:
    profile = rgb_profile(primaries, curve)
    assert profile is not None
    return profile


P3 = profile_of(PRIMARIES[12], srgb_curve())
USUAL = (P3, profile_of(ADOBE_RGB, power_curve(2.2)), profile_of(PRIMARIES[9], power_curve(2.6)))
LINEAR = profile_of(PRIMARIES[9], power_curve(1))
LINEAR_GRAY = gray_profile(power_curve(1))


@pytest.mark.parametrize(
    ("profile", "gray"), [(b"", False), (P3[:300], False), (P3, True), (LINEAR_GRAY, False)]
)
def test_an_unusable_profile_has_none(profile: bytes, gray: bool) -> None:
    assert tone_of(profile, gray) is None


def test_usual_values_are_left_as_they_are() -> None:
    for profile in (None, *USUAL):
        assert tone_of(profile, False) is None
    for code in (4, 5, 13, 16, 18):
        curve = transfer_curve(code)
        assert curve is not None
        assert tone_of(profile_of(PRIMARIES[9], curve), False) is None
        assert tone_of(gray_profile(curve), True) is None
    assert tone_of(profile_of(ADOBE_RGB, power_curve(1.8)), False) is None


@pytest.mark.parametrize(("profile", "gray"), [(LINEAR, False), (LINEAR_GRAY, True)])
def test_light_is_encoded_as_srgb_does(profile: bytes, gray: bool) -> None:
    tone = tone_of(profile, gray)
    assert tone is not None
    assert tone is tone_of(profile, gray)
    light = torch.tensor([0, 0.2140, 0.7354, 1.0]).view(1, 1, 1, -1).expand(1, 3, 1, -1)
    encoded = tone.encode(light)[0, 0, 0]
    assert encoded.tolist() == pytest.approx([0, 0.5, 0.8750, 1.0], abs=0.01)  # IEC 61966-2-1


CLIPPED = profile_of(PRIMARIES[1], sampled_curve(lambda signal: ((signal - 0.1) / 0.8).clip(0, 1)))


@pytest.mark.parametrize("profile", [LINEAR, CLIPPED, profile_of(PRIMARIES[1], power_curve(0.4))])
def test_values_come_back(profile: bytes) -> None:
    tone = tone_of(profile, False)
    assert tone is not None
    for dtype, levels in ((torch.uint8, 256), (torch.uint16, 65536)):
        every = torch.arange(levels, dtype=torch.int32).to(dtype).view(1, 1, -1, 64).expand(1, 3, -1, -1)
        encoded = tone.encode(every)
        assert encoded.dtype == torch.float32
        assert (encoded.diff(dim=-1) > 0).all()
        back = tone.decode(encoded, dtype)
        assert back.dtype == dtype
        assert (back.to(torch.int32) - every.to(torch.int32)).abs().max() <= (dtype == torch.uint16)


@settings(max_examples=20)
@given(st.integers(1, 40), st.integers(1, 40))
def test_floats_come_back_in_any_size(height: int, width: int) -> None:
    tone = tone_of(LINEAR, False)
    assert tone is not None
    values = torch.rand(1, 3, height, width)
    assert (tone.decode(tone.encode(values), torch.float32) - values).abs().max() < 1e-6


def test_what_a_network_overshoots_is_clamped() -> None:
    tone = tone_of(LINEAR, False)
    assert tone is not None
    wild = torch.tensor([-0.5, 1.5]).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    assert tone.decode(wild, torch.uint16)[0, 0, 0].tolist() == [0, 65535]


@pytest.mark.parametrize("lights", [(0.0, 1.5), (0.0, 50.0), (-0.1, 60_000.0)])
def test_lamps_leave_the_contrast_of_other_light_as_it_is(lights: tuple[float, float]) -> None:
    """Up to white, steps keep the proportions of sRGB's curve, and lamps take their logarithm."""
    plain, tone = tone_of(LINEAR, False), tone_of(LINEAR, False, lights)
    assert plain is not None
    assert tone is not None
    black, white = lights
    light = torch.tensor([0, 0.01, 0.18, 0.5, 1.0, white])
    encoded = tone.encode(((light - black) / (white - black)).view(1, 1, 1, -1).expand(1, 3, 1, -1))[0, 0, 0]
    shares = (encoded - encoded[0]) / (encoded[4] - encoded[0])
    expected = plain.encode(light[:5].view(1, 1, 1, -1).expand(1, 3, 1, -1))[0, 0, 0]
    assert shares[:5].tolist() == pytest.approx(expected.tolist(), abs=0.02)
    assert shares[5].item() == pytest.approx(1 + 1.055 / 2.4 * math.log(white), rel=0.02)
    assert tone_of(P3, False, lights) is None


@given(light=st.floats(0, 1000))
@settings(max_examples=50, deadline=None)
def test_light_comes_back(light: float) -> None:
    tone = tone_of(LINEAR, False, (0.0, 1000.0))
    assert tone is not None
    values = torch.full((1, 3, 1, 1), light / 1000)
    again = tone.decode(tone.encode(values), torch.float32)
    assert again[0, 0, 0, 0].item() * 1000 == pytest.approx(light, rel=1e-4, abs=1e-5)
