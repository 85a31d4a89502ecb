from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from esc_cli.errors import EscError
from esc_cli.evaluation.benchmark.benchmark import benchmark
from esc_cli.evaluation.benchmark.candidates import REFERENCE, NetworkSource, Settings
from esc_cli.evaluation.benchmark.report import Measured
from esc_cli.evaluation.benchmark.request import BenchmarkRequest
from esc_cli.networks.architectures.esc import ESCConfig
from esc_cli.networks.architectures.registry import build_network

TINY = ESCConfig(
    2, dim=16, partial_dim=4, heads=1, blocks=1, mixers=1, window_size=16, first_hidden_dim=16, hidden_dim=16
)


def test_each_way_is_measured_beside_the_reference(tmp_path: Path) -> None:
    network = build_network(TINY)
    save_file(network.state_dict(), tmp_path / "tiny.safetensors")
    steps: list[tuple[int, int]] = []
    report = benchmark(
        BenchmarkRequest(
            [NetworkSource(str(tmp_path / "tiny.safetensors"))],
            ["20x33"],
            precisions=["bfloat16"],
            runtimes=["torch"],
            device="cpu",
            rounds=2,
        ),
        lambda done, total: steps.append((done, total)),
    )
    total = 2 + 3 * (1 + 2)  # two ways are prepared; they and the matrix product run in three rounds
    assert steps == [(done, total) for done in range(1, total + 1)]
    (work,) = report.workloads
    assert (work.model, work.scale, work.height, work.width) == ("tiny.safetensors", 2, 20, 33)
    assert work.parameters == sum(weights.numel() for weights in network.parameters())
    assert [row.settings for row in work.rows] == [REFERENCE, Settings(precision="bfloat16", runtime="torch")]
    plain, half = (row.outcome for row in work.rows)
    assert isinstance(plain, Measured)
    assert isinstance(half, Measured)
    assert plain.speedup == 1
    assert half.speedup == plain.timing.multiple_of(half.timing)
    assert half.matmuls == half.timing.multiple_of(report.matmul)
    assert half.chosen.precision == "bfloat16"
    assert len(half.tiling) == 1
    assert plain.deviation is not None
    assert half.deviation is not None
    assert plain.deviation.largest < 1e-5 < half.deviation.largest < 0.1
    if report.idle_bytes is not None:
        assert plain.peak_bytes is not None
        assert plain.peak_bytes > report.idle_bytes


def test_what_cannot_run_is_told_in_its_row(tmp_path: Path) -> None:
    state = build_network(TINY).state_dict()
    state["to_img.bias"] = torch.full_like(state["to_img.bias"], torch.nan)
    save_file(state, tmp_path / "nan.safetensors")
    request = BenchmarkRequest(
        [NetworkSource(str(tmp_path / "nan.safetensors"))],
        ["16x16"],
        attentions=["naive"],
        precisions=["float32"],
        tilings=["none"],
        runtimes=["torch"],
        device="cpu",
        rounds=1,
    )
    (row,) = benchmark(request).workloads[0].rows
    assert isinstance(row.outcome, EscError)
    assert "not finite" in row.outcome.message


@pytest.mark.cuda
def test_on_cuda(tmp_path: Path) -> None:
    save_file(build_network(TINY).state_dict(), tmp_path / "tiny.safetensors")
    report = benchmark(
        BenchmarkRequest(
            [NetworkSource(str(tmp_path / "tiny.safetensors"))],
            ["20x33"],
            precisions=["float16"],
            device="cuda",
            rounds=2,
        )
    )
    outcomes = [row.outcome for row in report.workloads[0].rows]
    assert report.device_name
    assert report.idle_bytes is None
    for outcome in outcomes:
        assert isinstance(outcome, Measured)
        assert outcome.peak_bytes is not None
        assert outcome.peak_bytes > 0
