"""Fixtures for real files, and for permissions that also apply to root."""

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
    """Return a function that reads a picture with Pillow and closes its file."""

    def load(path: str | Path) -> Image.Image:
        with Image.open(path) as image:
            image.load()
        return image

    return load


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """Yield a folder that all may read and only its owner may write, unlike pytest's private folders."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def unprivileged() -> Callable[[], AbstractContextManager[None]]:
    """Return a context without the privileges of root, because permissions do not apply to root."""

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
