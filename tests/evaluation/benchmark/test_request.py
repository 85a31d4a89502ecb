from pathlib import Path

import pytest
import torch
from PIL import Image

from esc_cli.errors import UsageError
from esc_cli.evaluation.benchmark.candidates import REFERENCE, NetworkSource
from esc_cli.evaluation.benchmark.request import (
    BenchmarkRequest,
    low_size,
    requested_tasks,
    requested_ways,
)

CPU = torch.device("cpu")


def request(**changes: object) -> BenchmarkRequest:
    return BenchmarkRequest(**{"sources": [NetworkSource("nearest", 2)], "sizes": ["4x6"], **changes})  # type: ignore[arg-type]


def test_every_combination_once_after_the_reference() -> None:
    asked = request(
        attentions=["naive", "sdpa"],
        precisions=["float32", "bfloat16"],
        tilings=["none", "exact"],
        runtimes=["torch"],
    )
    ways = requested_ways(asked, CPU)
    assert ways[0] == REFERENCE
    assert len(ways) == len(set(ways)) == 8


def test_without_a_word_the_precisions_are_those_of_the_device() -> None:
    assert {way.precision for way in requested_ways(request(), CPU)} == {"float32", "bfloat16"}
    assert "float16" in {way.precision for way in requested_ways(request(), torch.device("cuda"))}


@pytest.mark.parametrize(
    ("kind", "plural"),
    [
        ("attention", "attentions"),
        ("precision", "precisions"),
        ("tiling", "tilings"),
        ("runtime", "runtimes"),
    ],
)
def test_unknown_names(kind: str, plural: str) -> None:
    with pytest.raises(UsageError, match=f"no {kind} 'nonsense'") as error:
        requested_ways(request(**{plural: ["auto", "nonsense"]}), CPU)
    assert "auto" in str(error.value.hint)


def test_sizes() -> None:
    # Source: the papers measure at 1280x720, with low-resolution pictures of 1280//s x 720//s.
    assert [low_size("hd", scale) for scale in (2, 3, 4)] == [(360, 640), (240, 426), (180, 320)]
    assert low_size("48x64", 2) == (48, 64)


@pytest.mark.parametrize("size", ["", "48", "x48", "0x4", "4x-1", "4x4x4", "HD", "1e3x4"])
def test_what_is_no_size(size: str) -> None:
    with pytest.raises(UsageError, match="not a size"):
        low_size(size, 2)


def test_tasks_are_networks_by_sizes(tmp_path: Path) -> None:
    Image.new("RGB", (9, 5), (255, 255, 255)).save(tmp_path / "white.png")
    sources = [NetworkSource("nearest", 2), NetworkSource("nearest", 4)]
    tasks = requested_tasks(
        request(sources=sources, sizes=["4x6", "hd", "4x6"], picture=tmp_path / "white.png")
    )
    assert [(task.source, task.size) for task in tasks] == [
        (sources[0], (4, 6)),
        (sources[0], (360, 640)),
        (sources[1], (4, 6)),
        (sources[1], (180, 320)),
    ]
    assert tasks[0].low.min() == 1
