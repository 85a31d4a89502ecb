"""Run a real Ray cluster of several nodes on this machine, and compare its results with a plain run's."""

import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.enhancement.choice import Chooser
from esc_cli.enhancement.size import Geometry
from esc_cli.errors import ExitCode, InputError, UsageError
from esc_cli.jobs.cluster.connection import shares
from esc_cli.jobs.cluster.driver import Driver
from esc_cli.jobs.cluster.worker import Job, Worker
from esc_cli.jobs.events import Done, Event, Planned, Progressed, Skipped, Started, WorkerLost, Workers
from esc_cli.jobs.options import Options
from esc_cli.jobs.task import Task
from esc_cli.jobs.upscale import Report, upscale_files
from esc_cli.networks.architectures.interpolation import Interpolation, InterpolationConfig
from esc_cli.version import program_version

pytest.importorskip("ray", reason="needs the extra ray")

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own

NODES = 2


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Start a cluster of several nodes with one core each."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_worker_niceness", "0")  # otherwise it is 15, which is slow on a busy machine
    cluster = Cluster()
    try:
        for _ in range(NODES):
            cluster.add_node(num_cpus=1, include_dashboard=False)
        yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture
def address(cluster: Any) -> str:
    return str(cluster.address)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a tree of small pictures, some of them damaged, and make its parent the current folder."""
    monkeypatch.chdir(tmp_path)
    for number in range(24):
        path = Path(f"in/{number % 3}/{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((30 + number, 20), 60).convert("RGB").save(path)
        if number % 8 == 5:
            path.write_bytes(path.read_bytes()[:300])
    return tmp_path


def run(output: str, cluster: str | None, **options: Any) -> tuple[list[Event], Report]:
    heard: list[Event] = []
    asked = {"model": "nearest", "scale": 2, "device": "cpu", "recursive": True, **options}
    return heard, upscale_files(["in"], output, listener=heard.append, cluster=cluster, **asked)


def files(folder: str) -> dict[str, bytes]:
    """Return the results in a folder, without their records."""
    found = (path for path in Path(folder).rglob("*") if path.is_file() and path.suffix != ".json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


FILM_FRAMES = 48 * 20 - 7
"""Number of frames of 20 segments, of which the last one is shorter."""


def make_film(path: str, frames: int = FILM_FRAMES) -> None:
    """Make a film with sound, B-frames across the borders of segments, and a variable frame rate."""
    with av.open(path, "w") as target:
        stream: Any = target.add_stream("libx264", rate=25, options={"x264-params": "keyint=70:bframes=3"})
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        sound: Any = target.add_stream("aac", rate=8000, layout="mono")
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((24, 32, 3), 7 * number % 250, np.uint8), "rgb24")
            frame.pts, frame.time_base = 40 * number + number % 3, Fraction(1, 1000)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
        for number in range(frames * 320 // 1024):
            tone = av.AudioFrame.from_ndarray(
                np.full((1, 1024), 0.1 * (number % 2), np.float32), "fltp", "mono"
            )
            tone.sample_rate, tone.pts = 8000, 1024 * number
            target.mux(sound.encode(tone))
        target.mux(sound.encode(None))


def digests(path: str) -> dict[str, list[Any]]:
    """Return the digests of all packets of each stream, with their times, and of all frames."""
    found: dict[str, list[Any]] = {}
    with av.open(path) as file:
        for packet in file.demux():
            if packet.size:
                times = packet.pts, packet.dts, packet.duration
                found.setdefault(packet.stream.type, []).append((*times, sha256(bytes(packet)).hexdigest()))
    with av.open(path) as file:
        found["frames"] = [
            (f.pts, sha256(f.to_ndarray().tobytes()).hexdigest()) for f in file.decode(video=0)
        ]
    return found


def finished(folder: str) -> set[str]:
    """Return the names of the finished segments in the hidden folders beside results."""
    return {path.name for path in Path(folder).glob("**/.*.esc-upscale/*.mkv")}


def test_a_cluster_does_what_a_plain_run_does(folder: Path, address: str) -> None:
    """The run has pictures, a film that all workers make together, and a clip of one segment."""
    make_film("in/film.mp4")
    make_film("in/other.mp4", 40)
    _, plain = run("plain", None)
    heard, report = run("spread", address)
    assert files("spread") == files("plain")
    assert digests("spread/film.mp4") == digests("plain/film.mp4")
    assert len(digests("spread/film.mp4")["frames"]) == FILM_FRAMES
    assert sorted(map(str, report.failures)) == sorted(map(str, plain.failures))
    assert report.exit_code is plain.exit_code is ExitCode.SOME_FAILED
    assert [event.workers for event in heard if isinstance(event, Workers)][-1] == NODES
    assert sum(isinstance(event, Done) for event in heard) == len(files("plain")) == 23
    assert sum(isinstance(event, Started) for event in heard) == 23
    told = [event for event in heard if isinstance(event, Progressed) and event.input == "in/film.mp4"]
    assert all(event.frames_per_second for event in told)
    assert told[-1].done <= told[-1].total == FILM_FRAMES * 24 * 32
    again, _ = run("spread", None)  # a plain run finds the records
    assert sum(isinstance(event, Skipped) for event in again) == 23
    assert not any(isinstance(event, Done) for event in again)


class Deadly(nn.Module):
    """A network that kills its process when a picture is 37 pixels wide, and that takes a while."""

    def __init__(self) -> None:
        super().__init__()
        self.config = InterpolationConfig(2, "nearest")
        self.inner = Interpolation(self.config)

    def forward(self, low: Tensor, *rest: Any, **more: Any) -> Tensor:
        time.sleep(0.05)
        if low.shape[-1] == 37:
            os.kill(os.getpid(), signal.SIGKILL)
        high: Tensor = self.inner(low, *rest, **more)
        return high


@pytest.fixture
def by_value() -> Iterator[None]:
    """Send the classes of this module to the workers, which cannot import it."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def deadly() -> Checkpoint:
    network = Deadly().eval()
    return Checkpoint(network, network.config, 2, "deadly", "deadly", "a test", "digest")


