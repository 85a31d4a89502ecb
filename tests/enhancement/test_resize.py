import numpy as np
import numpy.typing as npt
import pytest
import pyvips
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from esc_cli.enhancement.resize import resize, resize_with_alpha, resized_strips

SIZES = st.integers(min_value=1, max_value=40)


@given(SIZES, SIZES, SIZES, SIZES)
@example(2, 1, 3, 1)  # found by this test: torch's result is wrong if it is one pixel wide
@settings(max_examples=60)
def test_it_is_pillows_bicubic(height: int, width: int, new_height: int, new_width: int) -> None:
    values = torch.rand((1, 1, height, width), generator=torch.Generator().manual_seed(height)) * 255
    ours = resize(values / 255, new_height, new_width)[0, 0] * 255
    image = Image.fromarray(values[0, 0].numpy()).resize((new_width, new_height), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(ours.numpy(), np.asarray(image), atol=1e-3)


@pytest.mark.parametrize("size", [(7, 200), (333, 11), (64, 64)])
def test_bytes_differ_from_pillows_bytes_by_rounding_alone(size: tuple[int, int]) -> None:
    # The values are far from 0 and 255, because Pillow also clamps between its two passes.
    generator = torch.Generator().manual_seed(1)
    picture = torch.randint(90, 160, (2, 3, 48, 50), dtype=torch.uint8, generator=generator)
    ours = resize(picture, *size)
    assert ours.dtype == torch.uint8
    image = Image.fromarray(picture[1].permute(1, 2, 0).numpy()).resize(size[::-1], Image.Resampling.BICUBIC)
    difference = ours[1].permute(1, 2, 0).numpy().astype(int) - np.asarray(image)
    assert np.abs(difference).max() <= 1


def test_a_constant_stays_one_and_floats_overshoot() -> None:
    assert (resize(torch.full((1, 3, 9, 5), 77, dtype=torch.uint8), 31, 44) == 77).all()
    edge = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64).expand(1, 1, 4, 4)
    resized = resize(edge, 16, 16)
    assert resized.dtype == torch.float64
    assert resized.max() > 1.01
    assert resize((edge * 255).to(torch.uint8), 16, 16).max() == 255


def test_halves_are_rounded_to_even() -> None:
    # Reducing a picture of two pixels to one pixel gives their mean.
    for low, expected in ((10, 10), (11, 12)):
        picture = torch.tensor([[low, low + 1]], dtype=torch.uint8).repeat(1, 1, 1, 1)
        assert resize(picture, 1, 1).item() == expected


def test_the_same_size_costs_nothing() -> None:
    picture = torch.rand((1, 3, 8, 9))
    assert resize(picture, 8, 9) is picture


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="int64"):
        resize(torch.zeros((1, 3, 4, 4), dtype=torch.int64), 8, 8)


def test_16_bits_are_pillows_floats_rounded() -> None:
    picture = torch.randint(20_000, 40_000, (1, 1, 37, 53), dtype=torch.int32).to(torch.uint16)
    ours = resize(picture, 20, 70)
    assert ours.dtype == torch.uint16
    image = Image.fromarray(picture[0, 0].numpy().astype(np.float32)).resize(
        (70, 20), Image.Resampling.BICUBIC
    )
    assert np.abs(ours[0, 0].numpy() - np.asarray(image)).max() <= 0.52  # half a level and rounding


@pytest.mark.parametrize("size", [(700, 1100), (2100, 400), (1501, 1)])
def test_a_picture_of_many_strips_is_resized_as_if_it_were_one(size: tuple[int, int]) -> None:
    picture = torch.rand((1, 1, 1400, 1300), generator=torch.Generator().manual_seed(2))
    wide = (size[0], max(2, size[1]))  # torch's result is wrong if it is one pixel wide
    whole = torch.nn.functional.interpolate(picture, wide, mode="bicubic", antialias=True)
    ours = resize(picture, *size)
    assert torch.equal(ours, whole) if size[1] > 1 else ours.std() > 0


