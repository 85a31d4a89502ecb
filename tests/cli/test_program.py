"""Test what only a separate process shows: streams, signals, terminals, and loaded modules."""

import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

Start = Callable[..., subprocess.Popen[bytes]]
Save = Callable[..., Path]

ROOT = Path(__file__).parents[2]
NEAREST = ("-m", "nearest")
TIMEOUT_S = 120
SLOW = (*NEAREST, "-s", 4, "--tiling", "overlap", "--tile", 32, "--overlap", 0)


def files() -> list[str]:
    """Return all files except the records of results."""
    paths = (path for path in Path().rglob("*") if path.is_file())
    return sorted(str(path) for path in paths if ".esc-upscale" not in path.parts)


def test_help_loads_nothing_heavy() -> None:
    """The start of the program takes as long as its imports. One process checks all commands."""
    script = """
import sys
from esc_cli.cli.main import COMMANDS, main
for arguments in ([], ["--help"], ["--version"], *([command, "--help"] for command in COMMANDS)):
    sys.argv = ["esc-upscale", *arguments]
    try:
        main()
    except SystemExit as end:
        assert not end.code, arguments
heavy = {"torch", "numpy", "PIL.Image", "av", "safetensors"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Usage: esc-upscale [OPTIONS]") == 2
    assert "esc-upscale models" in done.stdout


def test_mistakes_are_refused_before_torch_is_loaded(save: Save) -> None:
    save("in.png")
    script = """
import sys
from esc_cli.cli.main import main
mistakes = {
    "missing.png": 3, "in.png -s 0": 2, "in.png --size x": 2, "in.png -m esc-lite": 4, "in.png -f jepg": 2,
    "in.png -o out": 2, "in.png -o out.png -f jpg": 2, "in.png in2.png -o out.png": 2, "in.png --crf -1": 2,
    "in.png --metadata all,exif": 2, "in.png --shard 3/2": 2, "in.png -s 2 --size 50%": 2,
}
for arguments, code in mistakes.items():
    sys.argv = ["esc-upscale", *arguments.split()]
    try:
        main()
    except SystemExit as end:
        assert end.code == code, (arguments, end.code)
    assert "torch" not in sys.modules, arguments
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "did you mean 'esc-light'?" in done.stderr


def test_a_pipeline(start: Start, save: Save) -> None:
    content = save("in.png").read_bytes()
    with start("-", "-o", "-", "-s", 2, *NEAREST, "--quiet", stdin=subprocess.PIPE) as program:
        stdout, stderr = program.communicate(content, timeout=TIMEOUT_S)
    assert (program.returncode, stderr) == (0, b"")
    with Image.open(io.BytesIO(stdout)) as image:
        assert image.size == (16, 12)


