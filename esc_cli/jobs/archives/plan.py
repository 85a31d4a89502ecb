"""Make all decisions about an archive of pictures before any work."""

import posixpath
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import cast

from esc_cli.enhancement.size import Geometry
from esc_cli.errors import InputError, OutputError
from esc_cli.jobs.archives.task import ArchiveTask, Page, PageSource, counted
from esc_cli.jobs.naming import Destination, choose_archive_format, page_destination, target_path
from esc_cli.jobs.sources import Source
from esc_cli.jobs.task import PictureTask
from esc_cli.media.archives import ArchiveReader, archive_like
from esc_cli.media.formats.registry import PICTURE_EXTENSIONS
from esc_cli.media.opening import NamedBytes
from esc_cli.media.probe import Probe

PlanPicture = Callable[[Source, Destination], PictureTask]
"""A function that plans a picture."""


def plan_archive(
    source: Source, destination: Destination, size: Geometry, plan_picture: PlanPicture, *, strict: bool
) -> ArchiveTask:
    """Plan the result of an archive. The header of each picture in it is read.

    Args:
        source: The archive, whose content is a path.
        destination: The destination of all results.
        size: The rule for the size of the pages.
        plan_picture: Function that plans a page.
        strict: Whether a page that cannot be read is refused. If not, it is kept as it is.

    Raises:
        InputError: The archive cannot be read, has no pictures, or a page is refused.
        OutputError: A format cannot hold a page, or two pages would get the same name.
        UsageError: The destination does not fit an archive.
    """
    path = cast(Path, source.content)
    format = choose_archive_format(destination, path)
    pages, failed = _plan_pages(path, page_destination(destination), plan_picture, strict=strict)
    if not pages:
        raise failed[0] if failed else InputError(f"{path} contains no pictures")
    first, unread = pages[0].task, tuple(map(kept_note, failed))
    return ArchiveTask(
        source=source,
        format=format,
        target=target_path(source, destination, format, size.label, size.label),
        probe=Probe(
            format=archive_like(path).name,
            height=first.probe.height,
            width=first.probe.width,
            frames=len(pages),
            several="pages",
            alpha=any(page.task.probe.alpha for page in pages),
            depth_bits=max(page.task.probe.depth_bits for page in pages),
        ),
        height=first.height,
        width=first.width,
        lost=(*counted([page.task.lost for page in pages]), *unread),
        pages=pages,
        unread=unread,
        strict=strict,
    )


def kept_note(error: InputError) -> str:
    """Return the sentence about a page that cannot be read."""
    advice = "" if error.hint is None else f" ({error.hint})"
    return f"{error.message}, and it is kept as it is{advice}"


def _plan_pages(
    path: Path, destination: Destination, plan_picture: PlanPicture, *, strict: bool
) -> tuple[tuple[Page, ...], tuple[InputError, ...]]:
    """Return the pages, and the error of each picture that cannot be read."""
    pages: list[Page] = []
    failed: list[InputError] = []
    with ArchiveReader(path) as archive:
        for entry, name in enumerate(archive.names):
            source = PageSource(b"", Path(name), archive=path)
            try:
                if not archive.is_picture(entry):
                    continue
                content = NamedBytes(archive.read(entry), source.name)
                task = plan_picture(replace(source, content=content), destination)
            except InputError as error:
                if strict:
                    raise
                failed.append(error.with_traceback(None))  # it holds pixels
            except OutputError as error:
                raise OutputError(f"{source.name} cannot be enlarged: {error.message}", error.hint) from error
            else:
                pages.append(Page(entry, _result_name(name, task), replace(task, source=source)))
        named = _named_apart(pages, archive.names)
    return tuple(named), tuple(failed)


def _result_name(name: str, task: PictureTask) -> str:
    """Return the name of a page's result: that of the page, with another ending if the format changes."""
    stem, ending = posixpath.splitext(name)
    if task.format.name == task.probe.format or ending.lower() in task.format.extensions:
        return name
    return (stem if ending.lower() in PICTURE_EXTENSIONS else name) + task.format.extensions[0]


def _named_apart(pages: Sequence[Page], names: Sequence[str]) -> list[Page]:
    """Add the old ending to names that results would share: a_jpg.webp beside a.webp.

    Raises:
        OutputError: Two entries would still have the same name.
    """
    old = {page.entry for page in pages}
    others = [name for number, name in enumerate(names) if number not in old]
    shared = Counter([*(page.name for page in pages), *others])
    named = [
        replace(page, name=_with_old_ending(page.name, names[page.entry])) if shared[page.name] > 1 else page
        for page in pages
    ]
    for name, count in Counter([*(page.name for page in named), *others]).items():
        if count > 1:
            raise OutputError(f"two pages would both become {name!r}", hint="choose another format with -f")
    return named


def _with_old_ending(name: str, old_name: str) -> str:
    ending = PurePosixPath(old_name).suffix
    if name == old_name or not ending:
        return name
    stem, new_ending = posixpath.splitext(name)
    return f"{stem}_{ending[1:]}{new_ending}"
