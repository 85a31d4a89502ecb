"""Test that pictures in a batch are limited by their memory."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from esc_cli import upscale, upscale_files
from esc_cli.errors import ExitCode
from esc_cli.jobs.memory import high_bytes, low_bytes
from esc_cli.jobs.task import PictureTask
from esc_cli.jobs.work.pictures import PictureMaker

Save = Callable[..., Path]


class Waiting:
    """The estimated memory of what waits before and after the network, and the most of it so far."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._before: dict[str, int] = {}
        self._after: dict[str, int] = {}
        self.most_bytes = 0
        self.most_pictures = 0

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        read, enlarge, write = PictureMaker.read, PictureMaker.enlarge, PictureMaker.write

        def watched_read(work: PictureMaker, task: PictureTask) -> Any:
            self._change(self._before, task, low_bytes(task))
            return read(work, task)

        def watched_enlarge(work: PictureMaker, task: PictureTask, loaded: Any) -> Any:
            self._change(self._before, task, 0)
            made = enlarge(work, task, loaded)
            self._change(self._after, task, high_bytes(task))
            return made

        def watched_write(work: PictureMaker, task: PictureTask, high: Any, ended: Any) -> Any:
            done = write(work, task, high, ended)
            self._change(self._after, task, 0)
            return done

        for name, watched in (("read", watched_read), ("enlarge", watched_enlarge), ("write", watched_write)):
            monkeypatch.setattr(PictureMaker, name, watched)

    def _change(self, side: dict[str, int], task: PictureTask, size_bytes: int) -> None:
        with self._lock:
            side.pop(task.source.name, None)
            if size_bytes:
                side[task.source.name] = size_bytes
            waiting = [*self._before.values(), *self._after.values()]
            if max(len(self._before), len(self._after)) > 1:  # one may always wait on either side
                self.most_bytes = max(self.most_bytes, sum(waiting))
            self.most_pictures = max(self.most_pictures, len(waiting))


@pytest.mark.parametrize("free_mb", [1, 16, 1000])
def test_pictures_that_wait_take_an_eighth_of_the_free_memory(
    save: Save, monkeypatch: pytest.MonkeyPatch, free_mb: int
) -> None:
    for number in range(12):
        save(f"in/{number}.png", size=(60 + number, 80))
    free_bytes = free_mb * 2**20
    monkeypatch.setattr("esc_cli.jobs.memory.host_free_bytes", lambda: free_bytes)
    waiting = Waiting()
    waiting.watch(monkeypatch)
    report = upscale_files(["in"], model="nearest", scale=2, device="cpu", workers=4)
    assert report.exit_code is ExitCode.OK
    assert waiting.most_bytes <= free_bytes / 8
    assert (waiting.most_pictures > 2) == (free_mb > 1)  # they wait if there is room


@pytest.mark.parametrize(
    ("free_mb", "words"),
    [(1, "a.png needs about"), (8, "a WEBP of 1600x1200 pixels needs about"), (100, None)],
)
def test_what_does_not_fit_in_memory_is_refused_before_the_work(
    save: Save, monkeypatch: pytest.MonkeyPatch, free_mb: int, words: str | None
) -> None:
    save("a.png", size=(400, 300))
    monkeypatch.setattr("esc_cli.jobs.work.context.host_free_bytes", lambda: free_mb * 2**20)
    report = upscale_files(["a.png"], "b.webp", model="nearest", scale=4, device="cpu")
    if words is None:
        assert report.exit_code is ExitCode.OK
        return
    (failure,) = report.failures
    assert failure.error.message.startswith(words)
    assert failure.error.message.endswith(f"but only {free_mb} MB are free")
    assert report.exit_code is ExitCode.DEVICE
    assert not Path("b.webp").exists()


def test_equal_frames_need_their_memory_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    frames = [Image.new("RGB", (200, 200), (number % 2 * 200, 0, 0)) for number in range(40)]
    frames[0].save("a.gif", save_all=True, append_images=frames[1:], duration=50)
    monkeypatch.setattr("esc_cli.jobs.work.context.host_free_bytes", lambda: 32 * 2**20)
    assert upscale("a.gif", "b.gif", model="nearest", scale=2, device="cpu") == Path("b.gif")
