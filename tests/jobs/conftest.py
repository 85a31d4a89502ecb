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
