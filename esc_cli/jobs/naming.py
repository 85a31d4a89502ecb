"""Choose the path and the format of each result from the options of the user."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from esc_cli.errors import UsageError
from esc_cli.jobs.in_place import check_replaceable
from esc_cli.jobs.name_templates import NameTemplate
from esc_cli.jobs.options import Options
from esc_cli.jobs.sources import Source, without_extension
from esc_cli.jobs.streams import STDIN, STDOUT
from esc_cli.media.archives import ARCHIVES, ArchiveFormat, archive_like, archive_named
from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.formats.registry import (
    WRITTEN,
    check_written,
    format_by_extension,
    format_like,
    format_named,
)
from esc_cli.media.video.containers import (
    CONTAINERS,
    YUV4MPEG2,
    Container,
    container_by_extension,
    container_like,
    container_named,
)

_PAGES = (".html", ".htm")
_SEPARATORS = tuple(separator for separator in (os.sep, os.altsep) if separator)


AnyFormat = PictureFormat | Container | ArchiveFormat


@dataclass(frozen=True)
class Destination:
    """The destination of all results, as given by ``-o`` and ``-f``.

    Attributes:
        path: A file or a folder. None means beside the inputs, or standard output.
        is_folder: Whether ``path`` is a folder.
        to_stdout: Whether the result goes to standard output. If so, ``path`` is None.
        format: The format of the results. None means the format of each input.
        page_format: The format of the pictures in an archive that is named. None means the format of each.
        is_page: Whether the result is a page for a browser, which only a preview can be.
    """

    path: Path | None = None
    is_folder: bool = False
    to_stdout: bool = False
    format: AnyFormat | None = None
    page_format: PictureFormat | None = None
    is_page: bool = False


def goes_to_stdout(names: Sequence[str], output: str | None) -> bool:
    """Return whether the result goes to standard output.

    It does if ``output`` is ``-``, or if no output is named and an input is standard input.
    """
    return output == STDOUT or (output is None and STDIN in names)


def destination_of(names: Sequence[str], output: str | None, options: Options) -> Destination:
    """Return the destination of all results of a run.

    Args:
        names: The inputs, with all patterns expanded.
        output: See ``decide_destination``.
        options: The options of the run.

    Raises:
        UsageError: The options contradict each other or the inputs, or the format cannot be written.
    """
    destination = decide_destination(
        names,
        output,
        options.format,
        several=options.lists_files,
        previews=options.previewed is not None,
    )
    _check_template(destination, options.template)
    if options.in_place:
        check_replaceable(names, output)
    return destination


def decide_destination(
    names: Sequence[str],
    output: str | None,
    extension: str | None,
    *,
    several: bool = False,
    previews: bool = False,
) -> Destination:
    """Parse ``-o`` and ``-f``.

    Args:
        names: The inputs, with all patterns expanded.
        output: A file, a folder, ``-`` or None. It is a folder if a folder of this name exists, if it ends
            with a slash, if there are several inputs, or if an input is a folder. In the last two cases, a
            name that does not exist and has the extension of a format is refused.
        extension: The name of a format, or None.
        several: Whether there are several inputs, however many names there are.
        previews: Whether previews are made, which may be pages for a browser.

    Raises:
        UsageError: The options contradict each other or the inputs, or the format cannot be written.
    """
    format = None if extension is None else _format_named(extension)
    are_many = several or len(names) > 1 or _has_folder(names)
    if goes_to_stdout(names, output):
        if are_many:
            raise UsageError(
                "only one picture can go to standard output", hint="name a folder for the results with -o"
            )
        return Destination(to_stdout=True, format=format)
    if output is None:
        return Destination(format=format)
    if not output:
        raise UsageError("the output has an empty name")
    if "\0" in output:
        raise UsageError(f"the output {output!r} has a NUL, which no name of a file can have")
    path = Path(output)
    if previews and is_page(output):
        _check_page(output, format, are_many=are_many)
        return Destination(path, is_page=True)
    if are_many or _has_folder((output,)) or output.endswith(_SEPARATORS):
        _check_folder(path, output)
        return Destination(path, is_folder=True, format=format)
    of_file = _format_of_file(path, format)
    pages = format if isinstance(of_file, ArchiveFormat) and isinstance(format, PictureFormat) else None
    return Destination(path, format=of_file, page_format=pages)


def _check_template(destination: Destination, template: NameTemplate | None) -> None:
    """Refuse a template for the name of a result that has a name already, or needs none.

    Raises:
        UsageError: The result goes to a named file or to standard output.
    """
    if template is None or destination.is_folder:
        return
    if destination.to_stdout:
        raise UsageError("standard output has no name, so --name does not apply")
    if destination.path is not None:
        raise UsageError(
            f"the result has two names, {str(destination.path)!r} and {template.text!r}",
            hint=f"to name a folder with -o, end the name with {os.sep}",
        )


def choose_format(destination: Destination, source_format: str) -> PictureFormat:
    """Choose the format of a picture: the requested one, else the input's own, else the nearest to that.

    Raises:
        UsageError: The requested format is a container for clips.
    """
    if isinstance(destination.format, PictureFormat):
        return destination.format
    if destination.format is not None and not destination.is_folder and destination.path is not None:
        raise UsageError(f"a picture cannot be written as {destination.format.name}")
    return format_like(source_format)


def choose_clip_format(destination: Destination, container: str) -> PictureFormat | Container:
    """Choose the format of the result of a clip.

    The order is the same as in ``choose_format``, but standard output gets raw frames.

    Raises:
        UsageError: A container that needs a file is to go to standard output, or an archive is named.
    """
    named = destination.format
    if destination.to_stdout and isinstance(named, Container) and not named.is_raw:
        raise UsageError(
            f"{named.name} cannot go to standard output",
            hint=f"name a file with -o, or choose -f {YUV4MPEG2.extensions[0][1:]}",
        )
    if isinstance(named, ArchiveFormat):
        if destination.path is not None and not destination.is_folder:
            raise UsageError(f"a clip cannot be written as {named.name}")
        named = None
    if named is not None and (isinstance(named, Container) or not destination.is_folder):
        return named
    return YUV4MPEG2 if destination.to_stdout else container_like(container)


def choose_archive_format(destination: Destination, source: Path) -> ArchiveFormat:
    """Choose the kind of archive of the result of an archive: the requested one, or that of the source.

    Raises:
        UsageError: The result is to go to standard output, or to a file that is not an archive.
    """
    named = destination.format
    if destination.to_stdout:
        raise UsageError("an archive cannot go to standard output", hint="name a file with -o")
    if isinstance(named, ArchiveFormat):
        return named
    if named is not None and destination.path is not None and not destination.is_folder:
        raise UsageError(
            f"an archive of pictures cannot be written as {named.name}",
            hint="end the name with .cbz or .zip, and choose the format of the pictures with -f",
        )
    return archive_like(source)


def page_destination(destination: Destination) -> Destination:
    """Return the destination of the pictures of an archive. They have no files of their own."""
    named = destination.format
    format = named if isinstance(named, PictureFormat) else destination.page_format
    return Destination(to_stdout=True, format=format)


def target_path(
    source: Source,
    destination: Destination,
    format: AnyFormat,
    label: str,
    file_label: str,
) -> Path | None:
    """Return the path of a result.

    Args:
        source: The picture or clip that the result is made from.
        destination: The destination of all results.
        format: The format of the result.
        label: The label of the size, such as ``x4``, for a folder of results that lies beside its input.
        file_label: The label of the size for a result that lies beside its input.

    Returns:
        A file, or None for standard output.

    Raises:
        UsageError: The folder of the source is the root, so no folder can lie beside it.
    """
    if destination.to_stdout:
        return None
    if destination.path is not None and not destination.is_folder:
        return destination.path
    if destination.path is not None:
        return destination.path / _with_extension(source.below_output, format)
    if source.folder is not None:
        return results_folder(source.folder, label) / _with_extension(source.relative, format)
    named = _with_extension(Path(source.name), format)
    return named.with_name(f"{named.stem}_{file_label}{named.suffix}")


def results_folder(folder: Path, label: str) -> Path:
    """Return the folder for the results of a folder.

    It lies beside that folder, so that the next run does not read the results as inputs.

    Raises:
        UsageError: The folder is the root, so no folder can lie beside it.
    """
    absolute = Path(os.path.abspath(folder))  # noqa: PTH100 - keeps the user's name, without resolving links
    if not absolute.name:
        raise UsageError(f"no folder can lie beside {str(folder)!r}", hint="name an output folder with -o")
    named_beside = folder.with_name if folder.name not in ("", "..") else absolute.with_name
    return named_beside(f"{absolute.name}_{label}")


def names_format(output: str) -> bool:
    """Return whether ``-o`` names a file whose extension is that of a format or of a page."""
    return is_page(output) or (_format_of(Path(output)) is not None and not _has_folder((output,)))


def is_page(output: str) -> bool:
    """Return whether ``-o`` names a page for a browser."""
    return Path(output).suffix.lower() in _PAGES and not (
        _has_folder((output,)) or output.endswith(_SEPARATORS)
    )


def _has_folder(names: Sequence[str]) -> bool:
    return any(os.path.isdir(name) for name in names)  # noqa: PTH112 - Path.is_dir raises on names that are too long


def _check_page(output: str, format: AnyFormat | None, *, are_many: bool) -> None:
    """Refuse a page of several previews, or one with a format."""
    if are_many:
        raise UsageError(
            "a page shows the preview of one picture", hint="name a folder for sheets, or one picture"
        )
    if format is not None:
        raise UsageError(
            f"the format {format.name} and the name {output!r} contradict each other",
            hint="leave one of them out",
        )


def _check_folder(path: Path, output: str) -> None:
    """Refuse the name of a file for a folder that does not exist yet."""
    format = _format_of(path)
    if output.endswith(_SEPARATORS) or os.path.lexists(path) or format is None:
        return
    hint = f"to name a folder, end the name with {os.sep}"
    if isinstance(format, Container):
        hint += "; to make one clip from an image sequence, name the input like %06d.png"
    raise UsageError(f"several results cannot be written to one file {output!r}", hint=hint)


def _format_named(extension: str) -> AnyFormat:
    return container_named(extension) or archive_named(extension) or format_named(extension)


def _format_of(path: Path) -> AnyFormat | None:
    if not path.suffix:
        return None
    return format_by_extension(path) or container_by_extension(path) or archive_named(path.suffix)


def _format_of_file(path: Path, asked: AnyFormat | None) -> AnyFormat | None:
    """Choose the format of one result: the requested one, or that of its extension.

    If the extension is that of an archive, a format of pictures is requested for the pictures in it.

    Returns:
        The format, or None for the input's own format if the name has no extension and already exists.
    """
    named = _format_of(path)
    if isinstance(named, PictureFormat):
        check_written(named)
    if isinstance(named, ArchiveFormat) and isinstance(asked, PictureFormat):
        return named
    if asked is not None and named not in (None, asked):
        raise UsageError(
            f"the format {asked.name} and the name {str(path)!r} contradict each other",
            hint=f"end the name with {asked.extensions[0]}",
        )
    if asked is not None or named is not None:
        return asked or named
    if path.suffix:
        raise UsageError(
            f"the extension of {str(path)!r} is not that of a known format",
            hint=f"for pictures use {_extensions(WRITTEN)}, for clips {_extensions(CONTAINERS)}, "
            f"for archives of pictures {_extensions(ARCHIVES)}, or name a format with -f",
        )
    if not os.path.lexists(path):
        raise UsageError(
            f"{str(path)!r} could be a file or a folder",
            hint=f"end a folder with {os.sep} or a file with .png or the like, or name a format with -f",
        )
    return None


def _extensions(formats: Iterable[AnyFormat]) -> str:
    *first, last = (format.extensions[0] for format in formats)
    return f"{', '.join(first)} or {last}"


def _with_extension(path: Path, format: AnyFormat) -> Path:
    """Return a name with an extension of the format. An extension that fits, such as ``.JPG``, is kept."""
    if path.suffix.lower() in format.extensions:
        return path
    stem = without_extension(path)
    return stem.with_name(stem.name + format.extensions[0])