# In linear light


@pytest.mark.parametrize(
    ("dtype", "white", "expected"), [(torch.uint8, 255, 188), (torch.uint16, 65535, 48192)]
)
def test_black_and_white_make_half_the_light(dtype: torch.dtype, white: int, expected: int) -> None:
    # IEC 61966-2-1: half the light is 1.055 * 0.5^(1/2.4) - 0.055 = 0.735357 of the largest value.
    board = (torch.arange(64)[:, None] + torch.arange(64)) % 2 * white
    resized = resize(board.to(dtype).expand(1, 3, 64, 64), 32, 32, linear_light=True)
    assert (resized[..., 2:-2, 2:-2].to(torch.int32) - expected).abs().max() <= 1
    assert resized[0, 0, 16, 16] == expected
    assert resize(board.to(dtype).expand(1, 3, 64, 64), 32, 32)[0, 0, 16, 16] in (127, 128, 32767, 32768)


def test_every_value_survives_the_way_to_light_and_back() -> None:
    for dtype, count in ((torch.uint8, 2**8), (torch.uint16, 2**16)):
        values = torch.arange(count, dtype=torch.int32).to(dtype).view(1, 1, count, 1).repeat(1, 1, 1, 5)
        resized = resize(values, count, 3, linear_light=True)
        assert torch.equal(resized, values[..., :3])


@pytest.mark.parametrize("factor", [0.75, 0.5])
def test_light_is_averaged_as_libvips_does(factor: float) -> None:
    pixels = np.random.default_rng(1).integers(100, 256, (96, 80, 3)).astype(np.uint8)
    height, width = int(96 * factor), int(80 * factor)
    ours = resize(_tensor(pixels), height, width, linear_light=True)[0].permute(1, 2, 0).numpy()
    image = pyvips.Image.new_from_array(pixels, interpretation="srgb").colourspace("scrgb")
    theirs = image.reduce(1 / factor, 1 / factor, kernel="cubic").colourspace("srgb").numpy()
    stored = resize(_tensor(pixels), height, width)[0].permute(1, 2, 0).numpy()
    # The result of libvips overshoots and differs at the borders.
    apart = [np.abs(each.astype(int) - theirs.astype(int))[3:-3, 3:-3] for each in (ours, stored)]
    assert apart[0].mean() < 0.6
    assert apart[1].mean() > 4


@given(SIZES, SIZES, SIZES, SIZES)
@settings(max_examples=60)
def test_in_linear_light_nothing_overshoots(height: int, width: int, new_height: int, new_width: int) -> None:
    picture = torch.rand((1, 2, height, width), generator=torch.Generator().manual_seed(width)).round()
    picture = picture * 0.6 + 0.2
    resized = resize(picture, new_height, new_width, linear_light=True)
    assert resized.shape == (1, 2, new_height, new_width)
    for values, original in zip(resized[0], picture[0], strict=True):
        assert values.min() >= original.min() - 1e-6
        assert values.max() <= original.max() + 1e-6


def test_beside_a_dark_edge_nothing_is_darker_than_the_dark() -> None:
    edge = torch.full((1, 1, 8, 40), 255, dtype=torch.uint8)
    edge[..., 17:] = 60
    resized = resize(edge, 8, 30, linear_light=True)
    assert (resized.min(), resized.max()) == (60, 255)


def test_what_rises_evenly_in_light_still_does_when_enlarged() -> None:
    light = torch.linspace(0.2, 0.8, 12, dtype=torch.float64).view(1, 1, 1, 12)
    enlarged = resize(1.055 * light ** (1 / 2.4) - 0.055, 1, 48, linear_light=True)
    steps = (((enlarged + 0.055) / 1.055) ** 2.4)[0, 0, 0, 8:-8].diff()
    torch.testing.assert_close(steps, torch.full_like(steps, 0.6 / 11 / 4), atol=1e-6, rtol=0)


