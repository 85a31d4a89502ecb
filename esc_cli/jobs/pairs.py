"""Find which results in a folder belong to which inputs in another one."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from esc_cli.errors import InputError, UsageError
from esc_cli.evaluation.viewer.gallery import Entry
from esc_cli.jobs.chronicle import kept_entry
from esc_cli.jobs.record import is_preview, made_from, size_and_time
from esc_cli.jobs.sources import files_in, find_sources, without_extension
from esc_cli.media.archives import ArchiveReader, is_archive
from esc_cli.media.probe import is_picture, probe
from esc_cli.media.video.containers import CLIP_EXTENSIONS

_LABEL = re.compile(r"_(x[\d.]+|\d+x\d+|[\d.]+(x[\d.]+)?pct)$")
"""The label that ``Geometry.file_label`` adds to the name of a result that lies beside its input."""


def entries_of(inputs: Path, results: Path, never: Path) -> list[Entry]:
    """Return the pictures, clips and archives of a folder, each with its result in another folder.

    A result belongs to the input that its record names. Without a record, its name decides: it has the place
    and the name of its input, perhaps with another extension, with the extension of the input added
    (``a_jpg.png``), or with the label of a size (``a_x4.png``).

    Args:
        inputs: The folder of the inputs, which is searched with its subfolders.
        results: The folder of the results.
        never: A folder that is not searched.

    Raises:
        UsageError: Both folders are the same one.
        InputError: There is nothing to enlarge among the inputs, or a folder cannot be read.
    """
    if inputs.samefile(results):
        raise UsageError("the inputs and their results must be in two folders", hint="name pictures instead")
    found = find_sources([str(inputs)], recursive=True, never=[results, never])
    if found.failures:
        raise found.failures[0].error
    sources = [source.relative for source in found.pictures]
    made = [
        file.relative_to(results)
        for file in files_in(results, recursive=True, never=[inputs, never])
        if is_picture(file) or file.suffix.lower() in CLIP_EXTENSIONS or is_archive(file)
    ]
    pairs = {**_by_name(sources, made), **_by_record(inputs, results, sources, made)}
    return [_entry(inputs, results, source, pairs.get(source)) for source in sources]


def _by_record(
    inputs: Path, results: Path, sources: Sequence[Path], made: Sequence[Path]
) -> dict[Path, Path]:
    """Return the results by the inputs that they were made from.

    Inputs that look the same are left out, and so are previews.
    """
    stamps = {source: size_and_time(inputs / source) for source in sources}
    shared = Counter(stamps.values())
    by_stamp = {stamp: source for source, stamp in stamps.items() if stamp and shared[stamp] == 1}
    origins = {result: made_from(results / result) for result in made}
    return {
        by_stamp[origin]: result
        for result, origin in origins.items()
        if origin in by_stamp and not is_preview(results / result)
    }


def _by_name(sources: Sequence[Path], made: Sequence[Path]) -> dict[Path, Path]:
    names: Mapping[Path, list[Path]] = defaultdict(list)
    for source in sources:
        for name in _names(source):
            names[name].append(source)
    pairs: dict[Path, Path] = {}
    for result in made:
        stem = without_extension(result)
        plain = stem.with_name(_LABEL.sub("", stem.name) or stem.name)
        candidates = names.get(stem) or names.get(plain) or []
        like = [source for source in candidates if source.suffix.lower() == result.suffix.lower()]
        if len(like or candidates) == 1:
            pairs.setdefault((like or candidates)[0], result)
    return pairs


def _names(source: Path) -> Iterator[Path]:
    """Yield the names, without an extension, that the result of an input may have; see ``jobs.naming``."""
    stem = without_extension(source)
    yield stem
    if stem != source:
        yield stem.with_name(f"{stem.name}_{source.suffix[1:]}")


def _entry(inputs: Path, results: Path, source: Path, result: Path | None) -> Entry:
    if result is None:
        problem = _problem(inputs / source) or (f"there is no result of it in {str(results)!r}",)
        return Entry(str(source), "failed", inputs / source, problem=problem)
    damage = _problem(results / result)
    if damage:
        return Entry(str(source), "failed", inputs / source, results / result, problem=damage)
    return replace(kept_entry(str(source), inputs / source, results / result, {}), state="done")


def _problem(file: Path) -> tuple[str, ...]:
    """Return why a picture or an archive cannot be read, as far as its header tells; nothing for a clip."""
    if file.suffix.lower() in CLIP_EXTENSIONS:
        return ()
    try:
        if is_archive(file):
            ArchiveReader(file).close()
        else:
            probe(file)
    except InputError as error:
        return (error.message, *(() if error.hint is None else (error.hint,)))
    return ()
