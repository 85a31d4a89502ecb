"""What follows from figures, with those that were seen on a Xeon with AMX and on an EPYC."""

import torch

from esc_cli.engine.tuning.candidates import Candidate
from esc_cli.engine.tuning.figures import Amount, Figures, runtime_key
from esc_cli.engine.tuning.race import Timing

USUAL = Candidate(torch.bfloat16, "blocked")
SDPA = Candidate(torch.bfloat16, "sdpa")
FLOAT32 = Candidate(torch.float32, "sdpa")
ALL = (USUAL, SDPA, FLOAT32)
RIVALS = ["openvino", "onnx"]


def timed(*times_ms: tuple[float, ...]) -> dict[str, Timing]:
    """Return the times of all candidates, in the order of ``ALL``."""
    return {
        one.name: Timing(0.1, tuple(time_ms / 1e3 for time_ms in row))
        for one, row in zip(ALL, times_ms, strict=True)
    }


def of_runtimes(**times_ms: tuple[float, float]) -> Figures:
    """Return figures of torch and OpenVINO on 128x128 pixels: start in seconds, then a run in ms."""
    keys = {
        "torch32": runtime_key("torch", torch.float32),
        "torch16": runtime_key("torch", torch.bfloat16),
        "openvino32": runtime_key("openvino", torch.float32),
        "openvino16": runtime_key("openvino", torch.bfloat16),
    }
    timings = {
        keys[name]: Timing(start_s, (run_ms / 1e3,) * 3) for name, (start_s, run_ms) in times_ms.items()
    }
    candidates = timed((90.0,) * 5, (60.0,) * 5, (100.0,) * 5)
    return Figures(candidates, timings, {}, 128 * 128)


AMX = of_runtimes(torch32=(0.1, 1012), torch16=(0.1, 934), openvino32=(19, 680), openvino16=(19, 1309))
EPYC = of_runtimes(torch32=(0.1, 621), torch16=(0.1, 455), openvino32=(5, 488), openvino16=(5, 311))


def test_without_figures_it_is_the_usual_choice() -> None:
    assert Figures().fastest(USUAL, ALL) == USUAL
    assert Figures().best(USUAL, ALL, Amount(10**9, 10**9), RIVALS) == USUAL
    assert Figures().saved_s("openvino", torch.float32, 10**9) is None


def test_the_fastest_is_taken_if_it_wins_every_round() -> None:
    busy = timed((917, 1704, 1100, 950, 1300), (641, 934, 700, 650, 800), (1012, 1500, 1200, 990, 1400))
    assert Figures(busy).fastest(USUAL, ALL) == SDPA


def test_noise_does_not_change_the_usual_choice() -> None:
    nearly = timed((100.0,) * 5, (96.0,) * 5, (120.0,) * 5)
    assert Figures(nearly).fastest(USUAL, ALL) == USUAL
    one_round_is_lost = timed((380, 390, 400, 250, 385), (238, 240, 250, 245, 241), (405, 405, 405, 405, 405))
    assert Figures(one_round_is_lost).fastest(USUAL, ALL) == USUAL


def test_of_those_that_win_the_shortest_time_counts() -> None:
    assert Figures(timed((100.0,) * 5, (80.0,) * 5, (70.0,) * 5)).fastest(USUAL, ALL) == FLOAT32


def test_if_the_usual_choice_fails_another_is_taken() -> None:
    candidates = timed((1.0,), (80.0,) * 5, (70.0,) * 5)
    del candidates[USUAL.name]
    figures = Figures(candidates, failed={USUAL.name: "no kernel"})
    assert figures.fastest(USUAL, ALL) == FLOAT32
    assert figures.knows([one.name for one in ALL])
    assert Figures({}, failed={one.name: "no kernel" for one in ALL}).fastest(USUAL, ALL) == USUAL


def test_each_precision_has_its_fastest() -> None:
    assert AMX.fastest_of_each(USUAL, ALL) == (SDPA, FLOAT32)


def test_a_runtime_is_worth_its_measured_start() -> None:
    saved_s = AMX.saved_s("openvino", torch.float32, 10**6)
    assert saved_s is not None
    assert abs(saved_s - (10**6 / 128**2 * 0.332 - 19)) < 1e-6
    assert (AMX.saved_s("openvino", torch.bfloat16, 10**9) or 0) < 0


def test_a_runtime_that_failed_saves_nothing() -> None:
    failed = {runtime_key("openvino", torch.float32): "no memory"}
    assert Figures(failed=failed).saved_s("openvino", torch.float32, 10**9) == float("-inf")
    assert Figures(failed=failed).has_runtime("openvino", torch.float32)


def test_a_long_job_takes_the_precision_in_which_another_runtime_is_the_fastest() -> None:
    assert AMX.best(USUAL, ALL, Amount(10**5, 10**5), RIVALS) == SDPA
    assert AMX.best(USUAL, ALL, Amount(10**8, 10**8), RIVALS) == FLOAT32
    assert AMX.best(USUAL, ALL, Amount(10**8, 10**8), []) == SDPA  # the user asked for torch
    assert AMX.best(USUAL, ALL, Amount(10**8, 10**5), RIVALS) == SDPA  # pictures of many sizes
    assert EPYC.best(USUAL, ALL, Amount(10**8, 10**8), RIVALS) == SDPA


def test_figures_are_told_in_words() -> None:
    figures = Figures(AMX.candidates, EPYC.runtimes, {"float16 with flash": "no kernel"}, 128**2)
    assert figures.in_words("a block", "the network") == (
        "measured on a block: bfloat16 with blocked 90.0 ms, bfloat16 with sdpa 60.0 ms, "
        "float32 with sdpa 100.0 ms",
        "measured on the network: torch in float32 621 ms, torch in bfloat16 455 ms, "
        "openvino in float32 488 ms after a start of 5.0 s, "
        "openvino in bfloat16 311 ms after a start of 5.0 s",
        "left out: float16 with flash failed: no kernel",
    )


def test_figures_survive_a_file() -> None:
    assert Figures.from_json(AMX.as_json()) == AMX
