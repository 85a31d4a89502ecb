import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from esc_cli.media.pixels.jpeg_traces import cosine_blocks, jpeg_step, table_step
from esc_cli.media.probe import find_pictures


def test_a_wave_is_one_coefficient() -> None:
    columns = torch.cos(math.pi / 8 * (torch.arange(8) + 0.5) * 3) * 0.25 + 0.5
    (block,) = cosine_blocks(columns.expand(1, 3, 8, 8))
    block[0, 0] -= 0.5 * 255 * 8  # the mean
    block[0, 3] -= 0.25 * 255 * math.sqrt(32)
    assert block.abs().max() < 0.01


def test_energy_is_kept() -> None:
    picture = torch.randint(256, (1, 1, 24, 40), dtype=torch.uint8).expand(-1, 3, -1, -1)
    blocks = cosine_blocks(picture)
    assert blocks.shape == (15, 8, 8)
    assert float(blocks.square().sum()) == pytest.approx(
        float(picture[:, 0].float().square().sum()), rel=1e-4
    )


def test_depth_does_not_matter() -> None:
    picture = torch.randint(256, (1, 3, 16, 16), dtype=torch.uint8)
    blocks = cosine_blocks(picture)
    for deeper in (picture.to(torch.uint16) * 257, picture / 255):
        assert torch.allclose(cosine_blocks(deeper), blocks, atol=0.01)


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (300, 7)])
def test_small_pictures_have_none(size: tuple[int, int]) -> None:
    assert cosine_blocks(torch.zeros(1, 3, *size)).shape == (0, 8, 8)


def test_of_a_large_picture_a_megapixel_is_looked_at() -> None:
    rows = torch.arange(4003)[:, None].expand(-1, 2050) // 8 * 8
    blocks = cosine_blocks((rows % 65536).to(torch.uint16).expand(1, 3, -1, -1))
    assert len(blocks) == 9 * 40 * 40
    assert blocks[:, 1:].abs().max() < 0.01  # blocks are aligned to 8 rows, from the first to the last
    assert float(blocks[-1, 0, 0] / 8 * 257) == pytest.approx(3992, abs=1)


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
