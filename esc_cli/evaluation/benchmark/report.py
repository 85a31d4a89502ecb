"""What a benchmark found out."""

from collections.abc import Mapping
from dataclasses import dataclass

from esc_cli.errors import EscError
from esc_cli.evaluation.benchmark.candidates import Settings
from esc_cli.evaluation.benchmark.deviation import Deviation
from esc_cli.evaluation.benchmark.timing import Timing


@dataclass(frozen=True)
class Measured:
    """What was measured of one way of running a network on one size of pictures.

    Attributes:
        chosen: What came of each ``auto`` that is decided on loading: of all but the tiling.
        tiling: How the picture was cut, and why, in words.
        timing: Of a whole picture, from the host's memory to the host's memory.
        speedup: How many times as fast as the reference: the median over the rounds; None if that failed.
        matmuls: How many matrix products take as long: the median over the rounds.
        peak_bytes: On the CPU of the whole process; on CUDA of the tensors on the device. Loading and the
            first run are included. None where the system does not say.
        deviation: From float64; None for large pictures.
    """

    chosen: Settings
    tiling: tuple[str, ...]
    timing: Timing
    speedup: float | None
    matmuls: float
    peak_bytes: int | None
    deviation: Deviation | None


@dataclass(frozen=True)
class Row:
    """A way of running a network.

    Attributes:
        settings: As asked for.
        outcome: What was measured, or why it cannot run here.
    """

    settings: Settings
    outcome: Measured | EscError


@dataclass(frozen=True)
class Workload:
    """A network and a size of pictures, and all ways of running it.

    Attributes:
        model: Its name, or the file's.
        scale: Pixels out per pixel in.
        height: Of the low-resolution picture, pixels.
        width: As ``height``.
        macs: Multiply-accumulates.
        parameters: Of the network.
        rows: The reference first.
    """

    model: str
    scale: int
    height: int
    width: int
    macs: int
    parameters: int
    rows: tuple[Row, ...]

    @property
    def fastest(self) -> Measured | None:
        """The one with the shortest median, if any could run."""
        ran = (row.outcome for row in self.rows if isinstance(row.outcome, Measured))
        return min(ran, key=lambda measured: measured.timing.median_s, default=None)


@dataclass(frozen=True)
class Report:
    """Everything that was measured.

    Attributes:
        device: Where.
        device_name: What its maker calls it; empty for the CPU.
        threads: That torch used on the CPU.
        torch_version: With what.
        warm_up: Rounds before the measured ones.
        rounds: Measured rounds.
        matmul: A float32 matrix product on the same device.
        matmul_side: Of its square matrices.
        idle_bytes: Peak memory of a process that only imported torch and this program; None where the rows'
            memory is not that of a process.
        workloads: By network, then by size.
    """

    device: str
    device_name: str
    threads: int
    torch_version: str
    warm_up: int
    rounds: int
    matmul: Timing
    matmul_side: int
    idle_bytes: int | None
    workloads: tuple[Workload, ...]


@dataclass(frozen=True)
class Flatness:
    """How the time of one way of running one network grows with the picture.

    Attributes:
        model: The network.
        scale: Pixels out per pixel in.
        settings: The way.
        seconds: For a million low-resolution pixels, by (height, width).
    """

    model: str
    scale: int
    settings: Settings
    seconds: Mapping[tuple[int, int], float]

    @property
    def spread(self) -> float:
        """The slowest size's by the fastest size's."""
        return max(self.seconds.values()) / min(self.seconds.values())


def flatness(report: Report) -> list[Flatness]:
    """Compare the sizes, where a network ran in one way on several."""
    found: dict[tuple[str, int, Settings], dict[tuple[int, int], float]] = {}
    for work in report.workloads:
        for row in work.rows:
            if isinstance(row.outcome, Measured):
                seconds = row.outcome.timing.median_s / (work.height * work.width) * 10**6
                by_size = found.setdefault((work.model, work.scale, row.settings), {})
                by_size[work.height, work.width] = seconds
    return [Flatness(*key, seconds) for key, seconds in found.items() if len(seconds) > 1]
