"""Write the page that ``--report`` names at the end of a run, however the run ends."""

import hashlib
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import TYPE_CHECKING, Self

from esc_cli.cli.guard import ending_of
from esc_cli.cli.output import printable, progress_bar, say_error
from esc_cli.errors import EscError, OutputError, UsageError
from esc_cli.jobs.events import Event, Listener
from esc_cli.version import PROGRAM

if TYPE_CHECKING:
    from esc_cli.jobs.chronicle import Chronicle
    from esc_cli.jobs.options import Options


class ReportPage:
    """A page about a run, which is written when the context ends. It is a listener.

    Args:
        path: The file to write. None means that there is no report.
        inputs: The inputs, as the user named them.
        output: The output, as the user named it.
        options: The options of the run.
        is_silent: Whether to show no progress.

    Raises:
        UsageError: The file is not a page by its name, or it lies among the inputs.
        OutputError: The file cannot be written, or it exists and is not the report of an earlier run on the
            same inputs.
    """

    def __init__(
        self,
        path: str | None,
        inputs: Sequence[str],
        output: str | None,
        options: "Options",
        *,
        is_silent: bool,
    ) -> None:
        self._target = None if path is None else Path(path)
        self._inputs = inputs
        self._output = output
        self._is_silent = is_silent
        self._identity = _identity(inputs, output, options)
        self._chronicle: Chronicle | None = None
        self._replaces = options.when_there == "overwrite"
        self._previews = options.previewed is not None
        if self._target is not None:
            self._check(self._target, recursive=options.recursive)

    def _check(self, target: Path, *, recursive: bool) -> None:
        from esc_cli.evaluation.viewer.files import check_folder, identity_of
        from esc_cli.storage.whole_files import check_target, output_error

        if target.suffix.lower() not in (".html", ".htm"):
            raise UsageError(f"the report is a page, so the name {str(target)!r} must end in .html")
        if recursive:
            refuse_among(target, self._inputs)
        self._replaces |= identity_of(target) == self._identity
        files = (Path(name) for name in self._inputs if not os.path.isdir(name))  # noqa: PTH112 - long names
        check_target(target, replace=self._replaces, inputs=files)
        check_folder(target, replace=self._replaces)
        try:
            with TemporaryFile(dir=os.path.dirname(os.path.realpath(target))):  # noqa: PTH120 - as realpath
                pass
        except OSError as error:
            raise output_error(f"cannot write {target}", error) from error

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if self._target is None:
            return
        if self._chronicle is None:
            from esc_cli.jobs.chronicle import Chronicle  # it loads torch, which the run needs anyway

            self._chronicle = Chronicle(previews=self._previews)
        self._chronicle(event)

    def beside(self, listener: Listener) -> Listener:
        """Return a listener that also passes all events to another one."""

        def both(event: Event) -> None:
            self(event)
            listener(event)

        return both

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._target is None or self._chronicle is None or self._chronicle.is_empty:
            return
        if error is None:
            self._write(self._target, self._chronicle)
            return
        ending = ending_of(error)
        said = [text for text in (ending.message, ending.hint) if text] or [
            "the reader of the output has gone"
        ]
        try:
            self._write(self._target, self._chronicle, f"The run ended early: {'; '.join(said)}.")
        except EscError as problem:  # it must not replace the error of the run
            say_error(problem.message, problem.hint)

    def _write(self, target: Path, chronicle: "Chronicle", *remarks: str) -> None:
        from esc_cli.evaluation.viewer.gallery import write_gallery

        command = printable(shlex.join([PROGRAM, *sys.argv[1:]]))
        title = ", ".join(self._inputs) or PROGRAM
        title = printable(title if self._output is None else f"{title} → {self._output}")
        with progress_bar("report", is_hidden=self._is_silent) as progress:
            write_gallery(
                target,
                chronicle.summary(title, command, remarks),
                chronicle.entries(),
                replace=self._replaces,
                identity=self._identity,
                is_hurried=bool(remarks),
                progress=progress,
            )


def refuse_report(
    path: str | None, inputs: Sequence[str], output: str | None, *, dry_run: bool, watch: bool
) -> None:
    """Refuse a report of a run that has no results to show, or no end.

    Raises:
        UsageError: The options contradict a report.
    """
    from esc_cli.jobs.naming import goes_to_stdout

    to_stdout = goes_to_stdout(inputs, output)
    contradictions = {"--dry-run": dry_run, "--watch": watch, "a result on standard output": to_stdout}
    for name, is_so in contradictions.items():
        if path is not None and is_so:
            raise UsageError(f"--report and {name} contradict each other")
    if path is not None and output is not None and os.path.realpath(path) == os.path.realpath(output):
        raise UsageError(f"the report and the result have the same name {path!r}")


def _identity(inputs: Sequence[str], output: str | None, options: "Options") -> str:
    """Return a text that is the same for all runs of the same inputs into the same place."""
    named = (os.path.abspath(name) for name in (*inputs, output or ""))  # noqa: PTH100 - names may be patterns
    parts = (*named, options.files_from or "", str(options.shard or ""))
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def refuse_among(target: Path, inputs: Iterable[str | Path]) -> None:
    """Refuse a page in a folder that is searched: the next run would take its pictures as inputs.

    Raises:
        OutputError: The page would lie in one of the inputs, or in a subfolder.
    """
    folders = {os.path.realpath(target.parent), *map(str, Path(os.path.realpath(target.parent)).parents)}
    for name in inputs:
        if os.path.realpath(name) in folders:
            raise OutputError(
                f"the page {str(target)!r} would lie among the inputs in {str(name)!r}",
                hint="name a file outside of this folder",
            )
