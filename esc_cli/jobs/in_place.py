"""Let results replace their inputs, so that nothing is lost whenever the run ends."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from esc_cli.errors import InputError, OutputError, UsageError
from esc_cli.jobs.record import Stamp
from esc_cli.jobs.streams import STDIN
from esc_cli.media.video.containers import Container
from esc_cli.storage.backups import back_up, check_backup

if TYPE_CHECKING:
    from esc_cli.jobs.options import Options
    from esc_cli.jobs.task import Task

_CONTRADICTIONS = {
    "format": "the format stays",
    "name": "the name stays",
    "start": "the rest of the clip would be lost",
    "end": "the rest of the clip would be lost",
    "preview": "the input would be lost",
}
"""Options that do not fit results that replace their inputs, and why."""


@dataclass(frozen=True)
class InPlace:
    """How a result replaces its input.

    Attributes:
        rule: The label of the size, such as ``x4``. A later run compares it instead of the size in pixels,
            which follows from the original.
        backup: The file that keeps the original. None means that it is not kept.
    """

    rule: str
    backup: Path | None


def check_in_place(options: "Options") -> None:
    """Check the options of results that replace their inputs.

    Raises:
        UsageError: An option contradicts another one, or neither a backup nor its absence was chosen.
    """
    if not options.in_place:
        if options.backup is not None:
            raise UsageError("--backup applies only to --in-place")
        return
    if options.backup == "":
        raise UsageError("the folder of the backups has an empty name")  # it would be the current folder
    for name, reason in _CONTRADICTIONS.items():
        if getattr(options, name) is not None:
            raise UsageError(f"--{name} and --in-place contradict each other: {reason}")
    if options.backup is None and not options.yes:
        raise UsageError(
            "--in-place replaces the inputs, and the originals would be gone",
            hint="name a folder that keeps them with --backup, or agree with --yes",
        )


def check_replaceable(names: Sequence[str], output: str | None) -> None:
    """Check that results can replace the inputs.

    Raises:
        UsageError: An output is named, or an input is standard input.
    """
    if output is not None:
        raise UsageError("-o and --in-place contradict each other")
    if STDIN in names:
        raise UsageError("standard input cannot be replaced", hint="name files, or leave out --in-place")


def replacing(task: "Task", rule: str, backup: str | Path | None) -> "Task":
    """Return a task whose result replaces its input.

    Args:
        task: The task with a result of its own.
        rule: The label of the size.
        backup: The folder that keeps the originals, or None.

    Raises:
        InputError: The input is not one file, or its format, or that of a page in it, cannot be written.
        OutputError: The backup would be the input itself.
    """
    source = task.source.content
    if not isinstance(source, Path) or not source.is_file():
        raise InputError(f"{task.source.name} is not one file, so it cannot be replaced")
    for part in (task, *task.parts):
        _check_written(part)
    # A record lies beside the file itself, so that it is found under every name of the file.
    target = Path(os.path.realpath(source))
    kept = None if backup is None else Path(backup) / task.source.below_output
    if kept is not None and os.path.realpath(kept) == str(target):
        raise OutputError(f"the backup of {task.source.name!r} would be the file itself")
    return replace(task, target=target, in_place=InPlace(rule, kept))


def _check_written(task: "Task") -> None:
    """Refuse an input, or a page of an archive, whose format cannot be written."""
    written = task.format.ffmpeg_name if isinstance(task.format, Container) else task.format.name
    if written != task.probe.format:
        raise InputError(
            f"{task.source.name} cannot be replaced, because {task.probe.format} is only read here",
            hint="leave out --in-place",
        )


def refuse_lost_backups(tasks: "Iterable[Task]") -> None:
    """Refuse backups whose names are taken by other files; see ``check_backup``.

    Raises:
        OutputExistsError: A backup exists and is another file.
    """
    for task in tasks:
        source, backup = task.source.content, task.backup
        if backup is not None and isinstance(source, Path):
            check_backup(source, backup)


def set_original_aside(task: "Task", stamp: Stamp | None) -> None:
    """Prepare the replacement of an input by its complete result.

    Args:
        task: The task.
        stamp: The identity of the input that was read.

    Raises:
        InputError: The input was changed or removed since it was read.
        OutputError: The backup cannot be written.
    """
    source = task.source.content
    if not isinstance(source, Path) or stamp is None or not stamp.matches(source):
        raise InputError(f"{task.source.name} changed while it was being enlarged")
    if task.backup is not None:
        back_up(source, task.backup)
