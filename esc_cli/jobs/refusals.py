"""Refuse tasks whose results would collide, would replace files that must stay, or cannot be written."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from esc_cli.errors import OutputError, OutputExistsError
from esc_cli.jobs.options import Options
from esc_cli.jobs.record import account_of
from esc_cli.jobs.sources import Source
from esc_cli.jobs.task import Task


def refuse_collisions(tasks: Sequence[Task], options: Options) -> None:
    """Refuse results, or originals that are kept, that would have the same name.

    Raises:
        OutputError: Two results or two kept originals would have the same name.
    """
    hint = "upscale them one by one and name each result with -o"
    if options.template is not None and not options.template.needs("stem"):
        hint = "put {stem} into the name"
    for owner, task in _sharing(tasks, lambda task: task.target):
        raise OutputError(
            f"{owner.source.name!r} and {task.source.name!r} would both become {str(task.target)!r}",
            hint=hint,
        )
    for owner, task in _sharing(tasks, lambda task: task.backup):
        raise OutputError(
            f"{owner.source.name!r} and {task.source.name!r} would both be kept as {str(task.backup)!r}",
            hint="replace them one by one, or name them in a list, which keeps their folders",
        )


def _sharing(tasks: Iterable[Task], place: Callable[[Task], Path | None]) -> Iterator[tuple[Task, Task]]:
    """Yield each pair of tasks that have the same place, even under different names.

    Args:
        tasks: The tasks.
        place: Function that returns the place of a task; None if the task has none.
    """
    owners: dict[str, Task] = {}
    for task in tasks:
        path = place(task)
        owner = task if path is None else owners.setdefault(os.path.realpath(path), task)
        if owner is not task:
            yield owner, task


def refuse_replacing(there: Sequence[Task], sources: Iterable[Source]) -> None:
    """Refuse results that would replace an input, or something other than an ordinary file.

    Args:
        there: The tasks whose results exist, apart from those that are to replace their inputs.
        sources: All inputs.

    Raises:
        OutputError: A result would replace such a file.
    """
    paths = (source.content for source in sources if isinstance(source.content, Path))
    inputs = {_identity(path) for path in paths} - {None}
    for task in there:
        if task.target is not None and _identity(task.target) in inputs:
            raise OutputError(
                f"{str(task.target)!r} is an input, and results replace inputs only with --in-place",
                hint="choose another output with -o",
            )
    for task in there:
        if task.target is not None and task.target.exists() and not task.target.is_file():
            kind = "a folder" if task.target.is_dir() else "not an ordinary file"
            raise OutputError(f"cannot write {str(task.target)!r}: it is {kind}")


def _identity(path: Path) -> tuple[int, int] | None:
    """Return a value that is the same for all names of a file, or None if the file cannot be found.

    A file has several names through links, and through upper and lower case where case does not matter.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def refuse_existing(there: Sequence[Task]) -> None:
    """Refuse tasks whose results already exist.

    Raises:
        OutputExistsError: The sequence is not empty.
    """
    for task in there:
        if task.in_place is not None:
            raise OutputExistsError(
                f"{task.source.name!r} was replaced before, with other settings",
                hint="restore the original, or use --overwrite to enlarge it again, or --skip-existing",
            )
    if there:
        first, others = there[0], len(there) - 1
        state = f"and {others} more already exist" if others else f"already exists{_maker(first)}"
        raise OutputExistsError(f"{str(first.target)!r} {state}", hint="use --overwrite or --skip-existing")


def _maker(task: Task) -> str:
    """Return words for the model that made the result of a task, if its record tells."""
    account = None if task.target is None else account_of(task.target)
    return "" if account is None or account.model is None else f", made by the model {account.model!r}"


def refuse_unwritable(tasks: Iterable[Task]) -> None:
    """Check before the work, as far as possible, whether the results can be written.

    Raises:
        OutputError: The folder of a result cannot be written to.
    """
    files = [file for task in tasks for file in (task.target, task.backup) if file is not None]
    for folder in dict.fromkeys(file.absolute().parent for file in files):
        existing = next(parent for parent in (folder, *folder.parents) if os.path.lexists(parent))
        if not existing.is_dir():
            raise OutputError(f"cannot write results to {str(folder)!r}: {existing.name!r} is not a folder")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise OutputError(f"cannot write results to {str(existing)!r}: permission denied")


def refuse_impossible_name(target: Path | None) -> None:
    """Refuse a name that the system does not accept. The label of the size may make it too long.

    Raises:
        OutputError: The system does not accept the name.
    """
    try:
        if target is not None:
            target.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise OutputError(f"cannot write {str(target)!r}: {error.strerror}") from error
