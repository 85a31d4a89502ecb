"""What all tests share: where the pictures of the workplace lie, if they do."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image, ImageDraw

settings.register_profile("untimed", deadline=None)  # machines are shared: no test fails for being slow
settings.load_profile("untimed")

SHARED = Path(__file__).parents[2] / "shared"
VECTORS = Path(__file__).parent / "data" / "vectors"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference vectors and pictures that lies beside a developer's checkout."""
    if not SHARED.is_dir():
        pytest.skip("the reference vectors and pictures are not here")
    return SHARED


@pytest.fixture(scope="session")
def vector_path() -> Callable[[str], Path]:
    """Finds a file of the reference vectors: a few are here, the others beside a developer's checkout."""

    def find(name: str) -> Path:
        places = [folder / name for folder in (VECTORS, SHARED / "vectors")]
        return next((path for path in places if path.is_file()), None) or pytest.skip(f"{name} is not here")

    return find


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked ``cuda`` where there is no such device."""
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")


@pytest.fixture(scope="session")
def scene() -> Image.Image:
    """240x192 pixels as a good camera gives them: clouds with sharp shapes before them, made small."""
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(60, 200, (12, 15, 3), np.uint8))
    picture = coarse.resize((960, 768), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for _ in range(60):
        left, top, width, height = (
            int(side) for side in random.integers((0, 0, 20, 20), (900, 700, 120, 120))
        )
        color = tuple(int(value) for value in random.integers(20, 236, 3))
        draw.polygon([(left, top), (left + width, top + 9), (left + 15, top + height)], fill=color)
    return picture.resize((240, 192), Image.Resampling.LANCZOS)


# Threads pay on networks of real size only; on the tests' small ones they wait for each other.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the programs that tests start


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def imagemagick() -> str:
    """ImageMagick's program: what only has its name is passed over."""
    program = shutil.which("convert") or pytest.skip("ImageMagick is not here")
    version = subprocess.run([program, "-version"], check=False, capture_output=True, text=True).stdout
    return program if "ImageMagick" in version else pytest.skip("convert is not ImageMagick's")


@pytest.fixture
def save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a picture below the current folder, which is an empty one: ``save("a/b.png", mode="LA")``."""
    monkeypatch.chdir(tmp_path)

    def save(name: str, size: tuple[int, int] = (8, 6), mode: str = "RGB", format: str | None = None) -> Path:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = Image.effect_noise(size, 60)
        noise.convert("RGB").convert(mode).save(path, format)
        return path

    return save
