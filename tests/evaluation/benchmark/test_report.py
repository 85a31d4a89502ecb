import pytest

from esc_cli.errors import DeviceError
from esc_cli.evaluation.benchmark.candidates import REFERENCE, Settings
from esc_cli.evaluation.benchmark.report import BenchmarkReport, Measured, Row, Workload, flatness
from esc_cli.evaluation.benchmark.timing import Timing

FAST = Settings(precision="bfloat16")


def row(settings: Settings, *rounds_s: float) -> Row:
    if not rounds_s:
        return Row(settings, DeviceError("cannot"))
    return Row(settings, Measured(settings, (), Timing(rounds_s), None, 1.0, None, None))


def work(height: int, width: int, *rows: Row) -> Workload:
    return Workload("esc", 4, height, width, 1, 1, rows)


def report(*workloads: Workload) -> BenchmarkReport:
    return BenchmarkReport("cpu", "", 1, "2", 1, 3, Timing((1.0,)), 2048, None, workloads)


def test_the_fastest_is_by_median() -> None:
    rows = (row(REFERENCE, 3, 3, 3), row(FAST, 2, 2, 100), row(Settings()))
    assert work(8, 8, *rows).fastest is rows[1].outcome
    assert work(8, 8, row(REFERENCE)).fastest is None


def test_flatness_compares_the_sizes_of_one_way() -> None:
    found = flatness(
        report(
            work(500, 1000, row(REFERENCE, 1.0), row(FAST, 0.5)),
            work(1000, 1000, row(REFERENCE), row(FAST, 1.25)),
        )
    )
    assert [flat.settings for flat in found] == [FAST]
    assert found[0].seconds == pytest.approx({(500, 1000): 1.0, (1000, 1000): 1.25})
    assert found[0].spread == pytest.approx(1.25)
