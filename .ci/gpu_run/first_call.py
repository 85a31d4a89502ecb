"""Call A: check that everything works on this device, and find the fastest variant of the training step."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from call import Call, Event, Stage, failures
from settings import Settings

FIRST = "plain"
VARIANTS = (FIRST, "graph", "compiled", "recorded", "tuned")
"""The plain training step, then the faster variants. The most promising come first, in case time runs out."""

COMPILING = "compiling"
"""Stage that compiles in parallel with others. Its times are therefore meaningless."""

LARGEST_LOSS_CHANGE = 0.01
NEEDED = ("decoding", "gradients", "exactness: float32", "exactness: bfloat16")
"""Stages that must succeed before a run makes sense. Failures of other stages are reported and ignored."""

SECONDS = 150.0


def run_first_call(settings: Settings, seconds: float, out: Path) -> bool:
    """Run all stages and report GO with the variant, or NO-GO with the reasons; return whether it is GO.

    Stages that measure no time run in parallel. The blocks are compiled at the same time, and the variants
    find the compiled blocks in the cache on disk. The time limits of the stages add up to more than the call
    may last: each limit is only meant to stop a stage that hangs.
    """
    with Call("a", seconds, out, settings) as call:
        variant, reasons = decide(run_stages(call, settings))
        call.say(verdict="GO" if variant else "NO-GO", variant=variant, reasons=reasons)
    return variant is not None


def run_stages(call: Call, settings: Settings) -> list[Event]:
    """Run the stages in order."""
    with ThreadPoolExecutor(1) as beside:
        compiling = beside.submit(call.run, Stage("variant", 90, ("compiled", "2"), label=COMPILING))
        events = call.run(Stage("environment", 30), Stage("decoding", 45))
        events += call.run(Stage("exactness", 60), Stage("gradients", 45), Stage("tests", 60))
        events += compiling.result()
    for name in VARIANTS:
        events += call.run(Stage("variant", 60, (name, str(settings.steps)), label=f"variant {name}"))
    return events + call.run(Stage("operations", 45))


def decide(events: Sequence[Event]) -> tuple[str | None, list[str]]:
    """Choose the fastest variant whose loss is within one percent of the plain variant's loss.

    Returns:
        The name of the variant, or None if a needed stage failed; and all failures, of needed stages or not.
    """
    reasons = [f"{event['stage']}: {event['check']}" for event in events if event.get("ok") is False]
    reasons += [f"{stage}: {why}" for stage, why in failures(events).items()]
    steps = {one["variant"]: one for one in events if "ms_a_step" in one and one["stage"] != COMPILING}
    if FIRST not in steps or any(one.startswith(NEEDED) for one in reasons):
        return None, reasons
    loss = steps[FIRST]["loss"]
    alike = [one for one in steps.values() if abs(one["loss"] - loss) <= LARGEST_LOSS_CHANGE * loss]
    fastest = min(alike, key=lambda one: one["ms_a_step"], default={"variant": None})  # a loss may be NaN
    return fastest["variant"], reasons
