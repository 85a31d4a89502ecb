"""The README says what is so."""

import re
from pathlib import Path
from typing import get_args

import pytest

from esc_cli.checkpoints.manifest import read_manifest
from esc_cli.checkpoints.model_card import render_models_table
from esc_cli.errors import ExitCode
from esc_cli.jobs.events import Event

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_exit_codes_are_all_there(readme: str) -> None:
    table = readme.partition("<!-- table: exit codes -->")[2].partition("\n\n")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == set(ExitCode)


def test_models_are_those_of_the_manifest(readme: str) -> None:
    table = readme.partition("<!-- table: models -->\n")[2].partition("<!-- /table: models -->")[0]
    assert table == render_models_table(read_manifest()), "run: .ci/ship_model"


def test_events_are_all_there(readme: str) -> None:
    table = readme.partition("<!-- table: events -->")[2].partition("<!-- /table: events -->")[0]
    named = re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in table.strip().splitlines()))
    assert set(named) == {kind.event for kind in get_args(Event)}


def test_rooms_are_those_of_the_package(readme: str) -> None:
    named = set(re.findall(r"^\| `esc_cli/(\w+)/` \|", readme, re.MULTILINE))
    there = {path.parent.name for path in (ROOT / "esc_cli").glob("*/__init__.py")}
    assert named == there


def test_links_lead_somewhere(readme: str) -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", readme) if not link.startswith("https://")]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
