import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
Save = Callable[..., Path]


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_help(run: Run, arguments: tuple[str, ...]) -> None:
    ended = run(*arguments)
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.text.startswith("Usage: esc-upscale [OPTIONS]")
    for option in ("--output", "--scale", "--model", "--device", "--precision", "--tiling", "--tile",
                   "--overlap", "--format", "--quality", "--recursive", "--overwrite", "--skip-existing",
                   "--dry-run", "--json", "--quiet", "--verbose", "--version"):  # fmt: skip
        assert option in ended.text


def test_version(run: Run) -> None:
    ended = run("--version")
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.text.startswith("esc-upscale ")


def test_only_a_first_word_is_a_command(run: Run, save: Save) -> None:
    save("models", format="PNG")
    assert run("models").text.strip().startswith("PSNR")
    assert run("./models", "-m", "nearest").code == 0
    assert run("-m", "nearest", "models", "-s", 2).code == 0
    assert Path("models_x4.png").exists()
    assert Path("models_x2.png").exists()


def test_without_an_input(run: Run) -> None:
    ended = run("-s", 2)
    assert ended.code == 2
    assert "no input is named" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("-s", "abc"), "'abc' is not a factor such as 2 or 1.5."),
        (("-q", "200"), "it must be 100 or less."),
        (("-j", "0"), "it must be 1 or more."),
        (("-j", "x"), "it must be a whole number."),
        (("-p", "fp17"), "'fp17' is not one of auto, float32, bfloat16, float16."),
        (("--tiling", "foo"), "'foo' is not one of 'auto', 'exact', 'overlap', 'none'."),
    ],
)
def test_bad_values_are_said_in_our_words(run: Run, arguments: tuple[str, ...], sentence: str) -> None:
    ended = run("in.png", *arguments)
    assert ended.code == 2
    assert ended.stderr.splitlines()[-1].endswith(f": {sentence}")


@pytest.mark.parametrize("factor", ["2", "2x", "x2", "2X"])
def test_a_factor_may_be_written_with_its_sign(run: Run, save: Save, factor: str) -> None:
    save("in.png")
    assert run("in.png", "-s", factor, "-m", "nearest", "-p", "fp32").code == 0
    assert Path("in_x2.png").exists()


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("in.png", "-f", "jepg"), "did you mean 'jpg'?"),
        (("train", "in", "-o", "run", "--preset", "esc-lite-x2"), "did you mean 'esc-light-x2'?"),
        (("help", "trian"), "did you mean 'train'?"),
    ],
)
def test_near_words_are_named(run: Run, arguments: tuple[str, ...], hint: str) -> None:
    ended = run(*arguments)
    assert (ended.code, ended.stderr.splitlines()[-1].strip()) == (2, hint)


def test_the_same_command_twice_says_that_all_is_done(run: Run, save: Save) -> None:
    save("in.png")
    assert run("in.png", "-s", 2, "-m", "nearest").code == 0
    ended = run("in.png", "-s", 2, "-m", "nearest")
    assert (ended.code, ended.stderr) == (0, "in.png: in_x2.png is up to date\n")


def test_where_nothing_is_enlarged_it_is_said(run: Run, save: Save) -> None:
    save("in.png")
    ended = run("in.png", "--size", "50%")
    assert ended.code == 0
    assert "note: no network was run, since the result is not larger than its source" in ended.stderr


def test_the_table_of_models_fits_a_narrow_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    lines = run("models").text.splitlines()
    assert max(map(len, lines)) <= 60
    assert any("esc-light-robust x2" in line for line in lines)


def test_losses_are_said_once_and_before_the_work(run: Run, save: Save) -> None:
    for name in ("a", "b"):
        save(f"in/{name}.png", mode="RGBA")
    loss = "note: JPEG cannot hold transparency: transparent areas are blended with white"
    lines = run("in", "-f", "jpg", "-m", "nearest", "-s", 2).stderr.splitlines()
    assert lines[0] == f"{loss} (2 of 2 files)"
    assert sum(loss in line for line in lines) == 1
    assert run("in/a.png", "-f", "jpg", "-m", "nearest", "-s", 2).stderr.splitlines()[0] == loss


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("in.png", "-s", "x"), 2, "'x' is not a factor such as 2 or 1.5"),
        (("in.png", "--scael", "2"), 2, "No such option: --scael"),
        ((), 2, "no input is named"),
        (("in.png", "--overwrite", "--skip-existing"), 2, "contradict each other"),
        (("in.png", "-o", "-"), 2, "cannot both go to standard output"),
        (("in.png", "--size", "0x0"), 2, "size"),
        (("in.png", "-m", "unknown"), 4, "there is no model 'unknown'"),
        (("in.png", "-m", "nearest", "-s", "2", "-d", "cuda:99"), 5, "cuda:99"),
        (("in.png", "-m", "nearest", "-s", "2", "-o", "in.png/a.png"), 6, "is not a folder"),
        (("modles",), 2, "there is no command and no file 'modles'"),
        (("models", "infoo"), 2, "No such command 'infoo'"),
        (("models", "info", "unknown"), 4, "there is no model 'unknown'"),
    ],
)
def test_with_json_every_failure_ends_with_its_event(
    run: Run, save: Save, arguments: tuple[str, ...], code: int, words: str
) -> None:
    save("in.png")
    ended = run(*arguments, "--json")
    assert ended.code == code
    last = json.loads(ended.text.splitlines()[-1])
    assert (last["version"], last["event"], last["exit_code"]) == (2, "refused", code)
    assert words in last["message"]
    assert last["message"] in ended.stderr
    assert ended.text.count('"refused"') == 1


def test_with_json_a_bug_is_an_event(run: Run, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    save("in.png")
    monkeypatch.setattr("esc_cli.jobs.early.expand", lambda names: 1 / 0)
    ended = run("in.png", "--json")
    last = json.loads(ended.text.splitlines()[-1])
    assert (ended.code, last["event"], last["exit_code"]) == (1, "stopped", 1)
    assert "ZeroDivisionError" in last["message"]
