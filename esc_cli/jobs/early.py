"""Refuse invalid requests before torch is loaded, because loading torch takes seconds."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from esc_cli.checkpoints.manifest import AUTO_MODEL, DEFAULT_MODEL, is_name, read_manifest
from esc_cli.checkpoints.scales import default_scale
from esc_cli.enhancement.size import Geometry
from esc_cli.errors import InputError, UsageError
from esc_cli.jobs.file_lists import names_in_list
from esc_cli.jobs.naming import Destination, choose_format, destination_of, names_format, target_path
from esc_cli.jobs.options import Options
from esc_cli.jobs.record import record_path
from esc_cli.jobs.refusals import already_exists, refuse_replacing, refuse_unwritable
from esc_cli.jobs.sources import expand, find_sources
from esc_cli.jobs.streams import STDIN, STDOUT
from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.probe import is_picture, probe
from esc_cli.version import install_hint


def refuse_watch(inputs: Sequence[str], output: str | None, options: Options, *, dry_run: bool) -> None:
    """Refuse a watch that cannot work.

    Raises:
        UsageError: The package is not installed, an input is not a folder, or options contradict a watch.
    """
    for name in inputs:
        if not os.path.isdir(name):  # noqa: PTH112 - as in sources
            raise UsageError(f"only folders can be watched, and {name!r} is not one")
    contradictions = {
        "--dry-run": dry_run,
        "-o -": output == STDOUT,
        "--files-from": options.lists_files,
        "--fail-fast": options.fail_fast,
        "--ray": options.cluster is not None,
        "--retune": options.retune,
        "--preview": options.preview is not None,  # people look at a preview before they start the work
    }
    for name, is_set in contradictions.items():
        if is_set:
            raise UsageError(f"--watch and {name} contradict each other")
    if find_spec("watchfiles") is None:
        raise UsageError(
            "folders cannot be watched: the required package is not installed",
            hint=install_hint("watch"),
        )


def refuse_early(inputs: Sequence[str], output: str | None, options: Options, *, inputs_too: bool) -> None:
    """Refuse a request that the run would refuse later.

    Args:
        inputs: The inputs, as the user named them.
        output: The output, as the user named it.
        options: The options of the run.
        inputs_too: Whether to refuse a single input that does not exist or cannot be read, or whose result
            cannot be written or exists. Programs and reports learn of these from the events of the run.

    Raises:
        UsageError: No input is named, or the output, the list, the size or the scale is invalid.
        WeightsError: The model does not exist.
        InputError: The only input does not exist or cannot be read, or the list of inputs cannot be read.
        OutputError: The only result cannot be written.
        OutputExistsError: The only result already exists, and this program did not make it.
    """
    names = expand(inputs)
    if not names and not options.lists_files:
        raise UsageError("no input is named", hint="name files or folders, or a list with --files-from")
    if STDIN in names and options.files_from == STDIN:
        raise UsageError("a picture and the list of inputs cannot both come through standard input")
    destination = destination_of(names, output, options)
    if options.files_from is not None and options.files_from != STDIN:
        if names_format(options.files_from):
            raise UsageError(
                f"{options.files_from!r} is the name of a picture or clip, not of a list",
                hint="name it without --files-from to enlarge it",
            )
        names_in_list(options.files_from)
    _early_size(options)
    if isinstance(options.model, str) and options.model != AUTO_MODEL:
        is_name(options.model)
    only = names[0] if len(names) == 1 and names[0] != STDIN and "%" not in names[0] else None
    if inputs_too and not options.lists_files and only is not None:
        if not os.path.lexists(only):
            raise InputError(f"{only}: there is no such file")
        if is_picture(Path(only)):
            _refuse_picture(only, destination, options)


def _refuse_picture(name: str, destination: Destination, options: Options) -> None:
    """Refuse a picture that cannot be read, or whose result cannot be written or exists without a record.

    Whether a result with a record is up to date depends on the networks, which need torch.
    """
    size = _early_size(options)
    is_special = options.in_place or options.previewed or options.template or options.shard
    if size is None or is_special or not isinstance(destination.format, PictureFormat | None):
        return
    header = probe(Path(name), options.largest_px, keep_damaged=options.keeps_damaged)
    sources = find_sources((name,), recursive=False).pictures
    format = choose_format(destination, header.format)
    label = size.file_label(size.size_of(header.height, header.width))
    target = target_path(sources[0], destination, format, size.label, label)
    if target is None:
        return
    refuse_replacing([target], sources)
    if not os.path.lexists(target):
        refuse_unwritable([target])
    elif options.when_there == "refuse" and not record_path(target).exists():
        raise already_exists(target)


def _early_size(options: Options) -> Geometry | None:
    """Return the requested size; None if it is known only when the model is loaded."""
    if options.size is not None:
        return Geometry.parse(options.size)
    if options.scale is not None:
        return Geometry.of_scale(options.scale)
    name = DEFAULT_MODEL if options.model == AUTO_MODEL else options.model
    scales = tuple(entry.scale for entry in read_manifest() if entry.name == name)
    return Geometry.of_scale(default_scale(scales)) if scales else None
