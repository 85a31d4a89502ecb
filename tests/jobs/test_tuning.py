"""A run measures how its network runs fastest, tells it, and records what was chosen for each result."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from esc_cli.checkpoints.checkpoint import load_checkpoint
from esc_cli.engine.attention_choice import choose_attention
from esc_cli.engine.device import has_fast_bfloat16
from esc_cli.engine.tuning.figures import Figures
from esc_cli.engine.tuning.race import Timing
from esc_cli.engine.tuning.store import Store
from esc_cli.engine.tuning.trials import Bench
from esc_cli.jobs.events import Done, Engine, Event, Skipped
from esc_cli.jobs.record import record_path
from esc_cli.jobs.upscale import upscale_files

Save = Callable[..., Path]
MODEL = "esc-light"
USUAL_ATTENTION = choose_attention("auto", torch.device("cpu"), torch.bfloat16).name
fast_bfloat16 = pytest.mark.skipif(
    not has_fast_bfloat16(torch.cpu.get_capabilities()), reason="there is one candidate on this processor"
)


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def run(**options: Any) -> list[Event]:
    heard: list[Event] = []
    upscale_files(["in.png"], listener=heard.append, model=MODEL, scale=2, device="cpu", **options)
    return heard


def engine_of(events: list[Event]) -> Engine:
    (engine,) = (event for event in events if isinstance(event, Engine))
    return engine


def chosen_for(target: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(record_path(Path(target)).read_bytes())["chosen"]
    return content


def keep(fastest: str) -> None:
    """Keep figures of a network with which one candidate is certainly the fastest."""
    names = ("bfloat16 with blocked", "bfloat16 with sdpa", "float32 with sdpa")
    timings = {name: Timing(0, (0.1 if name == fastest else 0.2,) * 5) for name in names}
    store = Store.here()
    store.keep(Bench(load_checkpoint(MODEL, 2), torch.device("cpu"), store).key, Figures(timings))


@fast_bfloat16
def test_a_small_job_is_measured_only_if_the_user_asks(save: Save) -> None:
    save("in.png")
    assert engine_of(run()).measured == ()
    assert chosen_for("in_x2.png")["attention"] == USUAL_ATTENTION
    (line,) = engine_of(run(retune=True, when_there="overwrite", tta=True)).measured
    part = "a block of the network with 64x64 pixels"
    assert line.startswith(f"measured on {part}: bfloat16 with {USUAL_ATTENTION} ")


@fast_bfloat16
def test_another_measurement_leaves_results_up_to_date(save: Save) -> None:
    save("in.png")
    keep("float32 with sdpa")
    engine = engine_of(run())
    assert (engine.precision, engine.attention) == ("float32", "sdpa")
    assert "float32 with sdpa 100.0 ms" in engine.measured[0]
    assert chosen_for("in_x2.png") == {
        "device": "cpu",
        "precision": "float32",
        "attention": "sdpa",
        "ways": ["the whole picture at once"],
    }
    keep("bfloat16 with sdpa")
    for options in ({}, {"retune": True}):
        events = run(**options)
        assert [event.reason for event in events if isinstance(event, Skipped)] == ["up to date"]
        assert not [event for event in events if isinstance(event, Engine | Done)]
    assert chosen_for("in_x2.png")["precision"] == "float32"


@fast_bfloat16
def test_a_picture_of_16_bits_stays_in_float32(save: Save) -> None:
    save("in.png", mode="I;16")
    keep("bfloat16 with sdpa")
    run()
    assert chosen_for("in_x2.png")["precision"] == "float32"


def test_a_baseline_is_recorded_too(save: Save) -> None:
    save("in.png")
    upscale_files(["in.png"], model="nearest", scale=2, device="cpu", retune=True)
    assert chosen_for("in_x2.png")["precision"] == "float32"
    save("in.png")
    upscale_files(["in.png"], model="nearest", size="100%", device="cpu", output="same.png")
    assert chosen_for("same.png") == {}


def test_the_record_of_a_clip_says_how_its_frames_were_run(save: Save) -> None:
    save("1.png"), save("2.png")
    options = {"model": "nearest", "scale": 2, "device": "cpu"}
    upscale_files(["%d.png"], "clip.mkv", fps="10", **options)
    upscale_files(["clip.mkv"], "out.mkv", **options)
    assert chosen_for("out.mkv")["ways"] == ["the whole picture at once"]
