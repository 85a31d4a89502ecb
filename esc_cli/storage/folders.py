"""Find the folders that the platform has for files of a program."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

_VARIABLE = "XDG_CACHE_HOME"
"""Environment variable with the folder of all caches. Source: the XDG Base Directory Specification 0.8."""


def cache_folder(
    program: str, environment: Mapping[str, str] = os.environ, platform: str = sys.platform
) -> Path | None:
    """Return the folder for files of a program that can be made again. It need not exist.

    Args:
        program: Name of the program.
        environment: The environment variables. ``XDG_CACHE_HOME`` counts on every platform.
        platform: The platform, as ``sys.platform`` names it.

    Returns:
        The folder, or None if the user has no folder of their own.
    """
    chosen, local = Path(environment.get(_VARIABLE, "")), Path(environment.get("LOCALAPPDATA", ""))
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home raises an error if there is none
    if chosen.is_absolute():
        folder = chosen / program
    elif platform == "win32":
        folder = local / program / "Cache"
    else:
        folder = home / ("Library/Caches" if platform == "darwin" else ".cache") / program
    return folder if folder.is_absolute() else None
