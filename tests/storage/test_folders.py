import os
from pathlib import Path

import pytest

from esc_cli.storage.folders import cache_folder

HOME = Path(os.path.expanduser("~"))  # noqa: PTH111 - as in the module


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_the_user_s_folder_of_caches_counts(tmp_path: Path, platform: str) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path), "LOCALAPPDATA": "/elsewhere"}
    assert cache_folder("program", environment, platform) == tmp_path / "program"


@pytest.mark.parametrize("chosen", [{}, {"XDG_CACHE_HOME": ""}, {"XDG_CACHE_HOME": "relative"}])
def test_without_one_it_is_that_of_the_platform(chosen: dict[str, str], tmp_path: Path) -> None:
    assert cache_folder("program", chosen, "linux") == HOME / ".cache/program"
    assert cache_folder("program", chosen, "darwin") == HOME / "Library/Caches/program"
    local = {**chosen, "LOCALAPPDATA": str(tmp_path)}
    assert cache_folder("program", local, "win32") == tmp_path / "program/Cache"


def test_a_user_without_folders_has_none() -> None:
    assert cache_folder("program", {}, "win32") is None
