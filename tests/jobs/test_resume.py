"""Test runs that are repeated, divided into shards, ended early, or concurrent."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from esc_cli.errors import ExitCode, OutputExistsError, UsageError
from esc_cli.jobs.events import Done, Engine, Event, Skipped, Summary
from esc_cli.jobs.record import record_path
from esc_cli.jobs.upscale import Report, upscale_files

Save = Callable[..., Path]


class Heard(list[Event]):
    """The events of a run."""

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self if isinstance(event, kind)]

    @property
    def done(self) -> list[str]:
        return [event.output for event in self.of(Done)]

    @property
    def up_to_date(self) -> list[str]:
        return [event.output for event in self.of(Skipped) if event.reason == "up to date"]

    @property
    def summary(self) -> Summary:
        (summary,) = self.of(Summary)
        assert isinstance(summary, Summary)
        return summary


def run(*names: str, **options: Any) -> tuple[Heard, Report]:
    heard = Heard()
    listener = options.pop("listener", heard.append)
    report = upscale_files(names or ("in",), listener=listener, **{"model": "nearest", "scale": 2, **options})
    return heard, report


@pytest.fixture
def folder(save: Save) -> list[str]:
    """Save three pictures in a folder, and return the names of their results."""
    for name in ("a", "b", "sub/c"):
        save(f"in/{name}.png", size=(9, 7))
    return ["in_x2/a.png", "in_x2/b.png", "in_x2/sub/c.png"]


@pytest.fixture
def whole(folder: list[str]) -> list[str]:
    """Upscale the pictures of ``folder``, and return the names of the results."""
    heard, _ = run(recursive=True)
    assert heard.done == folder
    return folder


def test_a_second_run_does_nothing(whole: list[str]) -> None:
    before = {name: Path(name).stat() for name in whole}
    heard, report = run(recursive=True)
    assert (heard.done, heard.up_to_date, report.exit_code) == ([], whole, ExitCode.OK)
    assert heard.summary.skipped == 3
    assert {name: Path(name).stat() for name in whole} == before


def test_overwrite_leaves_alone_what_is_up_to_date(whole: list[str]) -> None:
    heard, _ = run(recursive=True, when_there="overwrite")
    assert (heard.done, heard.up_to_date) == ([], whole)


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 90},
        {"model": "bicubic"},
        {"metadata": "none"},
        {"tta": True},
        {"size": "200%", "scale": None},
    ],
    ids=str,
)
def test_other_settings_make_other_results(whole: list[str], options: dict[str, Any]) -> None:
    options = {"output": "in_x2", "recursive": True, **options}
    if "size" in options:  # 200% means the same as a scale of 2
        assert run(**options)[0].up_to_date == whole
        return
    with pytest.raises(OutputExistsError):
        run(**options)
    assert run(when_there="overwrite", **options)[0].done == whole


@pytest.mark.parametrize(
    ("before", "now", "same"),
    [
        ("refuse", "auto", True),
        ("auto", "keep", True),
        ("refuse", "keep", True),
        ("keep", "auto", False),
        ("auto", "refuse", False),
    ],
)
def test_results_of_whole_files_are_up_to_date_where_damage_is_allowed(
    save: Save, before: str, now: str, same: bool
) -> None:
    save("in/a.png", size=(9, 7)), save("in/b.png", size=(99, 97))
    made = Path("in/b.png").read_bytes()
    Path("in/b.png").write_bytes(made[:-40])
    heard, _ = run(damaged=before)
    assert heard.done == ["in_x2/a.png", "in_x2/b.png"][: 1 + (before == "keep")]
    if not same:
        with pytest.raises(OutputExistsError):
            run(damaged=now)
        return
    heard, _ = run(damaged=now)
    assert heard.up_to_date == ["in_x2/a.png"]
    assert heard.done == ["in_x2/b.png"][: now == "keep"]


def test_a_model_that_was_chosen_is_no_model_that_was_named(save: Save) -> None:
    """The record names the chosen model, but records are compared by all models that could be chosen."""
    save("in/a.png", size=(9, 7)), save("in/b.png", size=(9, 7))
    heard, _ = run(model="auto", device="cpu", precision="float32")
    assert heard.done == ["in_x2/a.png", "in_x2/b.png"]
    record = json.loads(record_path(Path("in_x2/a.png")).read_bytes())
    assert record["model"] == "esc"
    assert sorted(record["recipe"]["models"]["auto"]) == ["esc", "esc-robust"]
    assert run(model="auto", device="cpu", precision="float32")[0].up_to_date == heard.done
    with pytest.raises(OutputExistsError):
        run(model="esc", device="cpu", precision="float32")
    record["recipe"]["models"]["auto"]["esc-robust"] = ["another network"]
    record_path(Path("in_x2/a.png")).write_text(json.dumps(record))
    heard, _ = run(model="auto", device="cpu", precision="float32", when_there="overwrite")
    assert heard.done == ["in_x2/a.png"]


def test_only_what_changed_is_made_again(whole: list[str], save: Save) -> None:
    save("in/b.png", size=(9, 8))
    with pytest.raises(OutputExistsError, match=r"'in_x2/b.png' already exists"):
        run(recursive=True)
    heard, _ = run(recursive=True, when_there="overwrite")
    assert (heard.done, heard.up_to_date) == ([whole[1]], [whole[0], whole[2]])


def test_what_somebody_changed_is_not_replaced_unasked(whole: list[str]) -> None:
    Path(whole[0]).write_bytes(Path(whole[1]).read_bytes())
    with pytest.raises(OutputExistsError, match=r"'in_x2/a.png' already exists"):
        run(recursive=True)
    heard, _ = run(recursive=True, when_there="skip")
    assert heard.summary.skipped == 3
    assert heard.up_to_date == whole[1:]


def test_a_new_input_is_made(whole: list[str], save: Save) -> None:
    save("in/d.png")
    assert run(recursive=True)[0].done == ["in_x2/d.png"]
    Path(whole[0]).unlink()
    assert run(recursive=True)[0].done == [whole[0]]


def test_a_single_file_is_up_to_date_the_second_time(save: Save) -> None:
    save("a.png")
    run("a.png")
    assert record_path(Path("a_x2.png")).is_file()
    assert run("a.png")[0].up_to_date == ["a_x2.png"]
    save("a.png", size=(9, 9))
    with pytest.raises(OutputExistsError):
        run("a.png")


def test_results_of_other_inputs_are_passed_over(save: Save) -> None:
    """The settings that made a result do not matter, as long as nobody has changed the result."""
    save("a.png"), save("b.png"), save("c_x2.png")
    run("a.png")
    upscale_files(["a.png"], "a_large.png", model="nearest", scale=3)
    made, _ = run("*.png")
    assert made.done == ["b_x2.png", "c_x2_x2.png"]
    assert made.up_to_date == ["a_x2.png"]
    save("a_large.png", size=(5, 4))  # replaced by a file of the user
    assert run("*.png")[0].done == ["a_large_x2.png"]
    Path("results").mkdir()
    run("a.png", output="results/")
    assert run("results")[0].done == ["results_x2/a.png"]  # its source is not among the inputs


def test_when_the_last_step_fails_the_next_run_makes_it(
    folder: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is written but the result is not renamed, as after a kill between these steps."""

    def failing(really: Callable[..., None]) -> Callable[..., None]:
        def call(source: Any, target: Any, **options: Any) -> None:
            if Path(target).name == "b.png":
                raise OSError(errno.EIO, "Input/output error")
            really(source, target, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing(os.replace))
        patch.setattr(os, "link", failing(os.link))
        heard, report = run(recursive=True)
    assert report.exit_code is ExitCode.SOME_FAILED
    assert record_path(Path(folder[1])).is_file()
    assert not Path(folder[1]).exists()
    heard, report = run(recursive=True)
    assert (heard.done, heard.up_to_date) == ([folder[1]], [folder[0], folder[2]])