# With transparency


@given(SIZES, SIZES, SIZES, SIZES, st.sampled_from([torch.uint8, torch.uint16, torch.float32]))
@settings(max_examples=60)
def test_colors_of_hidden_pixels_do_not_bleed(
    height: int, width: int, new_height: int, new_width: int, dtype: torch.dtype
) -> None:
    white = 1 if dtype.is_floating_point else torch.iinfo(dtype).max
    opaque = torch.rand((1, 1, height, width), generator=torch.Generator().manual_seed(height)) > 0.5
    alpha = (opaque * white).to(dtype)
    red = torch.cat((opaque, torch.zeros_like(opaque), torch.zeros_like(opaque)), dim=1)
    color = torch.where(opaque, red, torch.tensor([False, True, True]).view(1, 3, 1, 1))  # cyan is hidden
    resized, new_alpha = resize_with_alpha((color * white).to(dtype), alpha, new_height, new_width)
    assert new_alpha is not None
    assert new_alpha.shape == (1, 1, new_height, new_width)
    visible = (new_alpha.to(torch.float32) > white / 1000)[0, 0]
    expected = torch.tensor([white, 0.0, 0.0]).view(3, 1).expand(-1, int(visible.sum()))
    torch.testing.assert_close(resized[0, :, visible].to(torch.float32), expected, atol=white * 1e-4, rtol=0)


def test_colors_are_weighted_as_libvips_does() -> None:
    pixels = _waves(96, 80, 4)
    color, alpha = _tensor(pixels[..., :3]), _tensor(pixels[..., 3:])
    resized, new_alpha = resize_with_alpha(color, alpha, 48, 40, linear_light=True)
    assert new_alpha is not None
    image = pyvips.Image.new_from_array(pixels, interpretation="srgb").colourspace("scrgb").premultiply()
    half = image.reduce(2, 2, kernel="cubic").unpremultiply().colourspace("srgb").numpy()
    ours = torch.cat((resized, new_alpha), dim=1)[0].permute(1, 2, 0).numpy()
    assert np.abs(ours.astype(int) - half.astype(int))[3:-3, 3:-3].max() <= 1


def test_without_transparency_it_is_the_plain_resize() -> None:
    color = torch.randint(0, 256, (2, 3, 20, 30), dtype=torch.uint8)
    plain = resize(color, 12, 17, linear_light=True)
    assert resize_with_alpha(color, None, 12, 17, linear_light=True)[1] is None
    for value in (255, 99, 0):
        alpha = torch.full((2, 1, 1, 1), value, dtype=torch.uint8).expand(2, 1, 20, 30)
        resized, new_alpha = resize_with_alpha(color, alpha, 12, 17, linear_light=True)
        assert torch.equal(resized, plain)
        assert new_alpha is not None
        assert torch.equal(new_alpha, torch.full((2, 1, 12, 17), value, dtype=torch.uint8))


def test_strips_are_the_resize_before_rounding() -> None:
    plane = torch.randint(0, 2**16, (1, 1, 300, 9000), dtype=torch.int32).to(torch.uint16)
    joined = torch.cat([strip for _, strip in resized_strips(plane[0, 0], 600, 2500)], dim=1)
    assert not torch.equal(joined, joined.round())
    assert torch.equal(joined.round().clamp(0, 65535).to(torch.uint16), resize(plane, 600, 2500)[0, 0])


def _waves(height: int, width: int, channels: int) -> npt.NDArray[np.uint8]:
    """Return a picture without edges. Its values lie from 40 to 240, so its alpha is never 0."""
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    waves = [np.sin(rows / (9 + c)) * np.cos(columns / (8 + c)) for c in range(channels)]
    pixels = np.stack(waves, axis=-1) * 100 + 140
    return pixels.round().astype(np.uint8)


def _tensor(pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