@pytest.mark.parametrize("arguments", [("-o", "-"), ("--json",)])
def test_a_closed_pipe_ends_quietly(start: Start, save: Save, arguments: tuple[str, ...]) -> None:
    save("in.png", size=(200, 200))
    with start("in.png", *NEAREST, *arguments, "--quiet") as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        stderr = program.stderr.read()
        assert program.wait(TIMEOUT_S) == 6
    assert stderr == b""
    assert files() == ["in.png"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_standard_output(start: Start, save: Save) -> None:
    save("in.png")
    with Path("/dev/full").open("wb") as full, start("in.png", *NEAREST, "--json", stdout=full) as program:
        _, stderr = program.communicate(timeout=TIMEOUT_S)
    assert program.returncode == 6
    assert stderr == b"esc-upscale: standard output cannot be written to: No space left on device\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("doctor",), ("models",)])
def test_an_answer_on_a_full_disk(start: Start, arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full, start(*arguments, stdout=full) as program:
        _, stderr = program.communicate(timeout=TIMEOUT_S)
    assert program.returncode == 6
    assert stderr == b"esc-upscale: standard output cannot be written to: No space left on device\n"


def test_names_in_a_terminal_that_lacks_their_letters(start: Start, save: Save) -> None:
    save("日本.png")
    variables = {"PYTHONIOENCODING": "ascii"}
    with start("日本.png", *NEAREST, "--dry-run", variables=variables) as program:
        stdout, stderr = program.communicate(timeout=TIMEOUT_S)
    assert program.returncode == 0
    assert b"Traceback" not in stderr
    assert stdout.startswith(b"\\u65e5\\u672c.png \\u2192 ")


def test_closed_streams_do_not_matter_where_files_are_named(
    save: Save, program_environment: dict[str, str]
) -> None:
    save("in.png")
    command = f"exec {sys.executable} -m esc_cli in.png -m nearest -s 2 <&- >&- 2>&-"
    done = subprocess.run(["sh", "-c", command], check=False, env=program_environment, timeout=TIMEOUT_S)
    assert done.returncode == 0
    assert files() == ["in.png", "in_x2.png"]


def wait_for(path: Path) -> None:
    """Wait until a file exists."""
    end = time.monotonic() + TIMEOUT_S
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("number", "code", "sentence"),
    [
        (signal.SIGINT, 130, b"esc-upscale: interrupted\n"),
        (signal.SIGTERM, 143, b"esc-upscale: terminated\n"),
    ],
)
def test_a_signal_in_the_middle_of_the_work(
    start: Start, save: Save, number: signal.Signals, code: int, sentence: bytes
) -> None:
    save("1.png")
    save("2.png", size=(1500, 1500))
    with start("1.png", "2.png", *SLOW, "--json") as program:
        assert program.stdout is not None
        assert program.stderr is not None
        for line in program.stdout:
            event = json.loads(line)
            if event["event"] == "progress" and event["input"] == "2.png":
                break
        wait_for(Path("1_x4.png"))  # it is written while the next picture is enlarged
        program.send_signal(number)
        assert program.wait(TIMEOUT_S) == code
        hint = "1 of 2 files are done; run the same command again to continue"
        assert program.stderr.read() == sentence + f"  {hint}\n".encode()
        last = json.loads(program.stdout.read().splitlines()[-1])
    assert (last["event"], last["hint"], last["exit_code"]) == ("stopped", hint, code)
    assert files() == ["1.png", "1_x4.png", "2.png"]


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")],
)
def test_a_signal_does_not_wait_for_a_slow_encoder(
    start: Start, save: Save, number: signal.Signals, code: int, word: str
) -> None:
    """AVIF of this noise takes 45 seconds on one core; the wait lets the encoder begin."""
    save("in.png", size=(1500, 1500))
    arguments = ("in.png", "-m", "nearest", "-d", "cpu", "-s", 2, "-o", "out.avif", "-q", 95)
    with start(*arguments, "--json", variables={"OMP_NUM_THREADS": "1"}) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        for line in program.stdout:
            event = json.loads(line)
            if event["event"] == "progress" and event["done"] == event["total"]:
                break
        time.sleep(5)
        begun = time.monotonic()
        program.send_signal(number)
        assert program.wait(TIMEOUT_S) == code
        assert time.monotonic() - begun < 15
        assert program.stderr.read() == f"esc-upscale: {word}\n".encode()
        last = json.loads(program.stdout.read().splitlines()[-1])
    assert (last["event"], last["exit_code"]) == ("stopped", code)
    assert [path.name for path in Path().iterdir() if path.is_file()] == ["in.png"]


def test_an_interrupted_run_says_how_far_it_came(start: Start, save: Save) -> None:
    save("1.png")
    save("2.png", size=(1500, 1500))
    with start("1.png", "2.png", *SLOW) as program:
        assert program.stderr is not None
        for line in program.stderr:
            if line.startswith(b"1.png"):
                break
        program.send_signal(signal.SIGINT)
        assert program.wait(TIMEOUT_S) == 130
        said = program.stderr.read().decode().splitlines()
    # If a signal arrives while Rich prints a line, Rich prints the line again.
    hint = "1 of 2 files are done; run the same command again to continue"
    assert said[-2:] == ["esc-upscale: interrupted", f"  {hint}"]


