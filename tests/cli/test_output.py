import pytest
from rich.table import Table

from esc_cli.cli.output import answer, printable, say_error


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain [x] :smile: \\ é 日本語 🎈 👨‍👩‍👧 שלום", None),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x9b31m", "\\x9b31m"),
        ("\udcff", "\\udcff"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
    ],
)
def test_only_what_a_terminal_obeys_is_escaped(text: str, expected: str | None) -> None:
    assert printable(text) == (text if expected is None else expected)


def test_an_answer_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    answer("[red]x[/red] :smile: " + "word " * 100)
    assert capsys.readouterr().out == "[red]x[/red] :smile: " + "word " * 100 + "\n"


@pytest.mark.parametrize("columns", ["0", "00", "20"])
def test_nothing_is_lost_if_the_width_is_unknown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    table = Table("model")
    table.add_row("nearest")
    answer("an answer"), answer(table), say_error("a message", "a hint")
    written = capsys.readouterr()
    assert "an answer" in written.out and "nearest" in written.out
    assert written.err == "esc-upscale: a message\n  a hint\n"
