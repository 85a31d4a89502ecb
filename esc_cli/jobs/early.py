"""Refuse invalid requests before torch is loaded, because loading torch takes seconds."""

import os
from collections.abc import Sequence

from esc_cli.checkpoints.manifest import AUTO_MODEL, is_name
from esc_cli.enhancement.size import Geometry
from esc_cli.errors import InputError
from esc_cli.jobs.naming import decide_destination
from esc_cli.jobs.options import Options
from esc_cli.jobs.sources import expand
from esc_cli.jobs.streams import STDIN


def refuse_early(inputs: Sequence[str], output: str | None, options: Options, *, missing: bool) -> None:
    """Refuse a request that the run would refuse later.

    Args:
        inputs: The inputs, as the user named them.
        output: The output, as the user named it.
        options: The options of the run.
        missing: Whether to refuse a single input that does not exist, too. For programs, the run reports it
            in its events instead.

    Raises:
        UsageError: The output, the size or the scale is invalid.
        WeightsError: The model does not exist.
        InputError: The only input does not exist.
    """
    names = expand(inputs)
    decide_destination(names, output, options.format)
    if options.size is not None:
        Geometry.parse(options.size)
    elif options.scale is not None:
        Geometry.of_scale(options.scale)
    if isinstance(options.model, str) and options.model != AUTO_MODEL:
        is_name(options.model)
    only = names[0] if len(names) == 1 and names[0] != STDIN and "%" not in names[0] else None
    if missing and only is not None and not os.path.lexists(only):
        raise InputError(f"{only}: there is no such file")
