import errno
import importlib.util
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch import Tensor, nn

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.engine.executors import openvino_executor
from esc_cli.engine.executors.openvino_executor import MEASURED_THREADS, SAVED_S_PER_PX, START_S
from esc_cli.errors import ExitCode, InputError, OutputError, OutputExistsError
from esc_cli.jobs.events import (
    Done,
    Engine,
    Event,
    Failed,
    Planned,
    Progressed,
    Skipped,
    Started,
    Summary,
)
from esc_cli.jobs.run import exit_code
from esc_cli.jobs.sources import Failure
from esc_cli.jobs.upscale import upscale_files
from esc_cli.networks.architectures.interpolation import Interpolation, InterpolationConfig

Save = Callable[..., Path]
Load = Callable[..., Image.Image]


class Run:
    """A run with the baseline ``nearest``, and its events."""

    def __init__(self, *names: str, meddle: Callable[[], object] | None = None, **options: Any) -> None:
        self.events: list[Event] = []
        self._meddle = meddle
        options = {"model": "nearest", "scale": 2, **options}
        report = upscale_files(names, options.pop("output", None), listener=self._hear, **options)
        self.plan, self.failures, self.exit_code = report.plan, report.failures, report.exit_code

    def _hear(self, event: Event) -> None:
        self.events.append(event)
        if self._meddle is not None and isinstance(event, Engine):
            self._meddle()  # everything is planned, and nothing has begun

    def heard(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def summary(self) -> tuple[int, int, int, int]:
        (summary,) = self.heard(Summary)
        assert self.events[-1] is summary
        return summary.done, summary.skipped, summary.failed, summary.passed_over


def files() -> list[str]:
    """Return all files except the records of results."""
    return sorted(
        str(path) for path in Path().rglob("*") if path.is_file() and ".esc-upscale" not in path.parts
    )


def results() -> list[str]:
    return [name for name in files() if name.startswith("out/")]


def break_at(monkeypatch: pytest.MonkeyPatch, function: str, number: int, nth: int = 1) -> None:
    """Make the nth call of a function of ``os`` fail."""
    really, calls = getattr(os, function), 0

    def failing(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth:
            raise OSError(number, os.strerror(number))
        return really(*arguments, **options)

    monkeypatch.setattr(os, function, failing)


def test_a_picture_is_made_and_told_of(save: Save, load: Load) -> None:
    save("in.png", size=(8, 6))
    run = Run("in.png")
    assert load("in_x2.png").size == (16, 12)
    assert [type(event) for event in run.events] == [Planned, Engine, Started, Progressed, Done, Summary]
    (done,) = run.heard(Done)
    assert (done.input, done.output, done.output_height, done.output_width) == ("in.png", "in_x2.png", 12, 16)
    assert done.notes == ()
    assert run.summary == (1, 0, 0, 0)
    assert run.exit_code is ExitCode.OK


def test_good_and_bad_in_a_folder(save: Save) -> None:
    save("in/1.png"), save("in/sub/2.jpg"), save("in/3.png"), save("in/skipped.png")
    save("in_x2/skipped.png")
    Path("in/notes.txt").write_text("hello")
    Path("in/empty.png").touch()
    whole = save("in/truncated.png", size=(64, 64)).read_bytes()
    Path("in/truncated.png").write_bytes(whole[: len(whole) // 2])
    before = files()
    run = Run("in", recursive=True, when_there="skip")
    assert set(files()) - set(before) == {"in_x2/1.png", "in_x2/sub/2.jpg", "in_x2/3.png"}
    assert run.summary == (3, 1, 2, 1)
    assert {failed.input for failed in run.heard(Failed)} == {"in/empty.png", "in/truncated.png"}
    assert [skipped.output for skipped in run.heard(Skipped)] == ["in_x2/skipped.png"]
    # The fourth picture is truncated and does not reach the network.
    assert [(started.number, started.total) for started in run.heard(Started)] == [(1, 4), (2, 4), (3, 4)]
    assert run.exit_code is ExitCode.SOME_FAILED


def test_what_is_private_stays_private(save: Save) -> None:
    mask = os.umask(0o022)
    try:
        for name, mode in (("in/a.png", 0o600), ("in/sub/deep/b.png", 0o644), ("c.png", 0o640)):
            save(name).chmod(mode)
        for name, mode in (("in", 0o755), ("in/sub", 0o700), ("in/sub/deep", 0o500)):
            Path(name).chmod(mode)
        Run("in", recursive=True), Run("c.png"), Run("c.png", when_there="overwrite")
        Run("in", recursive=True, output="new/out")
    finally:
        os.umask(mask)
    modes = {
        name: stat.S_IMODE(Path(name).stat().st_mode)
        for folder in ("in_x2", "new/out")
        for name in (folder, *(f"{folder}/{one}" for one in ("sub", "sub/deep", "a.png", "sub/deep/b.png")))
    }
    assert list(modes.values()) == [0o755, 0o700, 0o700, 0o600, 0o644] * 2
    records = ("c_x2.png", ".esc-upscale/c_x2.png.json", "in_x2/.esc-upscale/a.png.json")
    assert [stat.S_IMODE(Path(name).stat().st_mode) for name in records] == [0o640, 0o640, 0o600]


def test_a_disk_without_hard_links_does_not_fail_the_run(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "link", denied)
    save("in.png")
    assert Run("in.png").summary == (1, 0, 0, 0)
    again = Run("in.png")
    assert again.heard(Skipped)[0].reason == "up to date"


def test_one_named_file_fails_with_its_own_code(save: Save) -> None:
    whole = save("in.png", size=(64, 64)).read_bytes()
    Path("in.png").write_bytes(whole[: len(whole) // 2])
    run = Run("in.png")
    (failure,) = run.failures
    assert isinstance(failure.error, InputError)
    assert run.exit_code is ExitCode.BAD_INPUT
    assert files() == ["in.png"]


def test_an_input_that_vanishes_after_the_plan(save: Save) -> None:
    save("a.png"), save("b.png")
    (failure,) = Run("a.png", "b.png", output="out", meddle=Path("a.png").unlink).failures
    assert failure.error.message == "a.png: there is no such file"
    assert results() == ["out/b.png"]


def test_an_input_that_changes_after_the_plan(save: Save) -> None:
    save("a.png"), save("b.png")
    (failure,) = Run("a.png", "b.png", output="out", meddle=lambda: save("a.png", size=(9, 9))).failures
    assert failure.error.message == "a.png changed after the work was planned"
    assert results() == ["out/b.png"]


@pytest.mark.parametrize(
    ("function", "number", "reason"),
    [
        ("replace", errno.EACCES, "permission denied"),
        ("replace", errno.EIO, "Input/output error"),
        ("fsync", errno.EIO, "Input/output error"),
    ],
)
def test_when_writing_fails_the_old_result_stays_and_the_rest_goes_on(
    save: Save, monkeypatch: pytest.MonkeyPatch, function: str, number: int, reason: str
) -> None:
    save("a.png"), save("b.png")
    Path("a_x2.png").write_text("the old result")
    break_at(monkeypatch, function, number, nth=2 if function == "replace" else 1)  # the record comes first
    run = Run("a.png", "b.png", when_there="overwrite", workers=1)
    assert run.summary == (1, 0, 1, 0)
    (failure,) = run.failures
    assert isinstance(failure.error, OutputError)
    assert failure.error.message == f"cannot write a_x2.png: {reason}"
    assert Path("a_x2.png").read_text() == "the old result"
    assert files() == ["a.png", "a_x2.png", "b.png", "b_x2.png"]


def test_when_a_picture_does_not_fit_in_memory(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    save("in.png")

    def no_memory(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(np, "asarray", no_memory)
    run = Run("in.png")
    assert [failure.error.message for failure in run.failures] == ["in.png does not fit in memory"]
    assert run.exit_code is ExitCode.DEVICE
    assert files() == ["in.png"]


def test_when_a_folder_cannot_be_made(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    save("a.png")
    break_at(monkeypatch, "mkdir", errno.ENOSPC)
    run = Run("a.png", output="out/")
    assert [failure.error.message for failure in run.failures] == [
        "cannot make the folder 'out': the disk is full"
    ]
    assert run.exit_code is ExitCode.CANNOT_WRITE
    assert files() == ["a.png"]


def test_what_is_lost_is_noted(save: Save) -> None:
    save("in.tif", mode="RGBA")
    exif = Image.Exif()
    exif[0x0110] = "A camera"
    Image.new("RGB", (4, 4)).save("in.png", exif=exif)
    run = Run("in.tif", output="out.jpg")
    assert run.heard(Done)[0].notes == run.heard(Planned)[0].lost != ()
    assert Run("in.png", output="out.bmp").heard(Done)[0].notes == ("BMP cannot hold EXIF",)
    assert Run("in.png", output="none.bmp", metadata="none").heard(Done)[0].notes == ()


def test_quality_reaches_the_file(save: Save) -> None:
    save("in.jpg", size=(64, 64))
    Run("in.jpg", output="low.jpg", quality=10)
    Run("in.jpg", output="high.jpg", quality=100)
    assert 2 * Path("low.jpg").stat().st_size < Path("high.jpg").stat().st_size


def test_orientation_is_applied(save: Save, load: Load) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (8, 4)).save(save("in.jpg"), exif=exif)
    (task,) = Run("in.jpg").plan.tasks
    assert (task.height, task.width) == (16, 8)
    result = load("in_x2.jpg")
    assert result.size == (8, 16)
    assert result.getexif().get(274, 1) == 1


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1", "I;16"])
def test_modes_stay_what_they_mean(save: Save, load: Load, mode: str) -> None:
    if mode == "I;16":
        Path("in.png").unlink(missing_ok=True)
        save("x.png")
        Image.new("I;16", (8, 6), 40_000).save("in.png")
    else:
        save("in.png", mode=mode)
    Run("in.png")
    expected = {"P": "RGB", "1": "L"}.get(mode, mode)
    assert load("in_x2.png").mode == expected


def test_the_exit_code_of_nothing_failed_and_of_several() -> None:
    failure = Failure("a.png", InputError("x"))
    from esc_cli.jobs.plan import Plan

    def plan(*, names_one: bool) -> Plan:
        return Plan((), (), (), (failure,), 0, names_one)

    assert exit_code(plan(names_one=True), ()) is ExitCode.OK
    assert exit_code(plan(names_one=True), (failure,)) is ExitCode.BAD_INPUT
    assert exit_code(plan(names_one=False), (failure,)) is ExitCode.SOME_FAILED


def test_a_closed_standard_output_is_an_error_of_its_own(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    save("in.png")
    monkeypatch.setattr(sys, "stdout", None)
    run = Run("in.png", output="-")
    assert [failure.error.message for failure in run.failures] == ["standard output is closed"]
    assert run.exit_code is ExitCode.CANNOT_WRITE


def test_a_result_that_turns_up_during_the_work_is_left_alone(save: Save) -> None:
    save("in.png")

    def turn_up() -> None:
        Path("in_x2.png").write_bytes(b"somebody else's")

    (failure,) = Run("in.png", meddle=turn_up).failures
    assert isinstance(failure.error, OutputExistsError)
    assert Path("in_x2.png").read_bytes() == b"somebody else's"
    Path("in_x2.png").unlink()
    assert not Run("in.png", when_there="overwrite", meddle=turn_up).failures


class _FailsAtSecondCall(nn.Module):
    """A network that fails once with a plain RuntimeError, like a failed allocation on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.config = InterpolationConfig(2, "nearest")
        self.inner = Interpolation(self.config)

    def forward(self, low: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        high: Tensor = self.inner(low)
        return high


def test_a_device_that_fails_costs_one_picture(save: Save) -> None:
    for name in ("1.png", "2.png", "3.png"):
        save(name)
    network = _FailsAtSecondCall().eval()
    checkpoint = Checkpoint(network, network.config, 2, "fails", "fails", "a test", "digest")
    run = Run("1.png", "2.png", "3.png", model=checkpoint, output="out")
    assert [(failure.name, failure.error.exit_code) for failure in run.failures] == [
        ("2.png", ExitCode.DEVICE)
    ]
    assert run.exit_code is ExitCode.SOME_FAILED
    assert results() == ["out/1.png", "out/3.png"]


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="needs the extra openvino")
def test_openvino_is_started_when_it_pays_for_all_pictures_of_a_size(
    save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in (("a.png", (32, 20)), ("b.png", (32, 20)), ("c.png", (32, 24))):
        save(f"in/{name}", size=size)
    enough_s = START_S / (2 * 32 * 20 - 1) * torch.get_num_threads() / MEASURED_THREADS
    monkeypatch.setattr(openvino_executor, "SAVED_S_PER_PX", dict.fromkeys(SAVED_S_PER_PX, enough_s))
    run = Run("in", model="esc-light", device="cpu")
    by_openvino = [("OpenVINO" in done.ways[0], Path(done.input).name) for done in run.heard(Done)]
    assert by_openvino == [(True, "a.png"), (True, "b.png"), (False, "c.png")]


def test_a_model_for_each_picture(save: Save, scene: Image.Image) -> None:
    scene.crop((0, 0, 96, 96)).filter(ImageFilter.SHARPEN).save(save("in/good.png"))
    scene.crop((0, 0, 96, 96)).save(save("in/worse.jpg"), quality=50)
    scene.crop((0, 0, 96, 80)).save(save("in/worse_too.jpg"), quality=30)
    same = {"device": "cpu", "precision": "float32"}
    run = Run("in", model="auto", **same)
    models = ["esc", "esc-robust", "esc-robust"]
    assert [plan.model for plan in run.heard(Planned)] == ["auto"] * 3
    assert [done.model for done in run.heard(Done)] == models
    assert "JPEG" in run.heard(Done)[1].model_reason
    order = [event.model for event in run.events if isinstance(event, Engine)]
    assert order == ["esc", "esc-robust"]  # each one before the first picture of its model
    first = run.events.index(run.heard(Engine)[1])
    assert run.events[first + 1] == Started("in/worse.jpg", 2, 3)
    assert b"model esc-robust x2" in Path("in_x2/worse.jpg").read_bytes()
    by_name = Run("in/worse.jpg", model="esc-robust", output="by_name.jpg", **same)
    assert by_name.heard(Done)[0].model_reason is None
    assert Path("by_name.jpg").read_bytes() == Path("in_x2/worse.jpg").read_bytes()


def test_no_model_where_nothing_is_enlarged(save: Save) -> None:
    save("in.png")
    run = Run("in.png", model="auto", device="cpu", scale=None, size="50%")
    assert (run.heard(Planned)[0].model, run.heard(Done)[0].model) == (None, None)
    assert run.heard(Engine) == []


@pytest.mark.parametrize(
    "size", ["384x216", "384x216^", "384x216>", "384x216!", "100x", "x31", "7777@", "7777@>"]
)
def test_a_picture_is_named_by_the_size_that_it_has(save: Save, load: Load, size: str) -> None:
    save("a.png", size=(50, 35))
    Run("a.png", scale=None, size=size)
    (result,) = (name for name in files() if name != "a.png")
    width, height = load(result).size
    assert result == f"a_{width}x{height}.png"
