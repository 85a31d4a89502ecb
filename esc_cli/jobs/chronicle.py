"""Collect the events of a run, for a page that says what became of each input."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from esc_cli.evaluation.viewer.gallery import Entry, State, Summary
from esc_cli.jobs.events import Done, Engine, Event, Failed, Planned, Skipped, Workers
from esc_cli.jobs.events import Summary as RunSummary
from esc_cli.jobs.record import Account, account_of
from esc_cli.jobs.streams import STDIN
from esc_cli.version import made_by

_Ended = Done | Skipped | Failed

_COUNTED: dict[State, str] = {"done": "done", "kept": "already there", "failed": "failed", "left": "not done"}


class Chronicle:
    """The events of a run. It is a listener.

    Args:
        previews: Whether the results are previews. They are shown without their inputs, since the two do not
            show the same area.
    """

    def __init__(self, *, previews: bool = False) -> None:
        self._previews = previews
        self._planned: dict[str, Planned] = {}
        self._ended: dict[str, _Ended] = {}
        self._engines: dict[str, None] = {}
        self._workers: Workers | None = None
        self._end: RunSummary | None = None

    def __call__(self, event: Event) -> None:
        """Take an event."""
        match event:
            case Planned():
                self._planned[event.input] = event
            case Done() | Skipped() | Failed():
                self._ended[event.input] = event
            case Engine():
                self._engines[event.in_words] = None
            case Workers():
                self._workers = event
            case RunSummary():
                self._end = event
            case _:
                return

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known about any input."""
        return not (self._planned or self._ended)

    def entries(self) -> list[Entry]:
        """Return all inputs in the order of the plan, then those that were not planned."""
        names = dict.fromkeys((*self._planned, *self._ended))
        return [self._shown(_entry(name, self._planned.get(name), self._ended.get(name))) for name in names]

    def _shown(self, entry: Entry) -> Entry:
        return replace(entry, before=None) if self._previews and entry.after is not None else entry

    def summary(self, title: str, command: str, remarks: tuple[str, ...]) -> Summary:
        """Return what is said about the whole run.

        Args:
            title: Title of the page.
            command: The command line.
            remarks: Sentences about how the run ended.
        """
        kept = sum(
            isinstance(event, Skipped) and event.reason == "up to date" for event in self._ended.values()
        )
        if kept:
            remarks = (*remarks, f"The run continued an earlier one: {_results(kept)} up to date already.")
        facts = {
            "command": command,
            "models": "; ".join(self._engines),
            "workers": _workers_line(self._workers),
            "results": self._counts(),
            "time": "" if self._end is None else _duration(self._end.seconds),
            "written": f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z} by {made_by()}",
        }
        return Summary(title, {name: text for name, text in facts.items() if text}, remarks)

    def _counts(self) -> str:
        counts = Counter(entry.state for entry in self.entries())
        texts = [f"{counts[state]} {word}" for state, word in _COUNTED.items() if counts[state]]
        if self._end is not None and self._end.passed_over:
            texts.append(f"{self._end.passed_over} ignored (not pictures, or already results)")
        return ", ".join(texts)


def _entry(name: str, planned: Planned | None, ended: _Ended | None) -> Entry:
    before = None if name == STDIN else Path(name)
    shown = "standard input" if name == STDIN else name
    notes = () if planned is None else planned.lost
    match ended:
        case Done():
            facts = _facts(planned, ended)
            after = Path(ended.output)
            return Entry(
                shown, "done", _unless_same(before, after), after, facts, ended.seconds, (), ended.notes
            )
        case Skipped():
            after = Path(ended.output)
            return kept_entry(shown, _unless_same(before, after), after, {"result": ended.reason})
        case Failed():
            problem = (ended.message, *(() if ended.hint is None else (ended.hint,)))
            return Entry(shown, "failed", before, None, problem=problem, notes=notes)
        case _:
            return Entry(shown, "left", before, None, notes=notes)


def kept_entry(name: str, before: Path | None, after: Path, facts: Mapping[str, str]) -> Entry:
    """Return an entry for a result that an earlier run has made, with what its record tells."""
    told = account_of(after) or Account()
    model = {} if told.model is None else {"model": told.model}
    return Entry(name, "kept", before, after, {**facts, **model}, seconds=told.seconds, notes=told.notes)


def _facts(planned: Planned | None, done: Done) -> dict[str, str]:
    """Return the figures of a result that its header does not tell, or that the header of a clip tells."""
    model = {"model": done.model or "none, because the size stays"}
    if planned is None or planned.several is None:
        return model
    sizes = f"{planned.width}x{planned.height} → {done.output_width}x{done.output_height}"
    return {"size": sizes, planned.several: str(planned.frames), "format": planned.format, **model}


def _unless_same(before: Path | None, after: Path) -> Path | None:
    """Return the input, unless the result has replaced it."""
    is_same = before is not None and os.path.realpath(before) == os.path.realpath(after)
    return None if is_same else before


def _workers_line(event: Workers | None) -> str:
    return "" if event is None else f"{event.workers} on {', '.join(event.nodes)}"


def _results(count: int) -> str:
    return "1 result was" if count == 1 else f"{count} results were"


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds) // 60, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {round(seconds) % 60} s" if minutes else f"{seconds:.1f} s"
