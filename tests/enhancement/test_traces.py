"""Damage leaves traces that are measured in a picture, and an undamaged picture shows none."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

from esc_cli.enhancement.traces import Traces, traces_in, traces_of, usual_traces
from esc_cli.media.read import picture_from_image, read_file


def pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]


def compressed(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def noisy(image: Image.Image, sigma: float) -> Image.Image:
    noise = np.random.default_rng(1).normal(0, sigma, (image.height, image.width, 1))
    return Image.fromarray((np.array(image) + noise).round().clip(0, 255).astype(np.uint8))


def test_a_good_picture_shows_nothing(scene: Image.Image) -> None:
    traces = traces_in(pixels(scene))
    assert traces.jpeg_step == 0
    assert traces.noise < 0.5
    assert traces.softness_db < 11


@pytest.mark.parametrize("sigma", [2, 5, 12])
def test_noise_is_measured(scene: Image.Image, sigma: float) -> None:
    assert traces_in(pixels(noisy(scene, sigma))).noise == pytest.approx(sigma, rel=0.15)


def test_texture_is_no_noise(scene: Image.Image) -> None:
    texture = noisy(scene, 40).filter(ImageFilter.GaussianBlur(0.8))
    assert traces_in(pixels(texture)).noise == 0


def test_noise_that_is_cut_off_is_not_looked_at(scene: Image.Image) -> None:
    page = Image.new("RGB", (240, 384), (255, 255, 255))
    page.paste(scene, (0, 192))
    assert traces_in(pixels(noisy(page, 5))).noise == pytest.approx(5, rel=0.15)


def test_blur_is_soft(scene: Image.Image) -> None:
    softness = [
        traces_in(pixels(scene.filter(ImageFilter.GaussianBlur(sigma)))).softness_db
        for sigma in (0, 0.4, 0.6, 1.0)
    ]
    assert softness == sorted(softness)
    assert softness[2] > softness[0] + 4
    enlarged = scene.resize((320, 256), Image.Resampling.BICUBIC)
    assert traces_in(pixels(enlarged)).softness_db > softness[0] + 4


def test_drawings_and_screenshots_show_nothing() -> None:
    page = Image.new("RGB", (256, 200), "white")
    draw = ImageDraw.Draw(page)
    for number in range(12):
        draw.text((5 + number, 4 + 15 * number), "The quick brown fox jumps, 0123456789", fill=(20, 30, 90))
        draw.line((0, 16 * number, 250, 190 - 9 * number), fill="black")
    traces = traces_in(pixels(page))
    assert (traces.jpeg_step, traces.noise) == (0, 0)
    assert traces.softness_db < 11


def test_jpeg_shows_in_any_file_and_in_a_part_of_it(scene: Image.Image) -> None:
    decoded = Image.open(io.BytesIO(compressed(scene, 70)))
    whole = traces_in(pixels(decoded)).jpeg_step
    assert whole == pytest.approx(8, abs=1)
    for part in ((3, 5, 240, 192), (0, 7, 200, 180), (4, 0, 236, 190)):
        assert traces_in(pixels(decoded.crop(part))).jpeg_step == pytest.approx(whole, abs=1)
    assert traces_in(pixels(scene.crop((3, 5, 240, 192)))).jpeg_step == 0


def test_a_jpegs_own_table_counts_unless_an_earlier_one_was_coarser(
    scene: Image.Image, tmp_path: Path
) -> None:
    assert traces_of(read_file(compressed(scene, 95)).first).jpeg_step == 1
    assert traces_of(read_file(compressed(scene, 10)).first).jpeg_step > 50
    twice = compressed(Image.open(io.BytesIO(compressed(scene, 50))), 95)
    assert traces_of(read_file(twice).first).jpeg_step == pytest.approx(13, abs=1)
    path = tmp_path / "in.jpg"
    path.write_bytes(compressed(scene, 95))
    with Image.open(path) as image:
        assert traces_of(picture_from_image(image)).jpeg_step == 1


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (8, 8), (40, 3000)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
def test_any_picture_is_looked_at(size: tuple[int, int], dtype: torch.dtype) -> None:
    for value in (torch.zeros(1, 3, *size), torch.rand(1, 3, *size)):
        whole = value if dtype.is_floating_point else (value * torch.iinfo(dtype).max).to(dtype)
        assert traces_in(whole).noise >= 0


def test_values_that_are_no_numbers_do_no_harm() -> None:
    assert traces_in(torch.full((1, 3, 64, 64), torch.nan)) == Traces(0, 0, 0)


def test_several_pictures_have_the_traces_of_most() -> None:
    several = [Traces(0, 1, 20), Traces(7, 2, 8), Traces(7, 9, 9)]
    assert usual_traces(several) == Traces(7, 2, 9)
