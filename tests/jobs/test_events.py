import dataclasses
import json
from typing import get_args

import pytest

from esc_cli.jobs.events import Event, Failed, as_json, json_line


def test_every_event_has_a_name_of_its_own() -> None:
    names = [kind.__dataclass_fields__["event"].default for kind in get_args(Event)]
    assert len(set(names)) == len(names) == 14


@pytest.mark.parametrize("kind", get_args(Event))
def test_a_line_says_its_version_and_all_fields(kind: type) -> None:
    fields = [field.name for field in dataclasses.fields(kind)]
    event = kind(*range(len(fields) - 1))
    line = json.loads(as_json(event))
    assert list(line)[:2] == ["version", "event"]
    assert set(line) == {"version", *fields}
    assert line["version"] == 2
    assert line["event"] == event.event


@pytest.mark.parametrize("name", ["日本語 é 🎈", "two\nlines", "broken \udcff", "\x1b[31m"])
def test_any_name_is_one_line_of_ascii(name: str) -> None:
    line = as_json(Failed(name, "x", None, 3))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["input"] == name


def test_what_json_lacks_is_not_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_line("x", value=float("inf"))
