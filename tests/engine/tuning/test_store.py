"""Figures are kept in a file for each machine. A file that is not valid is ignored."""

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from esc_cli.engine.tuning.figures import Figures
from esc_cli.engine.tuning.race import Timing
from esc_cli.engine.tuning.store import Store, this_machine

HERE = {"processor": "a test's", "threads": 2}
FIGURES = Figures({"bfloat16 with sdpa": Timing(0.5, (1.0, 2.0))}, {}, {"x": "no kernel"})


def test_what_is_kept_is_recalled(tmp_path: Path) -> None:
    store = Store(tmp_path / "new" / "folder", HERE)
    assert store.recall("esc") == Figures()
    store.keep("esc", FIGURES)
    store.keep("esc-light", Figures())
    assert store.recall("esc") == FIGURES
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == [store.path and store.path.name]


def test_another_machine_has_another_file(tmp_path: Path) -> None:
    Store(tmp_path, HERE).keep("esc", FIGURES)
    assert Store(tmp_path, {**HERE, "threads": 1}).recall("esc") == Figures()
    assert Store(tmp_path, HERE).recall("esc") == FIGURES


def test_a_file_of_another_machine_is_ignored(tmp_path: Path) -> None:
    theirs, ours = Store(tmp_path, {**HERE, "processor": "another"}), Store(tmp_path, HERE)
    theirs.keep("esc", FIGURES)
    assert theirs.path is not None
    assert ours.path is not None
    theirs.path.rename(ours.path)
    assert ours.recall("esc") == Figures()
    ours.keep("esc", FIGURES)
    assert ours.recall("esc") == FIGURES


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[1]",
        b"{",
        b"[" * 10**5,
        b'{"version": 1}',
        b'{"version": 1, "machine": HERE, "networks": 3}',
        b'{"version": 1, "machine": HERE, "networks": {"esc": 3}}',
        b'{"version": 1, "machine": HERE, "networks": {"esc": {"candidates": {"a": [1]}}}}',
        b'{"version": 1, "machine": HERE, "networks": {"esc": {"candidates": {"a": [1, NaN]}, '
        b'"runtimes": {}, "failed": {}, "runtimes_px": 1}}}',
        b'{"version": 1, "machine": HERE, "networks": {"esc": {"candidates": {"a": [1, -1]}, '
        b'"runtimes": {}, "failed": {}, "runtimes_px": 1}}}',
        b'{"version": 1, "machine": HERE, "networks": {"esc": {"candidates": {}, '
        b'"runtimes": {}, "failed": {}, "runtimes_px": 0}}}',
        b'{"version": 0, "machine": HERE, "networks": {}}',
    ],
)
def test_a_damaged_file_is_ignored_and_replaced(tmp_path: Path, content: bytes) -> None:
    store = Store(tmp_path, HERE)
    assert store.path is not None
    store.path.write_bytes(content.replace(b"HERE", json.dumps(HERE).encode()))
    assert store.recall("esc") == Figures()
    store.keep("esc", FIGURES)
    assert store.recall("esc") == FIGURES


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file", HERE)
    assert not store.can_keep
    assert Store(tmp_path / "a" / "b", HERE).can_keep
    store.keep("esc", FIGURES)
    assert store.recall("esc") == Figures()


def test_a_user_without_folders_keeps_nothing() -> None:
    store = Store(None, HERE)
    assert not store.can_keep
    store.keep("esc", FIGURES)
    assert store.recall("esc") == Figures()


def _keep_often(folder: Path, name: str) -> None:
    for _ in range(20):
        Store(folder, HERE).keep(name, FIGURES)


def test_processes_that_write_at_once_leave_a_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[3])  # the processes import this module by its name
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_keep_often, args=(tmp_path, name)) for name in ("a", "b")]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    store = Store(tmp_path, HERE)
    assert FIGURES in (store.recall("a"), store.recall("b"))
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


def test_the_store_of_this_machine_is_in_the_folder_of_tests() -> None:
    assert Store.here().folder == Path(os.environ["XDG_CACHE_HOME"]) / "esc-upscale"
    assert json.loads(json.dumps(this_machine())) == this_machine()
