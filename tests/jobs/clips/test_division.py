"""Make clips in segments, with the units that workers get, one after the other and in any order."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import av
import pytest
import torch

from esc_cli.enhancement.choice import Chooser
from esc_cli.enhancement.enlarge import Enlarger
from esc_cli.enhancement.size import Geometry
from esc_cli.errors import DeviceError, EscError, OutputError, as_ours
from esc_cli.jobs.clips.division import Division
from esc_cli.jobs.clips.task import ClipTask
from esc_cli.jobs.clips.work_folder import WorkFolder
from esc_cli.jobs.cluster.shared_clip import SharedClip
from esc_cli.jobs.cluster.units import Join, MakePart, Outcome, Unit, Waiting, Whole, WorkerContext
from esc_cli.jobs.events import Done, Event, Progressed
from esc_cli.jobs.options import Options
from esc_cli.jobs.pipeline import EndOfRun
from esc_cli.jobs.upscale import upscale_files
from esc_cli.jobs.work.context import RunContext
from esc_cli.jobs.work.work import Work
from esc_cli.jobs.work_folder import folder_of

Maker = Callable[..., Path]
FRAMES = 18
PARAMETERS = {"x264-params": "keyint=7:bframes=2:scenecut=0"}


class Cluster:
    """The driver and the workers of one clip, in this process.

    Attributes:
        events: The events of the units.
        done: The units that were carried out.
        waiting: The units that wait.
        clip: The clip, as the driver sees it.
    """

    def __init__(self, source: str | Path, output: str = "spread/", **options: Any) -> None:
        asked = {"model": "nearest", "scale": 2, "device": "cpu", **options}
        plan = upscale_files([source], output, dry_run=True, **asked).plan
        chosen = Options.of(asked)
        chooser = Chooser(chosen)
        enlarger = Enlarger(chooser.default, Geometry.of_scale(2), chosen.consistency, {})
        self.events: list[Event] = []
        work = Work(RunContext(chooser, enlarger, chosen, 1, self.events.append, set()))
        self._desk = WorkerContext(work, threading.Lock(), EndOfRun())
        self.done: list[Unit] = []
        self.task = cast(ClipTask, plan.tasks[0])
        self.waiting = Waiting(plan.tasks)
        self.clip = SharedClip(self.task, self.waiting)

    def carry_out(self, unit: Unit) -> Outcome:
        self.done.append(unit)
        try:
            return Outcome(unit.carry_out(self._desk), None)
        except EscError as error:
            return Outcome(None, as_ours(error))

    def step(self) -> list[Outcome]:
        """Carry out the next unit, and return the outcome of the clip if this was the last one."""
        unit = self.waiting.take()
        return list(self.clip.hear(unit, self.carry_out(unit)))

    def run(self, order: Iterable[int] = ()) -> Outcome:
        """Carry out all units; the segments in the given order of their places in the queue."""
        last = self.step()
        return last[0] if last else self.finish(order)

    def finish(self, order: Iterable[int] = ()) -> Outcome:
        """Carry out all units after the division; see ``run``."""
        last: list[Outcome] = []
        for place in order:
            units = [self.waiting.take() for _ in range(len(self.waiting))]
            unit = units.pop(place % len(units))
            for other in units:
                self.waiting.add(other)
            last = list(self.clip.hear(unit, self.carry_out(unit)))
        while not last:
            last = self.step()
        assert not len(self.waiting)
        assert not folder_of(cast(Path, self.task.target)).exists() or last[0].error is not None
        return last[0]

    def count(self, kind: type[Unit]) -> int:
        return sum(isinstance(unit, kind) for unit in self.done)


def plain(source: Path, **options: Any) -> tuple[dict[str, bytes], Any]:
    """Run plainly, and return the results and the last event or the failures."""
    asked = {"model": "nearest", "scale": 2, "device": "cpu", **options}
    heard: list[Event] = []
    report = upscale_files([source], "plain/", listener=heard.append, **asked)
    done = [event for event in heard if isinstance(event, Done)]
    return results("plain"), (done[0] if done else report.failures[0].error)


def results(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


def packets(path: str) -> list[tuple[int | None, bytes]]:
    with av.open(path) as file:
        return [(packet.pts, bytes(packet)) for packet in file.demux(video=0) if packet.size]


def damage(path: Path, *numbers: int) -> None:
    with av.open(path) as file:
        packets = [bytes(packet) for packet in file.demux(video=0) if packet.size]
    content = path.read_bytes()
    for number in numbers:
        assert content.count(packets[number]) == 1
        content = content.replace(packets[number], bytes(len(packets[number])))
    path.write_bytes(content)


@pytest.mark.parametrize(("name", "seed"), [("in.mp4", 0), ("in.mp4", 1), ("in.ts", 2)])
def test_segments_made_in_any_order_give_the_result_of_a_plain_run(
    name: str, seed: int, make_clip: Maker, short_segments: int
) -> None:
    source = make_clip(name, shown=range(FRAMES), options=PARAMETERS)
    expected, done = plain(source)
    order = torch.randint(100, (5,), generator=torch.Generator().manual_seed(seed)).tolist()
    cluster = Cluster(source)
    outcome = cluster.run(order)
    if name == "in.mp4":
        assert results("spread") == expected
    else:  # Matroska has a random number in each file
        assert packets("spread/in.mkv") == packets("plain/in.mkv")
    assert cluster.count(MakePart) == 5
    assert (cluster.count(Join), cluster.count(Whole)) == (1, 0)
    assert (outcome.made.notes, outcome.made.output_height) == (done.notes, done.output_height)


def test_equal_frames_are_counted_in_all_segments(make_clip: Maker, short_segments: int) -> None:
    source = make_clip("in.mkv", (0, 0, 0, 1, 1, 2, 2, 2, 3), codec="ffv1")
    outcome = Cluster(source, video_codec="ffv1").run()
    assert short_segments == 4
    assert outcome.made.repeated == 2 + 2  # the first frame of a segment is always computed


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ({}, (9,)),
        ({}, (8, 17)),
        ({"damaged": "refuse"}, (9,)),
        ({"start": "0.1", "end": "0.61"}, ()),
        ({"start": "0.3"}, (5,)),
    ],
    ids=str,
)
def test_damaged_clips_and_parts_of_clips(
    options: dict[str, Any], numbers: tuple[int, ...], make_clip: Maker, short_segments: int
) -> None:
    source = make_clip(shown=range(FRAMES), codec="mpeg4", options={"g": "7"})
    damage(source, *numbers)
    expected, done = plain(source, **options)
    cluster = Cluster(source, **options)
    outcome = cluster.run()
    assert results("spread") == expected
    if "damaged" in options:
        assert str(outcome.error) == str(done)
        assert cluster.count(Whole) == 1
    else:
        assert outcome.made.notes == done.notes
        assert cluster.count(MakePart) > 2
        assert cluster.count(Whole) == 0


@pytest.mark.parametrize("kind", ["AVI", "deinterlaced", "one segment", "picture sequence as result"])
def test_clips_that_are_one_task(kind: str, make_clip: Maker, short_segments: int) -> None:
    frames = 3 if kind == "one segment" else 9
    source = make_clip("in.avi" if kind == "AVI" else "in.mp4", shown=range(frames), options=PARAMETERS)
    options = {"deinterlace": True} if kind == "deinterlaced" else {}
    if kind == "picture sequence as result":
        plan = upscale_files([source], "out/%d.png", model="nearest", scale=2, dry_run=True).plan
        assert isinstance(Waiting(plan.tasks).take(), Whole)
        return
    plain(source, **options)
    cluster = Cluster(source, **options)
    assert cluster.run().error is None
    name = "in.mkv" if kind == "AVI" else "in.mp4"
    assert packets(f"spread/{name}") == packets(f"plain/{name}")
    assert (cluster.count(MakePart), cluster.count(Whole)) == (0, 1)


def test_units_come_in_the_order_of_their_tasks(make_clip: Maker, short_segments: int) -> None:
    for name in ("a.mp4", "b.mp4", "c.avi"):
        make_clip(name, shown=range(9))
    asked: dict[str, Any] = {"model": "nearest", "scale": 2, "device": "cpu"}
    plan = upscale_files(["a.mp4", "b.mp4", "c.avi"], "spread/", dry_run=True, **asked).plan
    waiting = Waiting(plan.tasks)
    first, second = waiting.take(), waiting.take()
    clips = [(unit, SharedClip(cast(ClipTask, unit.task), waiting)) for unit in (second, first)]
    division = Division(None, None, tuple(range(9)))
    for unit, clip in clips:
        assert not list(clip.hear(unit, Outcome(division, None)))
    assert len(waiting) == 7
    taken = [waiting.take() for _ in range(7)]
    assert [unit.place for unit in taken] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (3, 0)]
    for _, clip in clips:
        clip.close()
    assert list(Path("spread").iterdir()) == []


def test_an_image_sequence_is_divided(make_clip: Maker, short_segments: int) -> None:
    upscale_files([make_clip()], "frames/%03d.png", model="nearest", scale=1, device="cpu")
    asked = {"model": "nearest", "scale": 2, "device": "cpu", "fps": "25", "start": "0.04"}
    assert upscale_files(["frames/%03d.png"], "plain.mp4", **asked).failures == ()
    cluster = Cluster("frames/%03d.png", "spread.mp4", **asked)
    assert cluster.run([1, 0]).error is None
    assert cluster.count(MakePart) == 3
    assert Path("spread.mp4").read_bytes() == Path("plain.mp4").read_bytes()


def test_what_is_finished_is_not_made_again(make_clip: Maker, short_segments: int) -> None:
    """The driver is closed in the middle, as by Ctrl-C; another cluster continues, and then a plain run."""
    source = make_clip(shown=range(FRAMES), options=PARAMETERS)
    expected, _ = plain(source)
    first = Cluster(source)
    first.step()
    units = [first.waiting.take() for _ in range(len(first.waiting))]
    assert [unit.place for unit in units] == [(1, number) for number in range(1, 6)]
    list(first.clip.hear(units[3], first.carry_out(units[3])))
    with pytest.raises(OutputError, match="another run is working on"):
        WorkFolder(cast(Path, first.task.target), None)
    first.clip.close()
    assert len(list(folder_of(cast(Path, first.task.target)).glob("*.mkv"))) == 1
    second = Cluster(source)
    second.step(), second.step()
    second.clip.close()
    third = Cluster(source)
    third.run()
    assert third.count(MakePart) == 3
    assert results("spread") == expected


def test_the_progress_is_that_of_the_clip(make_clip: Maker, short_segments: int) -> None:
    cluster = Cluster(make_clip(shown=range(FRAMES), options=PARAMETERS))
    cluster.step()
    told = []
    for _ in range(5):
        unit = cluster.waiting.take()
        outcome = cluster.carry_out(unit)
        (*_, event) = (event for event in cluster.events if isinstance(event, Progressed))
        told.append(cluster.clip.progress(cast(MakePart, unit), event))
        list(cluster.clip.hear(unit, outcome))
    assert [event.done // (96 * 128) for event in told] == [4, 8, 12, 16, 18]
    assert {event.total // (96 * 128) for event in told} == {18}
    assert all(event.frames_per_second for event in told)


def test_a_segment_that_fails_lets_one_worker_make_the_rest(make_clip: Maker, short_segments: int) -> None:
    source = make_clip(shown=range(FRAMES), options=PARAMETERS)
    expected, _ = plain(source)
    cluster = Cluster(source)
    cluster.step(), cluster.step()
    unit, other = cluster.waiting.take(), cluster.waiting.take()
    assert not list(cluster.clip.hear(unit, Outcome(None, OutputError("no room"))))
    assert not len(cluster.waiting)  # the other one is still being made
    assert not list(cluster.clip.hear(other, cluster.carry_out(other)))
    (last,) = cluster.step()
    assert isinstance(last.made, Done)
    assert (cluster.count(MakePart), cluster.count(Whole)) == (2, 1)
    assert results("spread") == expected


def test_a_segment_that_kills_its_workers_is_a_failure_of_the_clip(
    make_clip: Maker, short_segments: int
) -> None:
    cluster = Cluster(make_clip(shown=range(FRAMES), options=PARAMETERS))
    cluster.step(), cluster.step()
    error = DeviceError("3 workers died")
    (last,) = cluster.clip.hear(cluster.waiting.take(), Outcome(None, error, is_deadly=True))
    assert last.error is error
    assert not len(cluster.waiting)
    assert len(list(folder_of(cast(Path, cluster.task.target)).glob("*.mkv"))) == 1


def test_a_clip_with_other_frames_than_its_packets_tell(make_clip: Maker, short_segments: int) -> None:
    """A plan with a frame that the decoder does not yield stands for any difference of the two."""
    source = make_clip(shown=range(FRAMES), options=PARAMETERS)
    expected, _ = plain(source)
    cluster = Cluster(source)
    unit = cluster.waiting.take()
    division = cluster.carry_out(unit).made
    first, *others = division.times
    wrong = replace(division, times=(first, first + 1, *others))
    assert not list(cluster.clip.hear(unit, Outcome(wrong, None)))
    assert cluster.finish([4, 2, 1]).error is None
    assert (cluster.count(MakePart), cluster.count(Whole)) == (4, 1)
    assert results("spread") == expected


@pytest.mark.parametrize("returns", [True, False])
def test_a_segment_that_this_machine_does_not_see_yet(
    returns: bool, make_clip: Maker, short_segments: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment that has another name for a while stands for one that a network file system shows late."""
    monkeypatch.setattr("esc_cli.jobs.clips.work_folder._SEEN_WITHIN_S", 20.0 if returns else 0.0)
    source = make_clip(shown=range(FRAMES), options=PARAMETERS)
    expected, _ = plain(source)
    cluster = Cluster(source)
    while not isinstance(cluster.waiting.first, Join):
        assert not cluster.step()
    segment = sorted(folder_of(cast(Path, cluster.task.target)).glob("*.mkv"))[-1]
    hidden = segment.rename(segment.with_suffix(".late"))
    timer = threading.Timer(0.7, hidden.rename, [segment])
    if returns:
        timer.start()
    (outcome,) = cluster.step()
    if returns:
        assert outcome.error is None
        assert results("spread") == expected
    else:
        assert "sees 16 of 18 finished frames" in str(outcome.error)
        assert len(list(hidden.parent.glob("*.mkv"))) == 4


def test_finished_segments_of_another_division_are_not_used(make_clip: Maker, short_segments: int) -> None:
    source = make_clip(shown=range(FRAMES), options=PARAMETERS)
    expected, _ = plain(source)
    first = Cluster(source)
    first.step()
    units = [first.waiting.take() for _ in range(len(first.waiting))]
    first.carry_out(units[3]), first.clip.close()
    (segment,) = folder_of(cast(Path, first.task.target)).glob("*.mkv")
    segment.rename(segment.with_name(segment.name.replace("000003_", "000002_")))
    second = Cluster(source)
    assert second.run().error is None
    assert (second.count(MakePart), second.count(Whole)) == (0, 1)
    assert results("spread") == expected
