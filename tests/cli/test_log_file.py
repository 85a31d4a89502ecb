import json
import os
import re
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from esc_cli.cli import log_file, reporter
from esc_cli.cli.log_file import LogFile
from esc_cli.cli.reporter import Reporter
from esc_cli.jobs.events import Progressed, Started

Save = Callable[..., Path]
Run = Callable[..., Any]

NEAREST = ("-m", "nearest", "-d", "cpu")


def messages(path: str = "run.log") -> list[str]:
    lines = Path(path).read_text("utf-8").splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d  *\S", line) for line in lines)
    return [line.partition(" ")[2] for line in lines]


def test_messages_are_those_of_stderr(run: Run, save: Save) -> None:
    save("a.png"), save("b.png")
    ended = run("a.png", "b.png", "missing.png", "-o", "out", *NEAREST, "-v", "--log-file", "run.log")
    said = [re.sub("^esc-upscale: ", "", line) for line in ended.stderr.splitlines()]
    assert messages() == said
    assert len(said) > 8


@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_what_is_not_on_the_screen_is_in_the_log(run: Run, save: Save, option: str) -> None:
    save("in.png")
    ended = run("in.png", *NEAREST, option, "--log-file", "run.log")
    assert ended.stderr == ""
    assert messages()[0] == "nearest x4 on cpu in float32"
    assert messages()[1].startswith("in.png → in_x4.png (32x24, ")


def test_events_have_times(run: Run, save: Save) -> None:
    save("a.png"), save("b.png")
    ended = run("a.png", "b.png", "-o", "out", *NEAREST, "--json", "--log-file", "run.jsonl")
    logged = [json.loads(line) for line in Path("run.jsonl").read_text().splitlines()]
    assert all(re.match(r"\d{4}-\d\d-\d\dT", event.pop("time")) for event in logged)
    assert logged == [json.loads(line) for line in ended.text.splitlines()]


def test_a_log_is_appended_to(run: Run, save: Save) -> None:
    save("in.png")
    run("in.png", *NEAREST, "--log-file", "run.log")
    before = messages()
    run("in.png", *NEAREST, "--log-file", "run.log")
    assert messages() == [*before, "in.png: in_x4.png is up to date"]


def test_refusals_are_in_the_log(run: Run, save: Save) -> None:
    save("in.png"), save("out.png")
    run("in.png", *NEAREST, "-o", "out.png", "--log-file", "run.log")
    assert messages() == ["'out.png' already exists", "use --overwrite or --skip-existing"]
    run("in.png", *NEAREST, "-o", "out.png", "--log-file", "run.jsonl")
    (ended,) = (json.loads(line) for line in Path("run.jsonl").read_text().splitlines())
    assert (ended["event"], ended["exit_code"]) == ("refused", 6)


def test_an_interruption_is_in_the_log(start: Callable[..., Any], save: Save) -> None:
    for number in range(300):
        save(f"in/{number}.png")
    process = start("in", *NEAREST, "-j", 1, "--json", "--log-file", "run.log")
    for line in process.stdout:
        if b'"done"' in line:
            break
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    assert messages()[-2] == "interrupted"
    assert messages()[-1].endswith("run the same command again to continue")


def test_pictures_are_no_logs(run: Run, save: Save) -> None:
    content = save("in.png").read_bytes()
    ended = run("in.png", *NEAREST, "--log-file", "in.png")
    assert (ended.code, Path("in.png").read_bytes()) == (6, content)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "out.png",
            "'out.png' is the name of a picture or clip, not of a log\n  end the name with .log or .jsonl",
        ),
        (
            "out.mkv",
            "'out.mkv' is the name of a picture or clip, not of a log\n  end the name with .log or .jsonl",
        ),
        ("", "the log has an empty name"),
    ],
)
def test_names_of_results_are_no_logs(run: Run, save: Save, name: str, said: str) -> None:
    save("in.png")
    ended = run("in.png", *NEAREST, "-o", "out.png", "--overwrite", "--log-file", name)
    assert (ended.code, ended.stderr, Path("out.png").exists()) == (2, f"esc-upscale: {said}\n", False)


def test_a_log_on_a_full_disk_does_not_end_the_work(run: Run, save: Save, load: Callable[..., Any]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    save("in.png")
    ended = run("in.png", *NEAREST, "--log-file", "/dev/full")
    assert ended.code == 0
    assert ended.stderr.count("cannot write the log '/dev/full': the disk is full") == 1
    assert load("in_x4.png").size == (32, 24)


def test_names_cannot_forge_lines(run: Run, save: Save) -> None:
    save("a\n2020-01-01T00:00:00+00:00 all done.png")
    run("a\n2020-01-01T00:00:00+00:00 all done.png", *NEAREST, "--log-file", "run.log")
    assert len(messages()) == 2


def test_progress_is_told_in_lines_once_in_a_while(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Only the clock is replaced. The lines go where stderr is not a terminal, and into the log."""
    clock = [1000.0]
    monkeypatch.setattr(reporter.time, "monotonic", lambda: clock[0])
    log = str(tmp_path / "run.log")
    with (
        LogFile(log) as file,
        Reporter(json=False, quiet=False, verbose=False, dry_run=False, log=file) as say,
    ):
        say(Started("clip.mp4", 1, 1))
        for second, done in ((10, 1), (59, 2), (61, 25), (100, 30), (125, 50), (240, 100)):
            clock[0] = 1000.0 + second
            say(Progressed("clip.mp4", done, 100, 3.04))
    expected = [
        "clip.mp4: 25%, 3.0 frames/s, about 3 min left",
        "clip.mp4: 50%, 3.0 frames/s, about 2 min left",
    ]
    assert capsys.readouterr().err.splitlines() == expected
    assert messages(log) == expected


def test_events_of_progress_are_kept_once_a_second(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only the clock is replaced."""
    clock = [0.0]
    monkeypatch.setattr(log_file.time, "monotonic", lambda: clock[0])
    with LogFile(str(tmp_path / "run.jsonl")) as file:
        for clock[0], done in ((10.0, 1), (10.9, 2), (11.0, 3), (11.5, 4), (11.6, 5)):
            file.event(Progressed("clip.mp4", done, 5))
    events = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    assert [event["done"] for event in events] == [1, 3, 5]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_that_nobody_reads_is_refused(run: Run, save: Save) -> None:
    save("in.png")
    os.mkfifo("run.log")
    ended = run("in.png", *NEAREST, "--log-file", "run.log")
    assert ended.code == 6
    assert ended.stderr == "esc-upscale: cannot write the log 'run.log': No such device or address\n"
    assert not Path("in_x4.png").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_gets_all_messages(run: Run, save: Save) -> None:
    save("in.png")
    os.mkfifo("run.log")
    with ThreadPoolExecutor(1) as pool:
        text = pool.submit(Path("run.log").read_text)
        while (reader := _opened_by_a_reader("run.log")) is None:
            time.sleep(0.01)
        ended = run("in.png", *NEAREST, "-v", "--log-file", "run.log")
        os.close(reader)
    assert len(text.result().splitlines()) == len(ended.stderr.splitlines()) > 2


def _opened_by_a_reader(name: str) -> int | None:
    try:
        return os.open(name, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None