def test_two_runs_on_one_folder(folder: list[str]) -> None:
    """The second run makes everything after the first run has made its plan."""
    heard = Heard()

    def listener(event: Event) -> None:
        heard.append(event)
        if isinstance(event, Engine):
            assert run(recursive=True)[0].done == folder

    _, report = run(recursive=True, listener=listener)
    assert report.exit_code is ExitCode.OK
    assert (heard.done, heard.up_to_date) == ([], folder)
    assert heard.summary.skipped == 3


def test_shares_make_the_whole(save: Save) -> None:
    for number in range(12):
        save(f"in/{number}.png")
    made = [name for number in (1, 2, 3) for name in run(shard=f"{number}/3")[0].done]
    assert sorted(made) == sorted(f"in_x2/{number}.png" for number in range(12))
    assert run()[0].summary.skipped == 12


def test_what_would_get_one_name_is_in_one_share(save: Save) -> None:
    save("in/a.png"), save("in/a.webp")
    results = [run(shard=f"{number}/2", format="jpg")[0].done for number in (1, 2)]
    assert sorted(results) == [[], ["in_x2/a_png.jpg", "in_x2/a_webp.jpg"]]


def test_the_first_failure_may_end_the_run(folder: list[str]) -> None:
    Path("in/a.png").write_bytes(Path("in/a.png").read_bytes()[:-40])
    heard, report = run(recursive=True, workers=1)
    assert (heard.done, heard.summary.failures) == (folder[1:], ("in/a.png",))
    for name in folder[1:]:
        Path(name).unlink()
    heard, report = run(recursive=True, fail_fast=True, workers=1)
    assert report.exit_code is ExitCode.SOME_FAILED
    assert heard.summary.failed == 1
    assert heard.summary.done + heard.summary.not_begun == 2
    Path("in/a.png").write_bytes(b"")  # now the failure is known before the work
    heard, _ = run(recursive=True, fail_fast=True)
    assert (heard.summary.done, heard.summary.failed, heard.summary.not_begun) == (0, 1, 2)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_ends_the_run(folder: list[str], monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def full(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        heard, _ = run(recursive=True, workers=1)
    assert heard.summary.failures == ("in/a.png",)
    assert heard.summary.not_begun == 2
    assert not any(path.is_file() for path in Path("in_x2").rglob("*"))
    assert run(recursive=True)[0].done == folder


def test_a_bug_in_one_picture_costs_one_picture(folder: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected exception comes from below the program's own code."""
    really, calls = os.fsync, 0

    def strange(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ZeroDivisionError("a strange thing")
        really(descriptor)

    monkeypatch.setattr(os, "fsync", strange)
    heard, report = run(recursive=True, workers=1)
    assert heard.done == folder[1:]
    (failure,) = report.failures
    assert failure.error.message == "a bug: ZeroDivisionError: a strange thing"
    assert failure.error.exit_code is ExitCode.BUG
    assert failure.error.__traceback__ is None  # a traceback would keep the picture in memory


def test_a_pattern_given_once_more_takes_no_results_for_inputs(save: Save) -> None:
    save("a.png"), save("b.png")
    assert run("*.png")[0].done == ["a_x2.png", "b_x2.png"]
    heard, report = run("*.png")
    assert (heard.done, heard.up_to_date, report.exit_code) == ([], ["a_x2.png", "b_x2.png"], ExitCode.OK)
    save("c.png")
    assert run("*.png")[0].done == ["c_x2.png"]


def test_one_input_under_several_names_is_made_once(folder: list[str]) -> None:
    heard, _ = run("in", "in/a.png", str(Path("in/b.png").absolute()), output="out", recursive=True)
    assert heard.done == ["out/a.png", "out/b.png", "out/sub/c.png"]


def test_what_turns_up_during_the_run_is_skipped_if_that_is_wanted(folder: list[str]) -> None:
    heard = Heard()

    def listener(event: Event) -> None:
        heard.append(event)
        if isinstance(event, Engine):
            Path("in_x2").mkdir()
            Path("in_x2/b.png").write_bytes(b"somebody else's")

    _, report = run(listener=listener, when_there="skip")
    assert report.exit_code is ExitCode.OK
    assert heard.done == ["in_x2/a.png"]
    assert Path("in_x2/b.png").read_bytes() == b"somebody else's"


def test_the_command_and_the_api_know_each_others_results(whole: list[str]) -> None:
    heard, _ = run(recursive=True, precision="auto", tiling="auto", tile_px=None, device="cpu", quality=None)
    assert heard.up_to_date == whole


@pytest.mark.parametrize("workers", [0, -1])
def test_impossible_numbers_of_threads(folder: list[str], workers: int) -> None:
    with pytest.raises(UsageError, match="the number of threads must be at least 1"):
        run(workers=workers)


def test_the_same_result_of_a_run_at_the_same_time_is_skipped(
    save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the last check and the name, another run gives the name to its own result."""
    save("in.png")
    link = os.link

    def overtaken(source: Any, target: Any, **options: Any) -> None:
        if Path(os.fsdecode(target)).name == "in_x2.png" and not Path("in_x2.png").exists():
            content = Path(os.fsdecode(source)).read_bytes()
            Path("in_x2.png").write_bytes(content)
        link(source, target, **options)

    monkeypatch.setattr(os, "link", overtaken)
    heard = Heard()
    report = upscale_files(["in.png"], model="nearest", scale=2, device="cpu", listener=heard.append)
    assert (report.exit_code, heard.done, heard.up_to_date) == (ExitCode.OK, [], ["in_x2.png"])


def test_a_run_that_is_overtaken_leaves_the_record_of_the_other_one(
    save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a result is flushed to the disk, a run with another model makes and names its own."""
    save("in.png")
    fsync, begun = os.fsync, False

    def overtaken(file: int) -> None:
        nonlocal begun
        if not begun:
            begun = True
            upscale_files(["in.png"], model="bicubic", scale=2, device="cpu")
        fsync(file)

    monkeypatch.setattr(os, "fsync", overtaken)
    report = upscale_files(["in.png"], model="nearest", scale=2, device="cpu")
    assert report.exit_code == ExitCode.CANNOT_WRITE
    assert "made by the model 'bicubic'" in report.failures[0].error.message
    heard = Heard()
    upscale_files(["in.png"], model="bicubic", scale=2, device="cpu", listener=heard.append)
    assert heard.up_to_date == ["in_x2.png"]
