"""Fixtures and settings that all tests share."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from esc_cli.checkpoints.foreign import is_spandrel_installed
from esc_cli.checkpoints.foreign import spandrel as import_spandrel

if importlib.util.find_spec("hypothesis") is not None:  # the machine of the GPU run does not have it
    from hypothesis import settings

    settings.register_profile("untimed", deadline=None)  # machines are shared, so a test may be slow
    settings.load_profile("untimed")

SHARED = Path(__file__).parents[2] / "shared"
VECTORS = Path(__file__).parent / "data" / "vectors"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of reference vectors and pictures, which lies beside a developer's checkout."""
    if not SHARED.is_dir():
        pytest.skip("the reference vectors and pictures are missing")
    return SHARED


@pytest.fixture(scope="session")
def vector_path() -> Callable[[str], Path]:
    """Return a function that finds the file of a reference vector.

    A few vectors are in the repository, the others lie beside a developer's checkout.
    """

    def find(name: str) -> Path:
        places = [folder / name for folder in (VECTORS, SHARED / "vectors")]
        return next((path for path in places if path.is_file()), None) or pytest.skip(f"{name} is missing")

    return find


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests that are marked ``cuda`` if there is no CUDA device."""
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")


@pytest.fixture(scope="session")
def scene() -> Image.Image:
    """Return 240x192 pixels like those of a good camera: sharp shapes in front of clouds, made small."""
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


# Threads help only networks of real size. With the small networks of the tests, they wait for each other.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the programs that tests start


@pytest.fixture(autouse=True, scope="session")
def _cache_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give this process and the programs that tests start a folder of caches that is not the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def spandrel() -> ModuleType:
    """Return the library spandrel, which is optional."""
    if not is_spandrel_installed():
        pytest.skip("spandrel is not installed")
    return import_spandrel()


@pytest.fixture(scope="session")
def imagemagick() -> str:
    """Return the path of ImageMagick's ``convert``. Another program of this name does not count."""
    program = shutil.which("convert") or pytest.skip("ImageMagick is not installed")
    version = subprocess.run([program, "-version"], check=False, capture_output=True, text=True).stdout
    return program if "ImageMagick" in version else pytest.skip("convert is not ImageMagick's")


@pytest.fixture
def save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that writes a picture in an empty current folder: ``save("a/b.png", mode="LA")``."""
    monkeypatch.chdir(tmp_path)

    def save(name: str, size: tuple[int, int] = (8, 6), mode: str = "RGB", format: str | None = None) -> Path:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = Image.effect_noise(size, 60)
        noise.convert("RGB").convert(mode).save(path, format)
        return path

    return save
