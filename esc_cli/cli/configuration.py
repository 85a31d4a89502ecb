"""Take options from a configuration file and from environment variables.

The value of an option comes from the first of these places that has one: the command line, the environment,
the chosen set of the configuration file, the rest of the file, the default. An option that belongs to one run
is declared with ``allow_from_autoenv=False`` and is taken only from the command line.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from typing import Any, ParamSpec

from typer.core import TyperOption

from esc_cli.cli.application import HelpCommand
from esc_cli.cli.option_layers import CHOOSING, ENVIRONMENT, Layer, key_of, read_environment, read_file
from esc_cli.cli.output import answer, say
from esc_cli.errors import EscError, ExitCode, UsageError
from esc_cli.version import made_by

P = ParamSpec("P")

_LAYERS = "esc_cli.layers"


class ConfiguredCommand(HelpCommand):
    """A command that also takes its options from a configuration file and from the environment.

    Attributes:
        displaced: Returns the options that lose their meaning through other ones. A nearer place that sets
            ``--scale`` displaces the ``size`` of a farther place.
        refuse: Raises a UsageError if options of the command contradict each other.
    """

    displaced: Callable[[Mapping[str, Any]], Iterable[str]] = staticmethod(lambda given: ())
    refuse: Callable[[Mapping[str, Any]], None] = staticmethod(lambda options: None)

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        for option in self.options.values():
            option.show_envvar = False

    @property
    def options(self) -> dict[str, TyperOption]:
        """The options that can be set in other places than the command line, by key."""
        options = (one for one in self.params if isinstance(one, TyperOption))
        return {key_of(one): one for one in options if one.allow_from_autoenv and not one.is_eager}

    def make_parser(self, ctx: Any) -> Any:
        """Add ``--no-NAME`` for each flag, because a file may have set it."""
        parser = super().make_parser(ctx)
        for key, option in self.options.items():
            if option.is_bool_flag and not option.secondary_opts and option.name not in CHOOSING:
                parser.add_option(option, [f"--no-{key}"], option.name, "store_const", const=False)
        return parser

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, with the values of the other places as defaults.

        Raises:
            UsageError: A file or a variable has an unknown option or an invalid value.
        """
        given = self.make_parser(ctx).parse_args(args=list(args))[0]
        if ctx.resilient_parsing or any(one.is_eager and one.name in given for one in self.get_params(ctx)):
            return super().parse_args(ctx, args)
        if given.get("print_config"):
            self._need_no_arguments()
        layers = ctx.meta[_LAYERS] = tuple(self._layers(ctx, given))
        ctx.default_map = {name: value for layer in reversed(layers) for name, value in layer.values.items()}
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command, or print the options that it would run with.

        Raises:
            UsageError: Options that are printed contradict each other.
        """
        if ctx.params.get("print_config"):
            self.refuse(ctx.params)
            for line in self._as_toml(ctx):
                answer(line)
            return None
        if ctx.params.get("verbose") and not ctx.params.get("quiet") and not ctx.params.get("json"):
            for line in origin_lines(origins(ctx)):
                say(line)
        return super().invoke(ctx)

    def _need_no_arguments(self) -> None:
        for parameter in self.params:
            if parameter.param_type_name == "argument":
                parameter.required = False

    def _layers(self, ctx: Any, given: Mapping[str, Any]) -> Iterator[Layer]:
        """Yield the places that set options, the nearest first, without the options that are displaced."""
        nearer = dict(given)
        for layer in self._places(ctx, given):
            kept = layer.without({*self.displaced(nearer)})
            nearer = {**kept.values, **nearer}
            yield kept

    def _places(self, ctx: Any, given: Mapping[str, Any]) -> Iterator[Layer]:
        environment = read_environment(self.options, self.params, ctx)
        yield environment.without(CHOOSING)
        asked = {name for name in ("config", "use") if name in given}
        if given.get("no_config") and asked:
            raise UsageError("--no-config contradicts --config and --use")
        if given.get("no_config", environment.values.get("no_config") and not asked):
            return
        chosen = {**environment.values, **given}
        yield from read_file(chosen.get("config"), chosen.get("use"), self.options, self.params, ctx)

    def _as_toml(self, ctx: Any) -> Iterator[str]:
        yield f"# {made_by()}"
        for key, option in self.options.items():
            value = ctx.params.get(option.name)
            if value is not None and option.name not in CHOOSING:
                layer = _layer_of(ctx, option.name)
                yield f"{key} = {_toml(value)}" + ("" if layer is None else f"  # {layer.place}")


def origins(ctx: Any) -> dict[str, str]:
    """Return the options that each place sets, as a line; it is empty for a file without options in use."""
    lines = {}
    for layer in ctx.meta.get(_LAYERS, ()):
        names = [name for name in layer.values if _layer_of(ctx, name) is layer]
        if names or layer.place != ENVIRONMENT:
            settings = (f"{layer.keys[name]} = {_toml(layer.values[name])}" for name in names)
            lines[layer.place] = ", ".join(settings)
    return lines


def origin_lines(settings: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each place, given the result of ``origins``."""
    yield from (f"{place}: {line or 'no options in use'}" for place, line in settings.items())


def says_origins(command: Callable[P, ExitCode]) -> Callable[P, ExitCode]:
    """Make the hint of an error say which options of the run were not given on the command line.

    Args:
        command: A command that has the context as its parameter ``context``.
    """

    @wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> ExitCode:
        try:
            return command(*args, **kwargs)
        except EscError as error:
            if error.exit_code in (ExitCode.USAGE, ExitCode.WEIGHTS, ExitCode.DEVICE):
                set_there = [f"{place}: {line}" for place, line in origins(kwargs["context"]).items() if line]
                if set_there:
                    error.hint = " ".join(filter(None, (error.hint, f"({'; '.join(set_there)})")))
            raise

    return wrapper


def _layer_of(ctx: Any, name: str) -> Layer | None:
    """Return the place whose value an option has, or None for the command line and the default."""
    source = ctx.get_parameter_source(name)
    if source is None or source.name != "DEFAULT_MAP":
        return None
    layers: tuple[Layer, ...] = ctx.meta[_LAYERS]
    return next(layer for layer in layers if name in layer.values)


def _toml(value: Any) -> str:
    """Write a value as TOML. Source: TOML v1.0.0; its basic strings are JSON's, except for DEL.

    Control characters beyond DEL are escaped, too, because the terminal would obey them.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(one) for one in value)}]"
    text = json.dumps(str(value), ensure_ascii=False)
    return re.sub(r"[\x7f-\x9f]", lambda match: f"\\u{ord(match[0]):04x}", text)
