import os
from contextlib import suppress
from pathlib import Path
from threading import Barrier, Thread

import pytest

from esc_cli.errors import OutputError
from esc_cli.jobs.clips.work_folder import Segments, WorkFolder
from esc_cli.jobs.work_folder import folder_of

IDENTITY = {"recipe": {"model": "esc"}}
FRAMES = 48


def finish_segment(folder: Segments, last_pts: int | None, number: int | None = None) -> None:
    path = folder.new_segment(len(folder.segments) if number is None else number)
    path.write_bytes(b"frames")
    folder.finish(path, FRAMES, last_pts)


def broken_off(target: Path, *ends: int | None) -> Path:
    """Leave the folder of an interrupted run that has finished some segments and begun another one."""
    with pytest.raises(KeyboardInterrupt), WorkFolder(target, IDENTITY) as folder:
        for last_pts in ends:
            finish_segment(folder, last_pts)
        folder.new_segment(len(ends)).write_bytes(b"fra")
        raise KeyboardInterrupt
    return folder.path


def test_finished_segments_stay_and_are_found(tmp_path: Path) -> None:
    path = broken_off(tmp_path / "out.mp4", 400, 900)
    assert sorted(file.name for file in path.iterdir()) == [
        "000000_48_400.mkv", "000001_48_900.mkv", "manifest.json",
    ]  # fmt: skip
    folder = WorkFolder(tmp_path / "out.mp4", IDENTITY)
    assert [segment.name for segment in folder.segments] == ["000000_48_400.mkv", "000001_48_900.mkv"]
    assert (folder.frames, folder.last_pts, folder.gap) == (96, 900, None)


def test_the_last_time_may_be_unknown(tmp_path: Path) -> None:
    broken_off(tmp_path / "out.mp4", 400, None)
    folder = WorkFolder(tmp_path / "out.mp4", IDENTITY)
    assert (folder.frames, folder.last_pts) == (96, None)


def test_times_may_be_negative(tmp_path: Path) -> None:
    broken_off(tmp_path / "out.mp4", -20)
    assert WorkFolder(tmp_path / "out.mp4", IDENTITY).last_pts == -20


def test_what_a_kill_left_half_made_is_removed(tmp_path: Path) -> None:
    path = broken_off(tmp_path / "out.mp4", 400)
    (path / "000001.part").write_bytes(b"fra")
    folder = WorkFolder(tmp_path / "out.mp4", IDENTITY)
    assert [file.name for file in path.glob("*.part")] == []
    assert folder.last_pts == 400


def test_segments_after_a_gap_do_not_count(tmp_path: Path) -> None:
    path = broken_off(tmp_path / "out.mp4", 400, 900, 1300)
    (path / "000001_48_900.mkv").unlink()
    folder = WorkFolder(tmp_path / "out.mp4", IDENTITY)
    assert (folder.frames, folder.last_pts, folder.gap, folder.frames_in_all) == (48, 400, 1, 96)


def test_segments_that_workers_made_stay_also_where_the_first_is_missing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), WorkFolder(tmp_path / "out.mp4", IDENTITY) as folder:
        finish_segment(Segments(tmp_path / "out.mp4", IDENTITY), 1300, number=2)
        raise KeyboardInterrupt
    folder = WorkFolder(tmp_path / "out.mp4", IDENTITY)
    assert (folder.segments, folder.last_pts, folder.gap) == ((), None, 2)
    finish_segment(folder, 400)
    folder.forget(1)
    assert (len(folder.found), folder.gap) == (1, None)


def test_a_worker_of_an_earlier_run_finishes_no_segment_for_other_settings(tmp_path: Path) -> None:
    """Workers may live for a moment after their driver was killed, while the next run begins."""
    target = tmp_path / "out.mp4"
    broken_off(target, 400)
    late = Segments(target, IDENTITY)
    folder = WorkFolder(target, {"recipe": {"model": "esc-light"}})
    with pytest.raises(OutputError, match="another run is working on"):
        finish_segment(late, 900)
    assert folder.found == {}


@pytest.mark.parametrize("manifest", [b"", b"\xff", b'{"version": 0}', None], ids=repr)
def test_a_folder_of_another_kind_is_thrown_away(tmp_path: Path, manifest: bytes | None) -> None:
    path = broken_off(tmp_path / "out.mp4", 400)
    if manifest is None:
        (path / "manifest.json").unlink()
    else:
        (path / "manifest.json").write_bytes(manifest)
    assert WorkFolder(tmp_path / "out.mp4", IDENTITY).segments == ()


def test_another_recipe_begins_anew(tmp_path: Path) -> None:
    broken_off(tmp_path / "out.mp4", 400)
    assert WorkFolder(tmp_path / "out.mp4", {"recipe": {"model": "esc-light"}}).segments == ()


def test_nothing_stays_where_nothing_is_finished(tmp_path: Path) -> None:
    broken_off(tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


def test_nothing_stays_of_a_pipe_which_can_be_read_but_once(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), WorkFolder(tmp_path / "out.mp4", None) as folder:
        finish_segment(folder, 400)
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_never_goes_on_with_what_is_there(tmp_path: Path) -> None:
    finish_segment(WorkFolder(tmp_path / "out.mp4", None), 400)
    assert WorkFolder(tmp_path / "out.mp4", None).segments == ()


def test_nothing_stays_of_a_folder_that_cannot_be_begun(tmp_path: Path) -> None:
    folder_of(tmp_path / "out.mp4").write_bytes(b"a file of this name")
    with pytest.raises(OutputError):
        WorkFolder(tmp_path / "out.mp4", IDENTITY)


def test_it_is_gone_when_the_result_is_made(tmp_path: Path) -> None:
    with WorkFolder(tmp_path / "out.mp4", IDENTITY) as folder:
        finish_segment(folder, 400)
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_very_long(tmp_path: Path) -> None:
    broken_off(tmp_path / ("é" * 120 + ".mp4"), 400)
    assert WorkFolder(tmp_path / ("é" * 120 + ".mp4"), IDENTITY).last_pts == 400
    assert WorkFolder(tmp_path / ("è" * 120 + ".mp4"), IDENTITY).last_pts is None


@pytest.mark.skipif(os.name == "nt", reason="Windows has no fcntl locks")
def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    broken_off(target, 400)
    with pytest.raises(KeyboardInterrupt), WorkFolder(target, IDENTITY) as first:
        for identity in (IDENTITY, {"recipe": "another"}, None):
            with pytest.raises(OutputError, match="another run is working on"):
                WorkFolder(target, identity)
        assert first.last_pts == 400
        raise KeyboardInterrupt
    assert WorkFolder(target, IDENTITY).last_pts == 400


@pytest.mark.skipif(os.name == "nt", reason="Windows has no fcntl locks")
def test_of_two_runs_that_begin_at_once_one_has_the_folder(tmp_path: Path) -> None:
    """Of a folder that does not exist yet, both find no lock. One must not remove what the other begins."""
    target = tmp_path / "out.mp4"
    started = Barrier(2)
    owners: list[WorkFolder] = []

    def begin() -> None:
        started.wait()
        with suppress(OutputError):
            owners.append(WorkFolder(target, IDENTITY))

    for _ in range(200):
        threads = [Thread(target=begin) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(owners) == 1
        finish_segment(owners[0], 400)
        owners.pop().remove()
    assert list(tmp_path.iterdir()) == []
