"""Test that the README and the documents agree with the program."""

import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest
import typer
from typer.core import TyperGroup

from esc_cli.checkpoints.manifest import read_manifest
from esc_cli.checkpoints.model_card import render_models_table
from esc_cli.cli.configuration import default_file
from esc_cli.cli.main import COMMANDS
from esc_cli.errors import ExitCode
from esc_cli.jobs.events import Event

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "esc_cli/training/RECIPE.md"]

LONGEST_README = 200
"""Limit in lines. Everything else belongs in docs/."""


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield the place and the arguments of every call of the program in the documents."""
    for path in DOCUMENTS:
        for block in re.findall(r"```sh\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.splitlines():
                for part in re.split(r" \| | && ", re.sub(r"\s+# .*", "", line)):
                    if part.startswith("esc-upscale "):
                        yield f"{path.name}: {part}", shlex.split(part)[1:]


def test_exit_codes_are_all_there() -> None:
    table = read("docs/batches.md").partition("<!-- table: exit codes -->")[2]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == set(ExitCode)


def test_models_are_those_of_the_manifest() -> None:
    table = read("README.md").partition("<!-- table: models -->\n")[2].partition("<!-- /table: models -->")[0]
    assert table == render_models_table(read_manifest()), "run: .ci/ship_model"


def test_events_are_all_there() -> None:
    table = read("docs/batches.md").partition("<!-- table: events -->")[2]
    table = table.partition("<!-- /table: events -->")[0]
    named = re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in table.strip().splitlines()))
    assert set(named) == {kind.event for kind in get_args(Event)}


def test_rooms_are_those_of_the_package() -> None:
    named = set(re.findall(r"^\| `esc_cli/(\w+)/` \|", read("docs/architecture.md"), re.MULTILINE))
    there = {path.parent.name for path in (ROOT / "esc_cli").glob("*/__init__.py")}
    assert named == there


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8"))
    files = {link.partition("#")[0] for link in links if not link.startswith(("https://", "#"))}
    assert [link for link in files if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("arguments", [pytest.param(words, id=place) for place, words in commands()])
def test_every_command_is_understood(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options and arguments are parsed as usual, with the configuration file of the documents."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    default_file().parent.mkdir()
    (example,) = re.findall(r"```toml\n(.*?)```", read("docs/configuration.md"), re.DOTALL)
    default_file().write_text(example, encoding="utf-8")
    name, *rest = arguments if arguments[0] in COMMANDS else ("upscale", *arguments)
    command = typer.main.get_command(import_module(f"esc_cli.cli.{name}").app)
    context = command.make_context(name, rest.copy())
    if isinstance(command, TyperGroup):
        name, command, rest = command.resolve_command(context, rest)
        assert command is not None
        context = command.make_context(name, rest)
    assert context.params


def test_every_document_is_named_in_the_readme() -> None:
    readme = read("README.md")
    assert [path.name for path in DOCUMENTS[1:-1] if f"](docs/{path.name})" not in readme] == []


def test_the_readme_is_short() -> None:
    assert len(read("README.md").splitlines()) <= LONGEST_README
