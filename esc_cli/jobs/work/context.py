"""The networks, the options and the rules for results that all tasks of a run share."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch

from esc_cli.engine.memory.free import host_free_bytes
from esc_cli.enhancement.choice import Choice, Chooser
from esc_cli.enhancement.enlarge import Enlarger
from esc_cli.jobs.events import Engine, Listener, Started
from esc_cli.jobs.in_place import set_original_aside
from esc_cli.jobs.made import PublishMade
from esc_cli.jobs.options import Options
from esc_cli.jobs.record import Account, Stamp, write_record
from esc_cli.jobs.refusals import refuse_existing
from esc_cli.jobs.task import Task
from esc_cli.jobs.work.events import engine_event, model_and_reason
from esc_cli.media.picture import WriteSettings
from esc_cli.storage.whole_files import set_modified


class SkipError(Exception):
    """A result appeared after planning and is kept. The message is the ``reason`` of ``Skipped``."""


class RunContext:
    """The networks, the options and the rules for results that all tasks of a run share.

    Args:
        chooser: The chooser of each file's model.
        enlarger: The enlarger for the size of the results. Its models are replaced by those of each file.
        options: The options of the run.
        total: Number of tasks of the run, for events.
        listener: A function that receives the events of the work.
        told_of: Names of the models whose ``engine`` event was already sent. Further names are added to it.

    Attributes:
        chooser: The chooser of each file's model.
        options: The options of the run.
        listener: A function that receives the events of the work.
        free_bytes: Free memory before the work.
    """

    def __init__(
        self,
        chooser: Chooser,
        enlarger: Enlarger,
        options: Options,
        total: int,
        listener: Listener,
        told_of: set[str],
    ) -> None:
        self.chooser = chooser
        self._enlarger = enlarger
        self.options = options
        self._total = total
        self.listener = listener
        self._told_of = told_of
        self.free_bytes = host_free_bytes()

    def begin(self, task: Task, choice: Choice | None) -> Enlarger:
        """Report that the network begins with a task, and return the enlarger that runs it.

        When a chosen model is used for the first time, its ``engine`` event is reported first.
        """
        models = self.chooser.models(choice)
        if choice is not None and choice.model not in self._told_of:
            self.listener(cast(Engine, engine_event(models, task.factor, self.options.threads)))
            self._told_of.add(choice.model)
        self.listener(Started(task.source.name, task.number, self._total))
        return replace(self._enlarger, models=models)

    def check_free(self, task: Task) -> None:
        """Check whether the result appeared after planning.

        Raises:
            SkipError: The result is up to date, or is kept because of the options.
            OutputExistsError: The result exists, and the options allow neither replacing nor skipping it.
        """
        if not task.is_there:
            return
        if task.is_up_to_date:
            raise SkipError("up to date")
        if self.options.when_there == "skip":
            raise SkipError("there already")
        if self.options.when_there == "refuse":
            refuse_existing([task])

    def write_settings(self, task: Task, provenance: str | None = None) -> WriteSettings:
        """Return how a result is written, with a sentence about its making for its metadata."""
        modified_ns = task.source.modified_ns if self.options.keep_dates else None
        return replace(self.options.write, provenance=provenance, modified_ns=modified_ns)

    def account(
        self,
        task: Task,
        choice: Choice | None,
        seconds: float | None,
        notes: tuple[str, ...],
        ways: Sequence[str],
        pixels: torch.dtype = torch.uint8,
    ) -> Account:
        """Return what the record tells about the making of a result."""
        chosen = self.chooser.models(choice).chosen(task.factor, pixels, ways)
        return Account(model_and_reason(choice)[0], seconds, notes, chosen)

    def publisher(self, task: Task, choice: Choice | None, original: Stamp | None = None) -> PublishMade:
        """Return the function that does what must be done just before a result gets its name.

        Args:
            task: The task of a clip or an archive.
            choice: The model.
            original: State of the input before the work, if the result replaces it; see ``original_of``.
        """
        modified_ns = self.write_settings(task).modified_ns

        def publish(complete: Path | None, ways: Sequence[str]) -> None:
            self.check_free(task)
            if original is not None:
                set_original_aside(task, original)
            if complete is not None and modified_ns is not None:
                set_modified(complete, modified_ns)
            if complete is not None and task.recipe is not None and isinstance(task.source.content, Path):
                source, result = Stamp.of(task.source.content), Stamp.of(complete)
                target, mode = cast(Path, task.target), task.source.mode
                account = self.account(task, choice, None, task.lost, ways)
                write_record(target, source, result, task.recipe, account, mode)

        return publish


def original_of(task: Task) -> Stamp | None:
    """Return the state of an input before the work, if the result replaces it."""
    return None if task.in_place is None else Stamp.of(cast(Path, task.source.content))
