"""Compare the help of each command with a stored text, so that every change of the words is visible."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from esc_cli.cli.main import COMMANDS

Run = Callable[..., Any]

STORED = Path(__file__).with_name("help")
RENEW = "ESC_RENEW_HELP"
"""Environment variable: if it is set, the current texts are stored. Review the changes afterwards."""


@pytest.mark.parametrize("command", ["upscale", *COMMANDS])
def test_help_says_what_is_stored(run: Run, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "82")
    ended = run("help", *(() if command == "upscale" else (command,)))
    stored = STORED / f"{command}.txt"
    if os.environ.get(RENEW):
        stored.write_text(ended.text, encoding="utf-8")
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.text == stored.read_text(encoding="utf-8"), f"set {RENEW}=1 to store the new text"


def test_help_of_parts_and_of_nothing(run: Run) -> None:
    assert run("help", "analyze", "similarity").text.startswith("Usage: esc-upscale analyze similarity")
    ended = run("help", "me")
    assert (ended.code, ended.text) == (2, "")
    assert ended.stderr.startswith("esc-upscale: there is no command 'me'\n  the commands are models,")


def test_no_type_of_python_is_in_the_help(run: Run) -> None:
    for command in COMMANDS:
        assert not {"<int>", "<str>", "<float>", "<path>", "range>", "list["} & set(
            run("help", command).text.split()
        )
