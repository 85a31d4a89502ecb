"""Test completion in real shells, and what it must not load."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from esc_cli.networks.attention.windows import ATTENTION_BACKENDS

Run = Callable[..., Any]
Save = Callable[..., Path]

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 60
INTERACTIVE = {
    "bash": ("bash", "--noprofile", "-i"),
    "zsh": ("zsh", "-d", "-i"),
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a home folder, and put the program on the path under its own name."""
    home = tmp_path / "home"
    program = home / "bin/esc-upscale"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec env PYTHONPATH="{ROOT}" "{sys.executable}" -m esc_cli "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    for name in ("ZDOTDIR", "BASH_ENV", "ENV"):
        monkeypatch.delenv(name, raising=False)
    return home


class Terminal:
    """A shell in a terminal, whose keys a test presses."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self._ours, theirs = pty.openpty()
        variables = os.environ | {"TERM": "dumb", "PS1": "$ ", "PROMPT": "$ ", "COLUMNS": "200"}
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=variables, start_new_session=True
        )
        os.close(theirs)
        self.shown = ""

    def press(self, keys: str, until: str) -> str:
        """Press keys, and return what the terminal shows until a text has appeared."""
        begin = len(self.shown)
        os.write(self._ours, keys.encode())
        end = time.monotonic() + TIMEOUT_S
        while until not in self.shown[begin:]:
            assert time.monotonic() < end, f"no {until!r} in {self.shown!r}"
            if select.select([self._ours], [], [], 0.1)[0]:
                self.shown += os.read(self._ours, 65_536).decode(errors="replace")
        return self.shown[begin:]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@pytest.fixture(params=INTERACTIVE)
def terminal(request: pytest.FixtureRequest, home: Path) -> Iterator[Terminal]:
    """Install the completion from the shell itself, and open a new terminal with it."""
    shell = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run(
        [shell, "-c", "esc-upscale --install-completion; exit $?"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f" completes words in {shell}, in each new terminal\n")
    terminal = Terminal(INTERACTIVE[shell])
    terminal.press("echo read''y\r", "ready")
    yield terminal
    terminal.close()


def test_a_real_shell_completes(terminal: Terminal, save: Save) -> None:
    save("picture.png")
    save("models.png")
    for keys, until in (
        ("esc-upscale picture.png -m esc-rob\t", "esc-robust"),
        ("esc-upscale -f web\t\t", "webp"),
        ("esc-upscale -d mp\t", "mps"),
        ("esc-upscale --skip\t", "--skip-existing"),
        ("esc-upscale --tiling over\t", "overlap"),
        ("esc-upscale pict\t", "picture.png"),
        ("esc-upscale mode\t", "models.png"),
        ("esc-upscale eval\t", "evaluate"),
        ("esc-upscale models ver\t", "verify"),
        ("esc-upscale benchmark --rand\t", "--random-weights"),
        ("esc-upscale help anal\t", "analyze"),
    ):
        terminal.press(keys, until)
        terminal.press("\x15echo cle''ar\r", "clear")  # Ctrl-U removes the line


def test_sets_of_the_configuration_file_are_completed(terminal: Terminal) -> None:
    Path("c.toml").write_text("[presets.photographs]\n")
    terminal.press("esc-upscale --config c.toml --use pho\t", "photographs")


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes(home: Path) -> None:
    command = "esc-upscale --show-completion > script; source script; complete -C 'esc-upscale -m esc-rob'"
    done = subprocess.run(["fish", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["esc-robust"])


def words(run: Run, typed: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what the program answers bash."""
    monkeypatch.setenv("COMP_WORDS", f"esc-upscale {typed}")
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split(" "))))
    monkeypatch.setenv("_ESC_UPSCALE_COMPLETE", "complete_bash")
    ended = run()
    assert (ended.code, ended.stderr) == (0, "")
    return ended.text.split()


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("", []),
        ("b", ["benchmark"]),
        ("-p ", ["auto", "float32", "bfloat16", "float16"]),
        ("--device c", ["cpu", "cuda"]),
        ("--runtime onnx -d d", ["directml"]),
        ("--model = esc-r", ["esc-real", "esc-robust"]),
        ("--metadata x", ["xmp"]),
        ("--version --no-con", ["--no-config"]),
        ("--install-completion --no-con", ["--no-config"]),
        ("-q abc --no-con", ["--no-config"]),
        ("-o ", []),
        ("--use ", []),
        ("--config missing.toml --use ", []),
        ("--what ", []),
        ("models info --sca", ["--scale"]),
        ("models info bi", ["bicubic"]),
    ],
)
def test_completions(run: Run, typed: str, completed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert words(run, typed, monkeypatch) == completed


def test_a_broken_file_does_not_disturb_the_shell(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("c.toml").write_text("broken =")
    assert words(run, "--config c.toml --use a", monkeypatch) == []
    assert words(run, "--config c.toml -m near", monkeypatch) == ["nearest"]


def test_every_choice_that_the_help_lists_is_completed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options whose help shows ``<a|b|c>`` complete these words, also in commands that are made later."""
    for line in run("--help").text.splitlines():
        name, _, rest = line.strip().partition(" <")
        if name.startswith("-") and "|" in rest:
            listed = rest.partition(">")[0].split("|")
            assert words(run, f"{name.split()[-1]} ", monkeypatch) == listed
            monkeypatch.delenv("_ESC_UPSCALE_COMPLETE")


def test_backends_of_attention_are_those_of_the_registry(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    completed = words(run, "--attention ", monkeypatch)
    assert (completed[0], {*completed[1:]}) == ("auto", ATTENTION_BACKENDS.keys())


def test_an_unknown_shell_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("tcsh", "/bin/tcsh"))
    for option in ("--install-completion", "--show-completion"):
        ended = run(option)
        assert (ended.code, ended.text) == (2, "")
        assert ended.stderr.startswith("esc-upscale: words cannot be completed in the current shell (tcsh)\n")
    monkeypatch.setenv("_ESC_UPSCALE_COMPLETE", "complete_tcsh")
    assert run().code == 2


def test_a_home_folder_that_cannot_be_written(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))
    ended = run("--install-completion")
    assert ended.code == 6
    assert ended.stderr.startswith("esc-upscale: the completion cannot be installed: ")


@pytest.mark.parametrize(
    "typed", ["-m es", "-d c", "--runtime onnx -d c", "-f j", "--preci", "compare -m es", "benchmark --r"]
)
def test_completing_loads_nothing_heavy(typed: str) -> None:
    script = (
        "import sys\nfrom esc_cli.cli.main import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "print(*({'torch', 'numpy', 'av', 'safetensors', 'pydantic', 'http'} & set(sys.modules)))"
    )
    asked = {"COMP_WORDS": f"esc-upscale {typed}", "COMP_CWORD": str(len(typed.split()))}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | asked | {"_ESC_UPSCALE_COMPLETE": "complete_bash", "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    *completed, loaded = done.stdout.split("\n")[:-1]
    assert completed
    assert loaded == ""
