"""Write figures to files. This needs matplotlib, which is optional."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from esc_cli.errors import UsageError
from esc_cli.storage.whole_files import atomic_path, check_target
from esc_cli.version import install_hint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Metadata that would differ between files with the same content are left out.
_METADATA: dict[str, dict[str, str | None]] = {".png": {"Software": None}, ".svg": {"Date": None}}
_STYLE = {"svg.hashsalt": "esc-upscale", "font.size": 9}


def check_plot(path: Path, *, replace: bool, inputs: Iterable[Path | None] = ()) -> None:
    """Check that a plot can be drawn and written, before anything is measured; see ``check_target``.

    Raises:
        UsageError: The file name ends in neither .png nor .svg, or matplotlib is not installed.
        OutputError: The file cannot be written; see ``check_target``.
    """
    _check_drawable(path)
    check_target(path, replace=replace, inputs=inputs)


def _check_drawable(path: Path) -> None:
    if path.suffix.lower() not in _METADATA:
        raise UsageError(f"a plot must be a .png or .svg file, not {str(path)!r}")
    if find_spec("matplotlib") is None:
        raise UsageError("plots need matplotlib", hint=install_hint("benchmark"))


@contextmanager
def saved_figure(path: Path, size_inches: tuple[float, float]) -> Iterator["Figure"]:
    """Yield an empty figure, and save it at the end of the context.

    Args:
        path: Path of a .png or .svg file. An existing file is replaced.
        size_inches: (width, height), at 150 pixels per inch.

    Raises:
        UsageError: The plot cannot be drawn; see ``check_plot``.
        OutputError: The file cannot be written.
    """
    _check_drawable(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    kind = path.suffix.lower()
    with rc_context(_STYLE), atomic_path(path) as partial:  # type: ignore[arg-type]
        figure = Figure(figsize=size_inches, layout="constrained")
        yield figure
        figure.savefig(partial, format=kind[1:], dpi=150, metadata=_METADATA[kind])