@pytest.mark.usefixtures("by_value")
def test_a_picture_that_kills_its_workers_is_a_failure_and_costs_no_other(
    folder: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    heard, report = run("spread", address, model=deadly())
    killed = [failure for failure in report.failures if "workers died" in str(failure)]
    assert [failure.name for failure in killed] == ["in/1/7.png"]
    assert killed[0].error.exit_code is ExitCode.DEVICE
    assert sum(event.input == "in/1/7.png" for event in heard if isinstance(event, WorkerLost)) in (3, 4)
    assert len(files("spread")) == 20
    assert capsys.readouterr().out == ""  # where results and events may go


def worker_processes() -> list[int]:
    """Return the workers of this test's cluster, but not those of other runs on this machine."""
    numbers = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [number for number in numbers if is_our_worker(number)]


def is_our_worker(process: int) -> bool:
    try:
        is_worker = b"ray::Worker" in Path(f"/proc/{process}/cmdline").read_bytes()
        while is_worker and process not in (1, os.getpid()):
            process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return False  # it has ended
    return is_worker and process == os.getpid()


def kill_workers(stop: threading.Event, count: int) -> None:
    """Kill workers. Three cannot make a task a failure, since the first worker has several tasks."""
    random = torch.Generator().manual_seed(1)
    for _ in range(count):
        processes = worker_processes()
        if processes:
            chosen = int(torch.randint(len(processes), (1,), generator=random))
            os.kill(processes[chosen], signal.SIGKILL)
        if stop.wait(1.5):
            return


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes as Linux shows them")
@pytest.mark.usefixtures("by_value")
def test_killed_workers_lose_nothing(folder: Path, address: str) -> None:
    """The workers are killed while they make pictures and segments of a film."""
    make_film("in/film.mp4", 200)
    run("plain", None)
    Path("in/1/7.png").unlink()
    stop = threading.Event()
    killer = threading.Thread(target=kill_workers, args=(stop, 3))

    def listen(event: Event) -> None:
        heard.append(event)
        if isinstance(event, Workers) and not killer.is_alive() and not killer.ident:
            killer.start()

    heard: list[Event] = []
    options: dict[str, Any] = {"model": deadly(), "scale": 2, "device": "cpu", "recursive": True}
    report = upscale_files(["in"], "spread", listener=listen, cluster=address, **options)
    stop.set(), killer.join()
    assert len(report.failures) == 3  # the damaged ones
    expected = {name: data for name, data in files("plain").items() if name != "1/7.png"}
    assert files("spread").keys() == expected.keys()
    assert files("spread")["film.mp4"] == expected["film.mp4"]
    assert any(event.input == "in/film.mp4" for event in heard if isinstance(event, WorkerLost))
    done = [event.input for event in heard if isinstance(event, Done)]
    assert len(done) == len(set(done)) == 21


def remove_a_node(cluster: Any) -> object:
    """Remove a node, but not the one that the driver uses: Ray would shut the driver down."""
    import ray

    mine = ray._private.worker.global_worker.node.raylet_socket_name
    node = next(node for node in cluster.worker_nodes if node.raylet_socket_name != mine)
    cluster.remove_node(node, allow_graceful=False)
    return node


@pytest.mark.usefixtures("by_value")
def test_a_lost_machine_loses_nothing(folder: Path, cluster: Any) -> None:
    Path("in/1/7.png").unlink()
    cluster.add_node(num_cpus=1)
    removed: list[Any] = []

    def listen(event: Event) -> None:
        heard.append(event)
        if not removed and sum(isinstance(event, Done) for event in heard) == 4:
            removed.append(remove_a_node(cluster))

    heard: list[Event] = []
    options: dict[str, Any] = {"model": deadly(), "scale": 2, "device": "cpu", "recursive": True}
    report = upscale_files(["in"], "spread", listener=listen, cluster=cluster.address, **options)
    assert len(report.failures) == 3  # the damaged ones
    assert len(files("spread")) == 20
    assert removed


def test_a_killed_driver_leaves_what_the_next_run_continues(folder: Path, address: str) -> None:
    """A plain run continues, also with the segments of a film, and nothing half-written is left."""
    make_film("in/film.mp4", 48 * 8)
    _, plain = run("plain", None)
    command = [sys.executable, "-m", "esc_cli", "in", "-r", "-o", "spread/", "-m", "nearest", "-s", "2"]
    with subprocess.Popen([*command, "-d", "cpu", "--ray", address], stderr=subprocess.DEVNULL) as driver:
        while driver.poll() is None and len(finished("spread")) < 4:
            time.sleep(0.01)
        assert driver.poll() is None
        driver.kill()
    done = finished("spread")
    assert not Path("spread/film.mp4").exists()
    heard, report = run("spread", None)
    assert files("spread") == files("plain")
    assert finished("spread") == set()
    assert len(report.failures) == len(plain.failures)
    assert sum(isinstance(event, Done | Skipped) for event in heard) == len(files("plain"))
    told = [event for event in heard if isinstance(event, Progressed) and event.input == "in/film.mp4"]
    assert told[0].done > len(done) * 47 * 24 * 32


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nonsense"])
def test_a_cluster_that_is_not_there(folder: Path, address: str) -> None:
    with pytest.raises(UsageError, match=f"there is no Ray cluster at '{address}'"):
        run("spread", address)


def on_this_machine(command: list[str], home: Path) -> "subprocess.CompletedProcess[str]":
    """Run Python outside of this test's cluster, with a home folder."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        check=False,
        env={**variables, "HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)},
    )


RUN_ON_LOCAL_CLUSTER = """
import os, ray
from esc_cli.jobs.events import Workers
from esc_cli.jobs.upscale import upscale_files

def listen(event):
    if isinstance(event, Workers):
        print(ray.get_runtime_context().gcs_address)
        print(ray.get(ray.remote(num_cpus=0)(lambda: os.nice(0)).remote()) - os.nice(0))

upscale_files(["a.png"], listener=listen, cluster="local", model="nearest", scale=2, device="cpu")
"""


def test_a_local_cluster_is_silent_never_joins_another_one_and_is_as_nice_as_a_plain_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 6)).save("a.png")
    done = on_this_machine(["-c", RUN_ON_LOCAL_CLUSTER], tmp_path / "home")
    assert (done.returncode, done.stderr) == (0, "")
    own, niceness = done.stdout.split()  # Ray itself prints nothing
    assert own != address
    assert niceness == "0"
    assert Image.open("a_x2.png").size == (16, 12)


def test_a_machine_on_which_ray_cannot_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray keeps a token in the home folder."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 6)).save("a.png")
    Path("home").touch()
    command = ["-m", "esc_cli", "a.png", "-m", "nearest", "-s", "2", "-d", "cpu", "--ray", "local"]
    done = on_this_machine([*command, "--quiet"], tmp_path / "home")
    assert done.returncode == ExitCode.DEVICE
    assert done.stderr.startswith("esc-upscale: Ray cannot start a cluster on this machine: '")
    assert done.stderr.endswith(": Not a directory\n  leave out --ray\n")


def a_job(**changes: Any) -> Job:
    options = Options(model="nearest", scale=2, device="cpu")
    recipe = Chooser(options).recipe(2)
    place = Path("in/0/0.png"), Path("out/0.png")
    size = Geometry.of_scale(2)
    return replace(Job(options, size, {}, 1, Path.cwd(), program_version(), (2, recipe), (place,)), **changes)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"version": "0.0.1"}, r"version .* of this program instead of 0\.0\.1"),
        ({"folder": Path("/no such folder")}, "cannot see the folder"),
        ({"networks": (2, {"models": ["other"]})}, "other weights"),
        ({"places": ((Path("in/none.png"), Path("out/none.png")),)}, "cannot read in/none.png: No such file"),
        ({"places": ((Path("in/0/0.png"), Path("/proc/none.png")),)}, "cannot write to /proc"),
    ],
)
def test_a_worker_that_cannot_do_the_work_says_why(
    folder: Path, changes: dict[str, Any], problem: str
) -> None:
    assert Worker(a_job()).check()[1] is None
    node, error = Worker(a_job(**changes)).check()
    assert node == platform.node()
    assert re.search(problem, str(error))


def test_a_machine_that_cannot_do_the_work_is_named(folder: Path, address: str) -> None:
    job = a_job(places=((Path("in/none.png"), Path("out/none.png")),))
    task = replace(planned_tasks()[0], number=1)
    with pytest.raises(InputError, match=rf"^the worker on {platform.node()} cannot do the work: it cannot"):
        next(Driver(address, job, lambda event: None).outcomes([task]))


def planned_tasks() -> tuple[Task, ...]:
    return upscale_files(["in"], "out", model="nearest", scale=2, recursive=True, dry_run=True).plan.tasks


GB = 2**30


@pytest.mark.parametrize(
    ("nodes", "on_cpu", "expected"),
    [
        ([{"CPU": 4.0, "memory": 8 * GB}], False, ({"num_cpus": 1, "memory": 2 * GB}, 4)),
        ([{"CPU": 4.0, "memory": 5 * GB}, {"CPU": 1.0, "memory": 9 * GB}], False, ({"memory": 2 * GB}, 3)),
        (
            [{"CPU": 8.0, "GPU": 2.0, "memory": 64 * GB}, {"CPU": 64.0, "memory": 9 * GB}],
            False,
            ({"num_gpus": 1}, 2),
        ),
        ([{"CPU": 8.0, "GPU": 2.0, "memory": 64 * GB}], True, ({"num_cpus": 1}, 8)),
        ([{"CPU": 2.0, "memory": 1 * GB}], False, ({"num_cpus": 1}, 2)),
        ([{"memory": 64 * GB}], False, ({}, 0)),
    ],
)
def test_shares(nodes: list[dict[str, float]], on_cpu: bool, expected: tuple[dict[str, Any], int]) -> None:
    options, workers = shares(nodes, 2 * GB, on_cpu=on_cpu)
    assert workers == expected[1]
    assert options.items() >= expected[0].items()
    assert ("memory" in options) == any(node.get("memory", 0) >= 2 * GB and workers for node in nodes)


def test_a_dry_run_needs_no_cluster(folder: Path) -> None:
    heard, report = run("out", "127.0.0.1:1", dry_run=True)
    assert sum(isinstance(event, Planned) for event in heard) == len(report.plan.tasks) == 24
    assert not Path("out").exists()


def test_streams_are_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="a cluster cannot use standard input and output"):
        upscale_files(["in/0/0.png"], "-", model="nearest", scale=2, cluster="local")
