"""Real files, and permissions that hold for root, too."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from PIL import Image

NOBODY = 65534


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


@pytest.fixture
def load() -> Callable[..., Image.Image]:
    """Read a picture with Pillow, and close its file."""

    def load(path: str | Path) -> Image.Image:
        with Image.open(path) as image:
            image.load()
        return image

    return load


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that everybody may read and only we may write; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def unprivileged() -> Callable[[], AbstractContextManager[None]]:
    """Give up being root for a while, to whom no permission applies."""

    @contextmanager
    def unprivileged() -> Iterator[None]:
        if os.getuid() != 0:
            yield
            return
        os.setresuid(NOBODY, NOBODY, 0)
        try:
            yield
        finally:
            os.setresuid(0, 0, 0)

    return unprivileged
