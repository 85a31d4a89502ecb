"""Where results go and what they are called: decided from what the user asked for."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from esc_cli.errors import UsageError
from esc_cli.jobs.sources import Source, without_extension
from esc_cli.jobs.streams import STDIN, STDOUT
from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.formats.registry import format_by_extension, format_like, format_named
from esc_cli.media.video.containers import (
    YUV4MPEG2,
    Container,
    container_by_extension,
    container_like,
    container_named,
)

_SEPARATORS = tuple(separator for separator in (os.sep, os.altsep) if separator)


@dataclass(frozen=True)
class Destination:
    """What ``-o`` and ``-f`` say about all results.

    Attributes:
        path: A file or a folder; None: beside the inputs, or standard output.
        is_folder: Whether ``path`` is a folder.
        to_stdout: The result goes to standard output; ``path`` is None.
        format: What to write, None: what each input was.
    """

    path: Path | None
    is_folder: bool
    to_stdout: bool
    format: PictureFormat | Container | None


def goes_to_stdout(names: Sequence[str], output: str | None) -> bool:
    """Tell whether the result is written to standard output: it is asked for, or the input came like that."""
    return output == STDOUT or (output is None and STDIN in names)


def decide_destination(names: Sequence[str], output: str | None, extension: str | None) -> Destination:
    """Read ``-o`` and ``-f``.

    Args:
        names: The inputs, with all patterns expanded.
        output: A file, a folder, ``-`` or None. It is a folder if it is one, ends in a slash, or there are
            several inputs or a folder among them; a file with a format's ending that is not there is none.
        extension: The name of a format, or None.

    Raises:
        UsageError: They contradict each other or the inputs, or name no format that can be written.
    """
    format = None if extension is None else container_named(extension) or format_named(extension)
    if goes_to_stdout(names, output):
        if len(names) > 1 or _has_folder(names):
            raise UsageError(
                "only one picture can go to standard output", hint="name a folder for the results with -o"
            )
        return Destination(None, is_folder=False, to_stdout=True, format=format)
    if output is None:
        return Destination(None, is_folder=False, to_stdout=False, format=format)
    if not output:
        raise UsageError("the output has an empty name")
    path = Path(output)
    if _means_folder(output, names):
        _check_folder(path, output)
        return Destination(path, is_folder=True, to_stdout=False, format=format)
    return Destination(path, is_folder=False, to_stdout=False, format=_format_of_file(path, format))


def choose_format(destination: Destination, source_format: str) -> PictureFormat:
    """Choose the format of a picture: the one asked for, else the input's own, else the nearest to it.

    Raises:
        UsageError: It would be a clip.
    """
    if isinstance(destination.format, PictureFormat):
        return destination.format
    if destination.format is not None and not destination.is_folder and destination.path is not None:
        raise UsageError(f"a picture cannot become {destination.format.name}")
    return format_like(source_format)


def choose_clip_format(destination: Destination, container: str) -> PictureFormat | Container:
    """Choose the format of what becomes of a clip, as ``choose_format`` does; through a pipe it is raw."""
    named = destination.format
    if named is not None and (isinstance(named, Container) or not destination.is_folder):
        return named
    return YUV4MPEG2 if destination.to_stdout else container_like(container)


def target_path(
    source: Source, destination: Destination, format: PictureFormat | Container, label: str
) -> Path | None:
    """Name a result.

    Args:
        source: What it is made from.
        destination: Where results go.
        format: What it is written as.
        label: Of its size, such as ``x4``, for results that lie beside their inputs.

    Returns:
        A file; None for standard output.

    Raises:
        UsageError: There is no place beside the source's folder.
    """
    if destination.to_stdout:
        return None
    if destination.path is not None and not destination.is_folder:
        return destination.path
    if destination.path is not None:
        return destination.path / _with_extension(source.relative, format)
    if source.folder is not None:
        return results_folder(source.folder, label) / _with_extension(source.relative, format)
    named = _with_extension(Path(source.name), format)
    return named.with_name(f"{named.stem}_{label}{named.suffix}")


def results_folder(folder: Path, label: str) -> Path:
    """Name the folder for a folder's results: beside it, where the next run does not take them in.

    Raises:
        UsageError: The folder is the root, which has no beside.
    """
    absolute = Path(os.path.abspath(folder))  # noqa: PTH100 - as the user named it, links not resolved
    if not absolute.name:
        raise UsageError(f"nothing lies beside the folder {str(folder)!r}", hint="name another with -o")
    named_beside = folder.with_name if folder.name not in ("", "..") else absolute.with_name
    return named_beside(f"{absolute.name}_{label}")


def _means_folder(output: str, names: Sequence[str]) -> bool:
    return len(names) > 1 or _has_folder((output, *names)) or output.endswith(_SEPARATORS)


def _has_folder(names: Sequence[str]) -> bool:
    return any(os.path.isdir(name) for name in names)  # noqa: PTH112 - Path's raises on names too long


def _check_folder(path: Path, output: str) -> None:
    """Refuse the name of a file where a folder is meant that is not there yet."""
    format = _format_of(path)
    if output.endswith(_SEPARATORS) or os.path.lexists(path) or format is None:
        return
    hint = f"name a folder: end it in {os.sep}"
    if isinstance(format, Container):
        hint += "; an image sequence becomes one clip if it is named like %06d.png"
    raise UsageError(f"several results cannot be one file {output!r}", hint=hint)


def _format_of(path: Path) -> PictureFormat | Container | None:
    return format_by_extension(path) or container_by_extension(path) if path.suffix else None


def _format_of_file(path: Path, asked: PictureFormat | Container | None) -> PictureFormat | Container | None:
    """Choose the format of one result: the one asked for, or that of its ending.

    Returns:
        None for the input's own: where the name has no ending and something is there by this name.
    """
    named = _format_of(path)
    if asked is not None and named not in (None, asked):
        raise UsageError(
            f"the format {asked.name} and the name {str(path)!r} contradict each other",
            hint=f"end the name in {asked.extensions[0]}",
        )
    if asked is not None or named is not None:
        return asked or named
    if path.suffix:
        raise UsageError(
            f"no format is known by the ending of {str(path)!r}",
            hint="end it in .png, .jpg, .webp, .tiff, .gif, .avif, .heic, .jxl or .bmp, for clips in .mp4, "
            ".mov, .mkv, .webm or .y4m, or name one with -f",
        )
    if not os.path.lexists(path):
        raise UsageError(
            f"{str(path)!r} may be a file or a folder",
            hint=f"end it in {os.sep}, in .png or the like, or name a format with -f",
        )
    return None


def _with_extension(path: Path, format: PictureFormat | Container) -> Path:
    """Keep a name whose ending fits the format (``.JPG``), else give it the format's own."""
    if path.suffix.lower() in format.extensions:
        return path
    stem = without_extension(path)
    return stem.with_name(stem.name + format.extensions[0])
