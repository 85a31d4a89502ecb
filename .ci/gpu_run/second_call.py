"""Call B: train ESC x2 from the shipped weights and ESC x4 from this x2, then measure the engine."""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from call import Call, Stage
from settings import Settings

BROUGHT_BACK = ("weights.safetensors", "config.json", "log.jsonl")
"""Files of each run that are brought back. With the call's own two files they are eight, the maximum."""

SAFE_VARIANT = "tuned"
SECONDS = 560.0
_LATENCY_S, _LONGEST_X4_S, _SHORTEST_X2_S, _SHORTEST_X4_S = 50.0, 130.0, 200.0, 45.0
_START_S = 25.0
"""Time that a run needs besides its steps: imports, loading pictures, compiling blocks, the last save."""


@dataclass(frozen=True)
class Plan:
    """Seconds that each part of the call may train or measure. ESC x4 gets none if time is short."""

    x2_s: float
    x4_s: float
    latency_s: float


def plan(seconds: float) -> Plan:
    """Divide the time of a call. ESC x2 comes first, since the other scales start from it."""
    latency_s = min(_LATENCY_S, 0.1 * seconds)
    start_s = min(_START_S, 0.1 * seconds)
    left_s = seconds - latency_s - 2 * start_s
    x4_s = min(_LONGEST_X4_S, left_s - _SHORTEST_X2_S)
    if x4_s < _SHORTEST_X4_S:
        return Plan(left_s + start_s, 0.0, latency_s)
    return Plan(left_s - x4_s, x4_s, latency_s)


def run_second_call(settings: Settings, variant: str, seconds: float, out: Path, shares: Plan) -> bool:
    """Train and measure until the time is over; return whether the training of ESC x2 was completed."""
    with Call("b", seconds, out, settings) as call, tempfile.TemporaryDirectory() as work:
        call.say(plan=vars(shares), variant=variant)
        runs = {scale: Mirror(call, Path(work) / f"x{scale}", out / f"x{scale}") for scale in (2, 4)}
        done = train(call, runs[2], 2, shares.x2_s, variant, "esc")
        start_s = min(_START_S, 0.1 * seconds)
        x4_s = min(shares.x4_s, call.left_s() - shares.latency_s - start_s)
        if done and x4_s >= min(_SHORTEST_X4_S, shares.x4_s) > 0:
            train(call, runs[4], 4, x4_s, variant, str(runs[2].folder / "weights.safetensors"))
        else:
            call.say(stage="x4", failure="no time was left for it")
        call.run(Stage("latency", min(call.left_s() - 2, start_s + shares.latency_s)))
        call.say(verdict="DONE" if done else "NOT DONE")
    return done


def train(call: Call, mirror: "Mirror", scale: int, seconds: float, variant: str, initial: str) -> bool:
    """Train for some seconds; if that fails before the first save, try the safe variant in the time left."""
    begun_s = call.left_s()
    for way in dict.fromkeys((variant, SAFE_VARIANT)):
        left_s = seconds - (begun_s - call.left_s())
        words = (way, str(scale), str(left_s), initial, str(mirror.folder))
        events = call.run(Stage("train", call.left_s() - 3, words, label=f"x{scale}"), meanwhile=mirror)
        if not any("failure" in event for event in events):
            return True
        if (mirror.folder / BROUGHT_BACK[0]).exists():
            return False
        shutil.rmtree(mirror.folder, ignore_errors=True)
    return False


class Mirror:
    """A function that copies a run's saved files to the folder that comes back, and reports its log."""

    def __init__(self, call: Call, folder: Path, target: Path) -> None:
        self.folder = folder
        self._call = call
        self._target = target
        self._said = 0
        self._copied: dict[str, int] = {}

    def __call__(self) -> None:
        """Copy the files that have changed. The run replaces each file atomically."""
        for name in BROUGHT_BACK:
            source, target = self.folder / name, self._target / name
            if not source.exists() or source.stat().st_mtime_ns == self._copied.get(name):
                continue
            self._copied[name] = source.stat().st_mtime_ns  # before the copy: the run may replace it
            self._target.mkdir(exist_ok=True)
            partial = target.with_suffix(".part")
            shutil.copyfile(source, partial)
            partial.replace(target)
        self._say_log()

    def _say_log(self) -> None:
        log = self.folder / "log.jsonl"
        text = log.read_text(encoding="utf-8") if log.exists() else ""
        lines = text[: text.rfind("\n") + 1].splitlines()
        for line in lines[self._said :]:
            self._call.say(run=self.folder.name, **json.loads(line))
        self._said = len(lines)
