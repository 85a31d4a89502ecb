"""Figures in files. They need matplotlib, which is optional."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from esc_cli.errors import UsageError
from esc_cli.storage.whole_files import atomic_path, check_target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What differs from run to run in a file of the same content is left out of it.
_METADATA: dict[str, dict[str, str | None]] = {".png": {"Software": None}, ".svg": {"Date": None}}
_STYLE = {"svg.hashsalt": "esc-upscale", "font.size": 9}


def check_plot(path: Path, *, replace: bool, inputs: Iterable[Path | None] = ()) -> None:
    """Make sure, before anything is measured, that a plot can be drawn and written; see ``check_target``.

    Raises:
        UsageError: The file's name ends in neither .png nor .svg, or matplotlib is not installed.
        OutputError: As for ``check_target``.
    """
    _check_drawable(path)
    check_target(path, replace=replace, inputs=inputs)


def _check_drawable(path: Path) -> None:
    if path.suffix.lower() not in _METADATA:
        raise UsageError(f"a plot is a .png or .svg file, not {str(path)!r}")
    if find_spec("matplotlib") is None:
        raise UsageError("plots need matplotlib", hint="pip install 'esc-upscale[benchmark]'")


@contextmanager
def saved_figure(path: Path, size_inches: tuple[float, float]) -> Iterator["Figure"]:
    """Yield an empty figure, which is saved when it is drawn.

    Args:
        path: A .png or .svg file; replaced if it is there.
        size_inches: (width, height), at 150 pixels an inch.

    Raises:
        UsageError: As for ``check_plot``.
        OutputError: It cannot be written.
    """
    _check_drawable(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    kind = path.suffix.lower()
    with rc_context(_STYLE), atomic_path(path) as partial:  # type: ignore[arg-type]
        figure = Figure(figsize=size_inches, layout="constrained")
        yield figure
        figure.savefig(partial, format=kind[1:], dpi=150, metadata=_METADATA[kind])
