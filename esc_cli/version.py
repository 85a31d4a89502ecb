"""Find the version of this program."""

from importlib.metadata import PackageNotFoundError, version


def program_version() -> str:
    """Return the version, or "0+source" if the program is not installed."""
    try:
        return version("esc-upscale")
    except PackageNotFoundError:
        return "0+source"


__version__ = program_version()
