"""Which version of this program runs."""

from importlib.metadata import PackageNotFoundError, version


def program_version() -> str:
    """Tell the version; "0+source" where the program is not installed."""
    try:
        return version("esc-upscale")
    except PackageNotFoundError:
        return "0+source"


__version__ = program_version()
