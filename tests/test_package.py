"""Test the package as a whole: its imports, its public names, and that it runs offline."""

import subprocess
import sys
from graphlib import TopologicalSorter
from importlib.metadata import version
from pathlib import Path

import grimp
import pytest

import esc_cli


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_the_package_imports_no_torch() -> None:
    assert run_python("import sys, esc_cli; print('torch' in sys.modules)").strip() == "False"


def test_no_modules_import_each_other() -> None:
    """Imports inside functions count, imports for type checkers do not."""
    graph = grimp.build_graph("esc_cli", exclude_type_checking_imports=True)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imports).prepare()  # raises an error that names a cycle


@pytest.mark.parametrize("name", sorted({*esc_cli.__all__} - {"__version__"}))
def test_public_names_load_on_first_use(name: str) -> None:
    assert getattr(esc_cli, name).__name__ == name


def test_the_package_tells_its_names_and_its_version() -> None:
    assert set(esc_cli.__all__) <= set(dir(esc_cli))
    assert esc_cli.__version__ == version("esc-upscale")
    assert Path(esc_cli.__file__).with_name("py.typed").is_file()


def test_there_is_nothing_else() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = esc_cli.nonsense


def test_the_shipped_model_needs_no_network() -> None:
    """The default model runs although every connection is refused."""
    code = (
        "import socket\n"
        "def refuse(*arguments, **options): raise OSError('no network')\n"
        "socket.socket.connect = refuse\n"
        "import torch\n"
        "from esc_cli import Upscaler\n"
        "print(tuple(Upscaler(scale=2)(torch.zeros(1, 3, 5, 6, dtype=torch.uint8)).shape))"
    )
    assert run_python(code).strip() == "(1, 3, 10, 12)"
