"""Refuse mistakes before torch is loaded, which takes seconds."""

import os
from collections.abc import Sequence

from esc_cli.checkpoints.manifest import AUTO_MODEL
from esc_cli.checkpoints.names import is_name
from esc_cli.enhancement.size import Geometry
from esc_cli.errors import InputError
from esc_cli.jobs.naming import decide_destination
from esc_cli.jobs.options import Options
from esc_cli.jobs.sources import expand
from esc_cli.jobs.streams import STDIN


def refuse_early(inputs: Sequence[str], output: str | None, options: Options, *, missing: bool) -> None:
    """Refuse what the run would refuse later.

    Args:
        inputs: As named.
        output: As named.
        options: Of the run.
        missing: Refuse a single input that is not there, too. To programs a run tells of it in its events.

    Raises:
        UsageError: The output, the size or the scale makes no sense.
        WeightsError: There is no such model.
        InputError: The only input is not there.
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
