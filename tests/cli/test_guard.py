from collections.abc import Callable
from pathlib import Path

import pytest

from esc_cli.cli.guard import DEBUG_VARIABLE, guarded
from esc_cli.errors import (
    DeviceError,
    EscError,
    ExitCode,
    InputError,
    OutOfMemoryError,
    OutputError,
    OutputExistsError,
    UsageError,
    WeightsError,
    did_you_mean,
)


def ending_of(error: BaseException | None = None, answer: ExitCode | None = None) -> int:
    @guarded
    def command() -> ExitCode | None:
        if error is not None:
            raise error
        return answer

    try:
        command()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (UsageError, 2),
        (InputError, 3),
        (WeightsError, 4),
        (DeviceError, 5),
        (OutOfMemoryError, 5),
        (OutputError, 6),
        (OutputExistsError, 6),
    ],
)
def test_each_error_has_its_code_and_its_sentence(
    kind: type[EscError], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending_of(kind("[red]what[/red] went wrong :smile:", hint="do [this]")) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "esc-upscale: [red]what[/red] went wrong :smile:\n  do [this]\n"


def test_what_a_command_answers_is_its_code() -> None:
    assert ending_of() == 0
    assert ending_of(answer=ExitCode.OK) == 0
    assert ending_of(answer=ExitCode.SOME_FAILED) == 7


def test_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    assert ending_of(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "esc-upscale: interrupted\n"


def test_a_bug_is_called_one(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DEBUG_VARIABLE, raising=False)
    assert ending_of(ZeroDivisionError("by zero")) == 1
    assert capsys.readouterr().err == (
        "esc-upscale: a bug: ZeroDivisionError: by zero\n"
        "  please report it, with the traceback that ESC_UPSCALE_DEBUG=1 in the environment shows\n"
    )
    monkeypatch.setenv(DEBUG_VARIABLE, "1")
    with pytest.raises(ZeroDivisionError):
        ending_of(ZeroDivisionError("by zero"))


def test_too_little_memory_is_not_a_bug(capsys: pytest.CaptureFixture[str]) -> None:
    """The list of --files-from and standard input are read as a whole."""
    assert ending_of(MemoryError()) == 5
    assert capsys.readouterr().err == "esc-upscale: there is not enough memory\n"


def test_a_current_folder_that_was_removed_is_not_a_bug(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(FileNotFoundError) as caught:
        Path.cwd()
    assert ending_of(caught.value) == 3
    assert capsys.readouterr().err == (
        "esc-upscale: the current folder no longer exists\n  change to a folder that exists\n"
    )


def test_long_sentences_are_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    sentence = "word " * 100 + "end"
    ending_of(InputError(sentence))
    assert capsys.readouterr().err == f"esc-upscale: {sentence}\n"


def test_arguments_reach_the_command() -> None:
    seen: list[object] = []
    command: Callable[..., None] = guarded(lambda *arguments, **options: seen.append((arguments, options)))
    command(1, two=2)
    assert seen == [((1,), {"two": 2})]


@pytest.mark.parametrize("word", ["esc-lite", "ESC-LITE", "Esc-Lihgt"])
def test_the_nearest_name_in_any_case(word: str) -> None:
    assert did_you_mean(word, ["esc", "esc-light", "nearest"]) == "did you mean 'esc-light'?"
