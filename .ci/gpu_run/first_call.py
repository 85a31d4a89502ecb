"""Call A: is all of it right on this device, and which way of training is the fastest?"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from call import Call, Event, Stage, failures
from settings import Settings

FIRST = "plain"
VARIANTS = (FIRST, "graph", "compiled", "recorded", "tuned")
"""The training step as written, and with what should make it faster: most of it first, if time runs out."""

COMPILING = "compiling"
"""The stage that compiles beside others, so that its times say nothing."""

LARGEST_LOSS_CHANGE = 0.01
NEEDED = ("decoding", "gradients", "exactness: float32", "exactness: bfloat16")
"""Stages without which a run makes no sense. Other stages may fail: that is reported and stops nothing."""

SECONDS = 150.0


def run_first_call(settings: Settings, seconds: float, out: Path) -> bool:
    """Run all stages and say GO and the variant, or NO-GO and why; True for GO.

    What measures no time runs beside something else, and the blocks are compiled there, too: the variants
    find them on the disk. The limits add up to more than there is, for the case that one stage hangs.
    """
    with Call("a", seconds, out, settings) as call:
        variant, reasons = decide(run_stages(call, settings))
        call.say(verdict="GO" if variant else "NO-GO", variant=variant, reasons=reasons)
    return variant is not None


def run_stages(call: Call, settings: Settings) -> list[Event]:
    """Run the stages in their order."""
    with ThreadPoolExecutor(1) as beside:
        compiling = beside.submit(call.run, Stage("variant", 90, ("compiled", "2"), label=COMPILING))
        events = call.run(Stage("environment", 30), Stage("decoding", 45))
        events += call.run(Stage("exactness", 60), Stage("gradients", 45), Stage("tests", 60))
        events += compiling.result()
    for name in VARIANTS:
        events += call.run(Stage("variant", 60, (name, str(settings.steps)), label=f"variant {name}"))
    return events + call.run(Stage("operations", 45))


def decide(events: Sequence[Event]) -> tuple[str | None, list[str]]:
    """Choose the fastest variant whose loss is that of the first one, within a percent.

    Returns:
        Its name, or None if something needed went wrong; and what went wrong, needed or not.
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
