"""Test that a watch takes what is there and what comes, in whatever way it comes."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from esc_cli.errors import InputError, OutputExistsError, UsageError
from esc_cli.jobs.early import refuse_watch
from esc_cli.jobs.events import Done, Event, Failed, Summary, Watching
from esc_cli.jobs.options import Options
from esc_cli.jobs.watch import Patience, watch_folders

pytest.importorskip("watchfiles", reason="watchfiles is not installed")

Save = Callable[..., Path]

ROOT = Path(__file__).parents[2]
QUICK = Patience(settle_s=0.3, give_up_s=1.5, search_s=0.5)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()


def watched(
    act: Callable[[], None], output: str | None = "out", until: int = 1, **options: Any
) -> list[Event]:
    """Watch the folder ``in``, act when everything there is done, and end when nothing comes any more.

    Args:
        act: What happens in the folder, in another thread.
        output: The folder of the results.
        until: Number of results and failures after ``act``, after which Ctrl-C is pressed.
        options: Options of the run.
    """
    heard: list[Event] = []
    actor = threading.Thread(target=act)
    since: list[int] = []

    def listen(event: Event) -> None:
        heard.append(event)
        if isinstance(event, Watching) and not since:
            since.append(len(heard))
            actor.start()
        finished = [one for one in heard[since[0] :] if isinstance(one, Done | Failed)] if since else []
        if since and not actor.is_alive() and isinstance(event, Watching) and len(finished) >= until:
            raise KeyboardInterrupt
        if isinstance(event, Failed) and len(finished) >= until:
            raise KeyboardInterrupt

    chosen = Options.of({"model": "nearest", "scale": 2, "device": "cpu", **options})
    watch_folders(["in"], output, chosen, listen, QUICK)
    actor.join()
    return heard


def done(heard: list[Event]) -> list[str]:
    return sorted(event.output for event in heard if isinstance(event, Done))


def png(size: tuple[int, int] = (40, 30)) -> bytes:
    path = Path("elsewhere.png")
    Image.effect_noise(size, 60).save(path)
    content = path.read_bytes()
    path.unlink()
    return content


def test_what_is_there_and_what_comes(save: Save) -> None:
    save("in/there.png")
    heard = watched(lambda: Path("in/new.png").write_bytes(png()) and None)
    assert done(heard) == ["out/new.png", "out/there.png"]
    (summary,) = (event for event in heard if isinstance(event, Summary))
    assert (summary.done, summary.failed, heard[-1]) == (2, 0, summary)


def test_files_come_by_renames_and_with_folders(save: Save) -> None:
    save("a.png"), save("tree/sub/b.png")
    for unfinished in ("in/.rsync.c.png.Xy12", "in/d.png.crdownload"):
        Path(unfinished).write_bytes(png())

    def act() -> None:
        Path("a.png").rename("in/a.png")
        Path("tree").rename("in/tree")
        Path("in/.rsync.c.png.Xy12").rename("in/c.png")
        Path("in/d.png.crdownload").rename("in/d.png")

    heard = watched(act, until=4, recursive=True)
    assert done(heard) == ["out/a.png", "out/c.png", "out/d.png", "out/tree/sub/b.png"]


def test_a_file_that_stalls_is_no_failure() -> None:
    content = png()

    def act() -> None:
        with Path("in/slow.png").open("wb", buffering=0) as file:
            file.write(content[:100])
            time.sleep(0.9)  # longer than a file must be unchanged, so it is tried in between
            file.write(content[100:])

    heard = watched(act)
    assert done(heard) == ["out/slow.png"]
    assert not any(isinstance(event, Failed) for event in heard)


def test_failures_are_told_and_do_not_end_the_watch(save: Save) -> None:
    def act() -> None:
        Path("in/broken.png").write_bytes(png()[:100])
        Path("in/notes.txt").write_text("hello")
        Path("in/empty.png").touch()
        Path("in/good.png").write_bytes(png())

    heard = watched(act, until=2)
    assert done(heard) == ["out/good.png"]
    (failure,) = (event for event in heard if isinstance(event, Failed))
    (summary,) = (event for event in heard if isinstance(event, Summary))
    assert failure.input == summary.failures[0] == os.path.join("in", "broken.png")  # noqa: PTH118


def test_every_ending_tells_what_failed() -> None:
    Path("in/broken.png").write_bytes(png()[:100])
    heard: list[Event] = []

    def listen(event: Event) -> None:
        heard.append(event)
        if isinstance(event, Watching):
            raise SystemExit  # SIGTERM raises such an exception

    chosen = Options.of({"model": "nearest", "scale": 2, "device": "cpu"})
    with pytest.raises(SystemExit):
        watch_folders(["in"], "out", chosen, listen, replace(QUICK, give_up_s=60))
    assert [type(event) for event in heard[-2:]] == [Failed, Summary]


def test_own_results_are_passed_over(save: Save) -> None:
    save("in/a.png")
    heard = watched(lambda: Path("in/b.png").write_bytes(png()) and None, output="in", name="{stem}_{scale}x")
    assert done(heard) == ["in/a_2x.png", "in/b_2x.png"]
    heard = watched(lambda: Path("in/c.png").write_bytes(png()) and None, output="in", name="{stem}_{scale}x")
    assert done(heard) == ["in/c_2x.png"]
    assert sorted(path.name for path in Path("in").glob("*.png")) == [
        "a.png", "a_2x.png", "b.png", "b_2x.png", "c.png", "c_2x.png",
    ]  # fmt: skip


def test_inputs_are_replaced_once(save: Save) -> None:
    save("in/a.png", size=(8, 6))
    heard = watched(lambda: Path("in/b.png").write_bytes(png((8, 6))) and None, None, in_place=True, yes=True)
    assert done(heard) == [str(Path("in/a.png").resolve()), str(Path("in/b.png").resolve())]
    for name in ("in/a.png", "in/b.png"):
        with Image.open(name) as image:
            assert image.size == (16, 12)


def test_a_file_that_is_saved_again(save: Save) -> None:
    save("in/a.png")
    heard = watched(lambda: Path("in/a.png").write_bytes(png()) and None)
    (failure,) = (event for event in heard if isinstance(event, Failed))
    assert failure.message == "'out/a.png' already exists, made by the model 'nearest'"
    heard = watched(lambda: Path("in/a.png").write_bytes(png((9, 9))) and None, when_there="overwrite")
    assert done(heard) == ["out/a.png", "out/a.png"]


def test_what_is_refused_at_first_ends_the_watch(save: Save) -> None:
    save("in/a.png"), save("out/a.png")
    with pytest.raises(OutputExistsError):
        watched(lambda: None)


def test_a_folder_that_is_gone_ends_the_watch() -> None:
    with pytest.raises(InputError, match="the folder 'in' is gone"):
        watched(lambda: Path("in").rename("away"))


@pytest.mark.parametrize(
    ("names", "output", "options", "sentence"),
    [
        (["in", "a.png"], None, {}, r"only folders can be watched, and 'a\.png' is not one"),
        (["-"], None, {}, "only folders can be watched"),
        (["in"], "-", {}, "--watch and -o - contradict"),
        (["in"], None, {"files_from": "list"}, "--watch and --files-from contradict"),
        (["in"], None, {"fail_fast": True}, "--watch and --fail-fast contradict"),
        (["in"], None, {"cluster": "local"}, "--watch and --ray contradict"),
        (["in"], None, {"retune": True}, "--watch and --retune contradict"),
        (["in"], "in", {"preview": "auto"}, "--watch and --preview contradict"),
    ],
)
def test_contradictions(names: list[str], output: str | None, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        refuse_watch(names, output, Options(**options), dry_run=False)


def test_fifty_files_come_while_it_runs_and_one_slowly() -> None:
    """The program in a process of its own: SIGINT ends it with the exit code 0."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "esc_cli", "in", "-o", "out", "--watch", "--json"]
    command += ["-m", "nearest", "-s", "2", "-d", "cpu"]
    content = png((400, 300))
    Path("in/first.png").write_bytes(content)
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None

        def drop() -> None:
            with Path("in/slow.png").open("wb", buffering=0) as slow:
                for number in range(50):
                    slow.write(content[number * len(content) // 50 : (number + 1) * len(content) // 50])
                    if number < 49:
                        Path(f"in/{number}.png").write_bytes(content)
                    time.sleep(0.1)

        dropper = threading.Thread(target=drop)
        events: list[dict[str, Any]] = []
        for line in process.stdout:
            events.append(json.loads(line))
            names = [event["event"] for event in events]
            if names[-1] == "watching" and names.count("watching") == 1:
                dropper.start()
            if names[-1] == "watching" and names.count("done") == 51:
                process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    dropper.join()
    assert (process.returncode, said) == (0, b"")
    assert (events[-1]["event"], events[-1]["done"], events[-1]["failed"]) == ("summary", 51, 0)
    assert len({event["input"] for event in events if event["event"] == "done"}) == 51
    with Image.open("out/slow.png") as image:
        assert image.size == (800, 600)
