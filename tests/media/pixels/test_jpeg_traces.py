"""Test that quantization steps are found in pixels that were compressed, and only in those."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from esc_cli.media.pixels.cosine_blocks import cosine_blocks
from esc_cli.media.pixels.jpeg_traces import jpeg_step, table_step
from esc_cli.media.probe import find_pictures

STEPS = {95: 0, 85: 4, 75: 7, 50: 13, 30: 22}
"""Expected step by JPEG quality: the median of the IJG's tables at the frequencies that are examined."""


@pytest.fixture
def picture() -> Image.Image:
    """Return a cloudy picture, in which low frequencies are as strong as in a photograph."""
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (40, 50, 3), np.uint8))
    return coarse.resize((350, 280), Image.Resampling.BICUBIC)


def pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]


def compressed(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


def step(image: Image.Image) -> float:
    return jpeg_step(cosine_blocks(pixels(image)))


@pytest.mark.parametrize("quality", STEPS)
def test_the_step_of_a_quality(picture: Image.Image, quality: int) -> None:
    assert step(compressed(picture, quality)) == pytest.approx(STEPS[quality], abs=0.5)


@pytest.mark.parametrize(("quality", "expected"), [(98, 0), (95, 1), (90, 3), (50, 13), (10, 65)])
def test_the_step_of_a_table(picture: Image.Image, quality: int, expected: float) -> None:
    table = compressed(picture, quality).quantization[0]  # type: ignore[attr-defined]
    assert table_step(table) == pytest.approx(expected, abs=1)


def test_there_is_none_without_jpeg(picture: Image.Image) -> None:
    assert step(picture) == 0
    shrunk = compressed(picture, 30).resize((300, 240), Image.Resampling.BICUBIC)
    assert step(shrunk) == 0


def test_a_drawing_that_repeats_itself_is_no_jpeg() -> None:
    lines = torch.full((1, 3, 256, 256), 255, dtype=torch.uint8)
    lines[..., 3::16] = 0
    lines[..., 5::24, :] = 90
    assert jpeg_step(cosine_blocks(lines)) == 0


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (8, 8)])
def test_pictures_too_small_to_tell(size: tuple[int, int]) -> None:
    assert jpeg_step(cosine_blocks(torch.randint(256, (1, 3, *size), dtype=torch.uint8))) == 0


def test_real_pictures_before_and_after(shared: Path) -> None:
    for path in find_pictures(shared / "images" / "B100")[:30]:
        with Image.open(path) as image:
            original = image.convert("RGB")
        assert step(original) == 0, path.name
        assert step(compressed(original, 50)) == pytest.approx(13, abs=0.5), path.name
