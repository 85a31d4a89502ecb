"""An upscaler is tuned with a real network on this machine, and with figures that were kept."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.engine.attention_choice import choose_attention
from esc_cli.engine.device import has_fast_bfloat16
from esc_cli.engine.executors import torch_executor
from esc_cli.engine.executors.base import Executor, Runtime
from esc_cli.engine.executors.registry import MODULES
from esc_cli.engine.tuning import trials
from esc_cli.engine.tuning.candidates import Candidate, candidates
from esc_cli.engine.tuning.figures import Amount, Figures, runtime_key
from esc_cli.engine.tuning.race import Race, Timing, race
from esc_cli.engine.tuning.store import Store
from esc_cli.engine.tuning.trials import Bench, shortened
from esc_cli.engine.tuning.tuner import Tuner
from esc_cli.engine.upscaler import MEASURED, USUAL, Upscaler
from esc_cli.networks.architectures.esc import ESCConfig
from esc_cli.networks.architectures.registry import build_network
from esc_cli.networks.attention.windows import ATTENTION_BACKENDS, AttentionBackend

CPU = torch.device("cpu")
SMALL, LARGE, HUGE = Amount(), Amount(10**6, 10**6, (1000, 1000)), Amount(10**8, 10**8, (64, 64))
USUAL_ATTENTION = choose_attention("auto", CPU, torch.bfloat16).name
fast_bfloat16 = pytest.mark.skipif(
    not has_fast_bfloat16(torch.cpu.get_capabilities()), reason="there is one candidate on this processor"
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test an empty cache. Return the folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "esc-upscale"


def kept(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("*"))]


def keep(checkpoint: Checkpoint, figures: Figures) -> None:
    store = Store.here()
    store.keep(Bench(checkpoint, CPU, store).key, figures)


def figures_with(fastest: Candidate) -> Figures:
    """Return figures of all candidates for tests, of which one is certainly the fastest."""
    usual = Candidate(torch.bfloat16, "blocked")
    names = [one.name for one in candidates(usual, CPU, any_precision=True, any_attention=True)]
    return Figures({name: Timing(0, (0.1 if name == fastest.name else 0.2,) * 5) for name in names})


def test_candidates_say_where_they_can_run() -> None:
    usual = Candidate(torch.float16, "sdpa")
    on_a_gpu = candidates(usual, torch.device("cuda"), any_precision=True, any_attention=True)
    assert on_a_gpu[0] == usual
    assert Candidate(torch.float32, "sdpa") in on_a_gpu
    assert Candidate(torch.bfloat16, "blocked") not in on_a_gpu
    only = Candidate(torch.float32, "naive")
    assert candidates(only, CPU, any_precision=False, any_attention=False) == (only,)


@fast_bfloat16
def test_on_a_cpu_bfloat16_is_the_only_half_precision() -> None:
    found = candidates(Candidate(torch.bfloat16, "blocked"), CPU, any_precision=True, any_attention=True)
    assert found == (
        Candidate(torch.bfloat16, "blocked"),
        Candidate(torch.bfloat16, "sdpa"),
        Candidate(torch.float32, "sdpa"),
    )


def test_the_first_of_equal_blocks_stands_for_all() -> None:
    config = ESCConfig(2, dim=16, heads=1, blocks=3, mixers=2, window_size=8, hidden_dim=16)
    network = build_network(config).eval()
    whole = Checkpoint(network, config, 2, "test", "test", "made by a test", "digest")
    part = shortened(whole)
    assert part.config == dataclasses.replace(config, blocks=1)
    weights = network.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in part.network.state_dict().items())
    assert shortened(part) is part
    baseline = Upscaler("nearest", device="cpu")
    assert baseline.tuned(HUGE, anew=True) is baseline


@fast_bfloat16
def test_a_small_job_is_not_measured(tiny_esc: Checkpoint, cache: Path) -> None:
    upscaler = Upscaler(tiny_esc, device="cpu")
    assert upscaler.tuned(SMALL) is upscaler
    assert upscaler.measured == ()
    assert kept(cache) == []


@fast_bfloat16
def test_a_large_job_is_measured_once(tiny_esc: Checkpoint, cache: Path) -> None:
    tuned = Upscaler(tiny_esc, device="cpu", runtime="torch").tuned(LARGE)
    assert tuned.measured[0].startswith("measured on a block of the network with 64x64 pixels: bfloat16 with")
    assert "float32 with sdpa" in tuned.measured[0]
    assert tuned.attention_reason in (MEASURED, USUAL)
    assert tuned.precision_reason.startswith(tuned.attention_reason)
    content = kept(cache)
    later = Upscaler(tiny_esc, device="cpu", runtime="torch")
    assert (later.precision, later.attention, later.measured) == (
        tuned.precision,
        tuned.attention,
        tuned.measured,
    )
    assert later.tuned(LARGE) is later
    assert kept(cache) == content
    later.tuned(SMALL, anew=True)
    assert kept(cache) != content


@fast_bfloat16
@pytest.mark.parametrize(
    "fastest",
    [
        Candidate(torch.float32, "sdpa"),
        Candidate(torch.bfloat16, "sdpa"),
        Candidate(torch.bfloat16, "blocked"),
    ],
)
def test_what_was_measured_earlier_counts_for_any_job(tiny_esc: Checkpoint, fastest: Candidate) -> None:
    keep(tiny_esc, figures_with(fastest))
    upscaler = Upscaler(tiny_esc, device="cpu")
    assert Candidate(upscaler.precision, upscaler.attention) == fastest
    is_usual = fastest == Candidate(torch.bfloat16, USUAL_ATTENTION)
    assert upscaler.attention_reason == (USUAL if is_usual else MEASURED)
    assert upscaler.precision_for(torch.uint16) == torch.float32
    low = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    chosen = {"precision": str(fastest.dtype).removeprefix("torch."), "attention": fastest.attention}
    asked = Upscaler(tiny_esc, device="cpu", **chosen)  # type: ignore[arg-type]
    assert torch.equal(upscaler(low), asked(low))


@fast_bfloat16
def test_what_the_user_asks_for_is_not_changed(tiny_esc: Checkpoint, cache: Path) -> None:
    keep(tiny_esc, figures_with(Candidate(torch.float32, "sdpa")))
    half = Upscaler(tiny_esc, device="cpu", precision="bfloat16")
    assert (half.precision, half.precision_reason) == (torch.bfloat16, "asked for")
    blocked = Upscaler(tiny_esc, device="cpu", precision="bfloat16", attention="blocked").tuned(LARGE)
    assert (blocked.attention, blocked.attention_reason) == ("blocked", "asked for")
    other = Upscaler(tiny_esc, device="cpu", attention="naive")
    assert (other.attention, other.attention_reason) == ("naive", "asked for")


@fast_bfloat16
def test_nothing_is_measured_where_nothing_can_be_kept(
    tiny_esc: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    upscaler = Upscaler(tiny_esc, device="cpu", runtime="torch")
    assert upscaler.tuned(LARGE) is upscaler
    assert upscaler.tuned(SMALL, anew=True).measured  # the user asks for it


@fast_bfloat16
def test_of_two_processes_that_measure_at_once_the_first_counts(
    tiny_esc: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = figures_with(Candidate(torch.float32, "sdpa"))

    def meanwhile(*arguments: Any, **options: Any) -> Race:
        keep(tiny_esc, theirs)
        return race(*arguments, **options)

    monkeypatch.setattr(trials, "race", meanwhile)
    tuned = Upscaler(tiny_esc, device="cpu", runtime="torch").tuned(LARGE)
    assert (tuned.precision, tuned.attention) == (torch.float32, "sdpa")
    assert Store.here().recall(Bench(tiny_esc, CPU).key) == theirs


def _fail(query: Tensor, key: Tensor, value: Tensor, bias: object) -> Tensor:
    raise RuntimeError("this kernel is broken")


@fast_bfloat16
def test_a_candidate_that_fails_in_the_trial_is_left_out_and_said(
    tiny_esc: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    upscaler = Upscaler(tiny_esc, device="cpu", runtime="torch")
    broken, other = ("blocked", "sdpa") if USUAL_ATTENTION == "blocked" else ("sdpa", "blocked")
    assert upscaler.attention == broken
    monkeypatch.setitem(ATTENTION_BACKENDS, broken, AttentionBackend(_fail))
    tuned = upscaler.tuned(LARGE)
    assert tuned.attention == other
    assert any(f"left out: bfloat16 with {broken} failed: " in line for line in tuned.measured)
    assert "this kernel is broken" in tuned.measured[1]
    assert tuned(torch.zeros(1, 3, 8, 8, dtype=torch.uint8)).shape == (1, 3, 16, 16)


class Toy(torch_executor.TorchRuntime):
    """A runtime that claims to save years. Its executors are those of torch, or cannot be made."""

    name = "toy"
    title = "The toy"
    is_broken = False
    made = 0

    def saved_s(self, network: nn.Module, dtype: torch.dtype, job_px: int) -> float:
        return 1e9 if job_px > 10**6 else 0.0

    def executor(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, attention: str
    ) -> Executor:
        Toy.made += 1
        if self.is_broken:
            raise RuntimeError("it wants another driver")
        made = super().executor(checkpoint, device, dtype, attention)
        made.runtime = self
        return made


RUNTIME: Runtime = Toy()


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> type[Toy]:
    """Make the toy the only other runtime."""
    for name in ("openvino", "onnx"):
        monkeypatch.delitem(MODULES, name)
    monkeypatch.setitem(MODULES, "toy", __name__)
    monkeypatch.setattr(Toy, "made", 0)
    return Toy


def run(upscaler: Upscaler, job_px: int) -> str:
    return upscaler.run(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), job_px=job_px).ways[0]


def test_a_runtime_is_measured_only_if_it_may_pay(tiny_esc: Checkpoint, toy: type[Toy]) -> None:
    upscaler = Upscaler(tiny_esc, device="cpu", precision="float32")
    assert upscaler.tuned(LARGE).measured == ()
    assert toy.made == 0
    tuned = upscaler.tuned(HUGE)
    assert toy.made == 1
    assert "toy in float32" in tuned.measured[-1]
    assert "after a start of" in tuned.measured[-1]
    assert tuned.tuned(HUGE) is tuned
    forced = Upscaler(tiny_esc, device="cpu", precision="float32", runtime="torch")
    assert forced.tuned(HUGE).measured == tuned.measured  # which are known, but do not count
    assert toy.made == 1


def test_the_measured_start_of_a_runtime_counts(tiny_esc: Checkpoint, toy: type[Toy]) -> None:
    timings = {
        runtime_key("torch", torch.float32): Timing(0, (2.0,) * 3),
        runtime_key("toy", torch.float32): Timing(30, (1.0,) * 3),
    }
    keep(tiny_esc, Figures({}, timings, {}, 10**6))
    upscaler = Upscaler(tiny_esc, device="cpu", precision="float32")
    assert "by The toy" not in run(upscaler, 29 * 10**6)
    assert "by The toy" in run(upscaler, 31 * 10**6)


@pytest.mark.parametrize(("suits", "expected"), [(True, torch.float32), (False, torch.bfloat16)])
def test_only_runtimes_that_can_do_the_job_count(
    tiny_esc: Checkpoint, toy: type[Toy], suits: bool, expected: torch.dtype
) -> None:
    """Float32 is slower with torch, so it is worth choosing only if the faster runtime may run."""
    timings = {
        runtime_key("torch", torch.bfloat16): Timing(0, (1.0,) * 3),
        runtime_key("torch", torch.float32): Timing(0, (1.3,) * 3),
        runtime_key("toy", torch.float32): Timing(0, (0.2,) * 3),
    }
    usual, other = Candidate(torch.bfloat16, "sdpa"), Candidate(torch.float32, "sdpa")
    candidate_times = {usual.name: Timing(0, (1.0,) * 3), other.name: Timing(0, (1.3,) * 3)}
    figures, asked = Figures(candidate_times, timings, {}, 10**6), list[tuple[str, tuple[int, int]]]()

    def answer(runtime: Runtime, size: tuple[int, int]) -> bool:
        asked.append((runtime.name, size))
        return suits

    tuner = Tuner(usual, (usual, other), Bench(tiny_esc, CPU), answer)
    assert tuner.best(figures, LARGE).dtype == expected
    assert asked == [("toy", LARGE.size)]
    assert dataclasses.replace(tuner, suits=None).best(figures, LARGE) == usual


def test_a_runtime_that_fails_in_the_trial_is_not_used(
    tiny_esc: Checkpoint, toy: type[Toy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toy, "is_broken", True)
    tuned = Upscaler(tiny_esc, device="cpu", precision="float32").tuned(HUGE)
    assert tuned.measured[-1] == "left out: toy in float32 failed: it wants another driver"
    assert "by The toy" not in run(tuned, HUGE.same_px)


def test_trials_are_short() -> None:
    """A trial is of 64x64 pixels, and a job from which it may pay is at least 64 times as large."""
    assert trials.WORTHWHILE_PX["cpu"] >= 64 * trials._PART_PX**2