def read_terminal(descriptor: int) -> str:
    shown = b""
    while True:
        try:
            shown += os.read(descriptor, 65_536)
        except OSError:  # on Linux, this means that the other end is closed
            return shown.decode()


def test_a_picture_is_not_written_to_a_terminal(start: Start, save: Save) -> None:
    save("in.png")
    ours, theirs = pty.openpty()
    with start("in.png", *NEAREST, "-o", "-", stdout=theirs) as program:
        os.close(theirs)
        _, stderr = program.communicate(timeout=TIMEOUT_S)
    assert program.returncode == 2
    assert stderr.startswith(b"esc-upscale: a picture cannot be written to a terminal\n")
    assert read_terminal(ours) == ""
    os.close(ours)


def test_a_picture_is_not_typed(start: Start) -> None:
    ours, theirs = pty.openpty()
    with start("-", *NEAREST, stdin=theirs) as program:
        _, stderr = program.communicate(timeout=TIMEOUT_S)
    os.close(theirs)
    os.close(ours)
    assert program.returncode == 2
    assert stderr.startswith(b"esc-upscale: a picture cannot be read from a terminal\n")


def test_progress_is_shown_on_a_terminal_and_only_there(start: Start, save: Save) -> None:
    save("1 [x].png", size=(300, 300)), save("2.png", size=(300, 300))
    ours, theirs = pty.openpty()
    variables = {"TERM": "xterm", "COLUMNS": "100"}
    with start("1 [x].png", "2.png", *SLOW, stderr=theirs, variables=variables) as program:
        os.close(theirs)
        shown = read_terminal(ours)
        assert program.stdout is not None
        assert program.stdout.read() == b""
    os.close(ours)
    assert program.returncode == 0
    assert "file 1 of 2" in shown
    assert "file 2 of 2" in shown
    assert "100%" in shown or "99%" in shown
    assert " MP/s, " in shown
    assert " s left" in shown
    assert "1 [x].png → 1 [x]_x4.png" in shown
    assert "2 done in " in shown


@pytest.mark.parametrize(
    ("word", "meant"), [("evalute", "evaluate"), ("model", "models"), ("bench-mark", "benchmark")]
)
def test_a_misspelt_command_is_known(word: str, meant: str, tmp_path: Path) -> None:
    call = [sys.executable, "-m", "esc_cli", word]
    ended = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert (
        ended.stderr == f"esc-upscale: there is no command and no file {word!r}\n  did you mean {meant!r}?\n"
    )


@pytest.mark.parametrize("short", ["-h", "-V"])
def test_help_and_version_have_short_names(short: str) -> None:
    long = {"-h": "--help", "-V": "--version"}[short]
    texts = [
        subprocess.run([sys.executable, "-m", "esc_cli", option], capture_output=True, text=True, check=True)
        for option in (short, long)
    ]
    assert texts[0].stdout == texts[1].stdout != ""


@pytest.mark.parametrize("is_pipe", [False, True])
def test_messages_that_cannot_be_written_do_not_end_the_work(start: Start, save: Save, is_pipe: bool) -> None:
    save("a.png"), save("b.png")
    if is_pipe:
        reading, writing = os.pipe()
        os.close(reading)
    elif Path("/dev/full").exists():
        writing = os.open("/dev/full", os.O_WRONLY)
    else:
        pytest.skip("this system has no /dev/full")
    with start("a.png", "b.png", "missing.png", "-o", "out", *NEAREST, stderr=writing) as program:
        program.communicate()
    os.close(writing)
    assert program.returncode == 7
    assert Path("out/a.png").exists() and Path("out/b.png").exists()
