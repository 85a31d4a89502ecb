"""Watch folders, and enlarge the files that are there and those that come.

The system's notice of a change is only a reason to search the folders. So nothing depends on how a file came:
written, copied, moved, or with a folder that was moved.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from esc_cli.engine.threads import computing_with
from esc_cli.enhancement.choice import Chooser
from esc_cli.errors import EscError, ExitCode, InputError, as_ours
from esc_cli.jobs.events import (
    Done,
    Engine,
    Estimate,
    Event,
    Failed,
    Listener,
    Skipped,
    Started,
    Summary,
    Watching,
    seconds_since,
)
from esc_cli.jobs.naming import results_folder
from esc_cli.jobs.options import Options
from esc_cli.jobs.pipeline import HEARS_SIGNALS_EVERY_S
from esc_cli.jobs.record import made_from, replaced, size_and_time
from esc_cli.jobs.run import failed
from esc_cli.jobs.sources import Failure, files_in
from esc_cli.jobs.upscale import geometry_of, run_job

UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".tmp", ".temp", ".filepart")
"""Extensions of files that browsers and other programs rename when they are complete."""


STEP_MS = 500
"""Changes are told at most this often: a file that is being written changes all the time."""


@dataclass(frozen=True)
class Patience:
    """The times of a watch, in seconds.

    Attributes:
        settle_s: A file is taken when its size and time have been the same for this long.
        give_up_s: A file that cannot be decoded is a failure when it has not changed for this long.
        search_s: Longest time between two searches of the folders.
    """

    settle_s: float = 2.0
    give_up_s: float = 30.0
    search_s: float = 10.0


USUAL = Patience()


def watch_folders(
    folders: Sequence[str],
    output: str | None,
    options: Options,
    listener: Listener,
    patience: Patience = USUAL,
) -> ExitCode:
    """Enlarge all files of folders, and those that come, until Ctrl-C.

    Args:
        folders: The folders.
        output: The folder of the results. None means beside the folders.
        options: The options of the run.
        listener: A function that receives all events. There is one ``summary``, at the end.
        patience: The times.

    Returns:
        OK, or SOME_FAILED if inputs have failed. Ctrl-C is the regular end.

    Raises:
        EscError: The work cannot begin, or a folder is gone.
    """
    with computing_with(options.threads), _changes(folders, recursive=options.recursive) as changed:
        watch = _Watch(folders, output, options, listener, patience)
        try:
            while watch.goes_on:
                wait_s = watch.take_ready()
                _wait(changed, wait_s)
        except KeyboardInterrupt:
            return watch.finish()
        except BaseException:  # such as SIGTERM
            watch.finish()
            raise
        return watch.finish()


class _Watch:
    """The state of a watch. Its files are handled in the caller's thread."""

    def __init__(
        self,
        folders: Sequence[str],
        output: str | None,
        options: Options,
        listener: Listener,
        patience: Patience,
    ) -> None:
        self._folders = tuple(folders)
        self._output = output
        self._options = options
        self._listener = listener
        self._patience = patience
        self._chooser = Chooser(options)
        label = geometry_of(self._chooser.default, options).label
        results = [results_folder(Path(folder), label) for folder in folders] if output is None else [output]
        self._never = [Path(folder) for folder in (*results, options.backup) if folder is not None]
        self._handled: dict[Path, tuple[int, int]] = {}
        self._coming: dict[Path, tuple[tuple[int, int], float]] = {}
        self._doubtful: dict[Path, tuple[Failed, float]] = {}
        self._engines: set[Engine] = set()
        self._done = self._skipped = self._passed_over = self._not_begun = 0
        self._failures: list[str] = []
        self._begun = time.monotonic()
        self._is_idle, self._is_first = False, True

    @property
    def goes_on(self) -> bool:
        """Whether the watch goes on. It does not if a full disk ended a run."""
        return not self._not_begun

    def take_ready(self) -> float:
        """Enlarge all files that are complete. Return the seconds after which to call this again."""
        self._search()
        now = time.monotonic()
        ready = {
            file: stamp
            for file, (stamp, since) in self._coming.items()
            if now - since >= self._patience.settle_s
        }
        if ready:
            self._is_idle = False
            for file, stamp in ready.items():
                del self._coming[file]
                self._handled[file] = stamp
            self._take(frozenset(ready))
            return 0.0
        self._give_up()
        if not self._coming and not self._is_idle:
            self._is_idle, self._is_first = True, False
            self._listener(Watching(self._folders))
        return self._wait_s()

    def finish(self) -> ExitCode:
        """Report the failures that were held back, and the summary."""
        for event, _ in self._doubtful.values():
            self._fail(event)
        self._listener(
            Summary(
                done=self._done,
                skipped=self._skipped,
                failed=len(self._failures),
                passed_over=self._passed_over,
                seconds=seconds_since(self._begun),
                not_begun=self._not_begun,
                failures=tuple(self._failures),
            )
        )
        return ExitCode.SOME_FAILED if self._failures else ExitCode.OK

    def _search(self) -> None:
        """Find files that are new or have changed, and forget those that are gone."""
        now, found = time.monotonic(), set[Path]()
        for folder in map(Path, self._folders):
            if not folder.is_dir():
                raise InputError(f"the folder {str(folder)!r} is gone")
            found.update(files_in(folder, recursive=self._options.recursive, never=self._never))
        for file in found:
            stamp = size_and_time(file)
            if stamp is None or stamp[0] == 0 or stamp == self._handled.get(file):
                continue
            if _is_result(file):
                self._handled[file] = stamp
                continue
            if file.suffix.lower() in UNFINISHED:
                continue
            if file not in self._coming or self._coming[file][0] != stamp:
                self._coming[file] = (stamp, now)
                self._doubtful.pop(file, None)
        for state in (self._handled, self._coming, self._doubtful):
            for gone in state.keys() - found:
                del state[gone]

    def _take(self, files: frozenset[Path]) -> None:
        """Enlarge files. An error of the plan ends the watch only at first; later, it belongs to one file."""
        try:
            run_job(
                self._folders,
                self._output,
                self._options,
                self._hear,
                chooser=self._chooser,
                only=files,
            )
        except EscError as error:
            if self._is_first:
                raise
            if len(files) > 1:
                for file in sorted(files):
                    self._take(frozenset({file}))
            else:
                self._fail(failed(Failure(str(*files), as_ours(error))))
        for file in files if self._options.in_place else ():
            self._handled[file] = size_and_time(file) or (0, 0)

    def _hear(self, event: Event) -> None:
        """Pass on an event of a run, unless it makes sense only for a run of its own."""
        match event:
            case Estimate():
                return
            case Engine() if event in self._engines:
                return
            case Engine():
                self._engines.add(event)
            case Failed(exit_code=ExitCode.BAD_INPUT):
                self._doubtful[Path(event.input)] = (event, time.monotonic())
                return
            case Failed():
                self._fail(event)
                return
            case Summary():
                self._passed_over += event.passed_over
                self._not_begun += event.not_begun
                return
            case Done():
                self._done += 1
            case Skipped():
                self._skipped += 1
            case Started():
                event = replace(event, number=1, total=1)
        self._listener(event)

    def _give_up(self) -> None:
        now = time.monotonic()
        for file, (event, since) in list(self._doubtful.items()):
            if now - since >= self._patience.give_up_s:
                del self._doubtful[file]
                self._fail(event)

    def _fail(self, event: Failed) -> None:
        self._failures.append(event.input)
        self._listener(event)

    def _wait_s(self) -> float:
        """Return the seconds until a file may be complete, or until the folders are searched anyway."""
        now, patience = time.monotonic(), self._patience
        ends = [since + patience.settle_s for _, since in self._coming.values()]
        ends += [since + patience.give_up_s for _, since in self._doubtful.values()]
        return max(0.0, min([*ends, now + patience.search_s]) - now)


def _is_result(file: Path) -> bool:
    """Return whether a file was made by this program from another file, and was not changed since."""
    return made_from(file) is not None and replaced(file) is None


@contextmanager
def _changes(folders: Sequence[str], *, recursive: bool) -> Iterator[threading.Event]:
    """Yield an event that is set whenever something changes in the folders.

    The library waits in a thread of its own, because it would take signals for itself in the main thread.
    """
    import watchfiles

    changed, ended = threading.Event(), threading.Event()

    def listen() -> None:
        told = watchfiles.watch(
            *folders,
            recursive=recursive,
            stop_event=ended,
            watch_filter=None,
            step=STEP_MS,
            raise_interrupt=False,
        )
        with suppress(OSError, RuntimeError):  # such as too many watches; the folders are searched anyway
            for _ in told:
                changed.set()

    thread = threading.Thread(target=listen, name="esc-upscale-watch", daemon=True)
    thread.start()
    try:
        yield changed
    finally:
        ended.set()
        thread.join()


def _wait(changed: threading.Event, seconds: float) -> None:
    """Wait for a change, at most for some seconds, in short pieces, because a longer wait hears no signal."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not changed.wait(min(left, HEARS_SIGNALS_EVERY_S)):
        pass
    changed.clear()
