"""The name of this program, its version, and the command that installs its optional parts."""

from importlib.metadata import PackageNotFoundError, version

PROGRAM = "esc-upscale"
"""Name of the command and of the package."""


def program_version() -> str:
    """Return the version, or "0+source" if the program is not installed."""
    try:
        return version(PROGRAM)
    except PackageNotFoundError:
        return "0+source"


def made_by() -> str:
    """Return the name of the program with its version, for the metadata of files."""
    return f"{PROGRAM} {program_version()}"


def install_hint(extra: str) -> str:
    """Return the command that installs an extra of this package, for hints.

    The quotes are double, because the command line of Windows knows no others.
    """
    return f'pip install "{PROGRAM}[{extra}]"'


__version__ = program_version()
