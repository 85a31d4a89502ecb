"""Refuse tasks whose results would collide, would replace files that must stay, or cannot be written."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from esc_cli.errors import OutputError, OutputExistsError
from esc_cli.jobs.options import Options
from esc_cli.jobs.record import account_of
from esc_cli.jobs.sources import Source

if TYPE_CHECKING:
    from esc_cli.jobs.task import Task  # imports torch, and some refusals are needed before that


def refuse_collisions(tasks: "Sequence[Task]", options: Options) -> None:
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


def _sharing(
    tasks: "Iterable[Task]", place: "Callable[[Task], Path | None]"
) -> "Iterator[tuple[Task, Task]]":
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


def refuse_replacing(targets: Iterable[Path], sources: Iterable[Source]) -> None:
    """Refuse results that would replace an input, or something other than an ordinary file.

    Args:
        targets: The files of the results, apart from those that are to replace their inputs.
        sources: All inputs.

    Raises:
        OutputError: A result would replace such a file.
    """
    there = [target for target in targets if os.path.lexists(target)]
    paths = (source.content for source in sources if isinstance(source.content, Path))
    inputs = {_identity(path) for path in paths} - {None}
    for target in there:
        if _identity(target) in inputs:
            raise OutputError(
                f"{str(target)!r} is an input, and results replace inputs only with --in-place",
                hint="choose another output with -o",
            )
    for target in there:
        if target.exists() and not target.is_file():
            kind = "a folder" if target.is_dir() else "not an ordinary file"
            raise OutputError(f"cannot write {str(target)!r}: it is {kind}")


def _identity(path: Path) -> tuple[int, int] | None:
    """Return a value that is the same for all names of a file, or None if the file cannot be found.

    A file has several names through links, and through upper and lower case where case does not matter.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def refuse_existing(there: "Sequence[Task]") -> None:
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
        first = cast(Path, there[0].target)  # a result that exists is a file
        raise already_exists(first, len(there) - 1)


def already_exists(target: Path, others: int = 0) -> OutputExistsError:
    """Return the error for a result that already exists.

    Args:
        target: The result.
        others: Number of further results that exist.
    """
    account = account_of(target)
    maker = "" if account is None or account.model is None else f", made by the model {account.model!r}"
    state = f"and {others} more already exist" if others else f"already exists{maker}"
    return OutputExistsError(f"{str(target)!r} {state}", hint="use --overwrite or --skip-existing")


def refuse_unwritable(files: Iterable[Path]) -> None:
    """Check before the work, as far as possible, whether files can be written.

    Raises:
        OutputError: The folder of a file cannot be written to.
    """
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
