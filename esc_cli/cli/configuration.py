"""Take options from a configuration file and from environment variables.

The value of an option comes from the first of these places that has one: the command line, the environment,
the chosen set of the configuration file, the rest of the file, the default. The names are those of the long
options, so that no list of them exists: ``--max-megapixels`` is ``max-megapixels`` in a file and
``ESC_UPSCALE_MAX_MEGAPIXELS`` in the environment. An option that belongs to one run is declared with
``allow_from_autoenv=False`` and is taken only from the command line.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import typer
from typer.core import TyperOption

from esc_cli.cli.application import HelpCommand, said_plainly
from esc_cli.cli.output import answer, say
from esc_cli.errors import DEBUG_VARIABLE, EscError, ExitCode, UsageError, did_you_mean
from esc_cli.version import PROGRAM, made_by

P = ParamSpec("P")

PREFIX = "ESC_UPSCALE_"
"""The beginning of the names of environment variables."""

SETS = "presets"
"""The table of a configuration file that holds the named sets of options."""

ENVIRONMENT = "the environment"

_CHOOSING = ("config", "no_config", "use")
"""Options that choose what is read from a file, and so cannot be in one."""

_MISSPELT = 0.75
"""Smallest likeness to the name of an option for which a variable counts as a misspelled one.

Other programs use the prefix for their own variables: Kubernetes does for services of this name.
"""

_ALL_OPTIONS = "esc-upscale --help lists all options"

_LAYERS = "esc_cli.layers"


@dataclass(frozen=True)
class Layer:
    """The options that one place sets.

    Attributes:
        place: Name of the place in messages.
        keys: Name of each option in this place, by the name of its parameter.
        values: Value of each option, as Typer takes it, by the name of its parameter.
    """

    place: str
    keys: Mapping[str, str]
    values: Mapping[str, Any]

    def without(self, names: Iterable[str]) -> "Layer":
        """Return a copy without some options."""
        kept = {name: value for name, value in self.values.items() if name not in names}
        return Layer(self.place, self.keys, kept)


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
        return {_key(one): one for one in options if one.allow_from_autoenv and not one.is_eager}

    def make_parser(self, ctx: Any) -> Any:
        """Add ``--no-NAME`` for each flag, because a file may have set it."""
        parser = super().make_parser(ctx)
        for key, option in self.options.items():
            if option.is_bool_flag and not option.secondary_opts and option.name not in _CHOOSING:
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
        environment = read_environment(self, ctx)
        yield environment.without(_CHOOSING)
        asked = {name for name in ("config", "use") if name in given}
        if given.get("no_config") and asked:
            raise UsageError("--no-config contradicts --config and --use")
        if given.get("no_config", environment.values.get("no_config") and not asked):
            return
        chosen = {**environment.values, **given}
        yield from read_file(chosen.get("config"), chosen.get("use"), self, ctx)

    def _as_toml(self, ctx: Any) -> Iterator[str]:
        yield f"# {made_by()}"
        for key, option in self.options.items():
            value = ctx.params.get(option.name)
            if value is not None and option.name not in _CHOOSING:
                layer = _layer_of(ctx, option.name)
                yield f"{key} = {_toml(value)}" + ("" if layer is None else f"  # {layer.place}")


def file_named(name: str | None) -> Path:
    """Return the path of the configuration file with a name, or of the usual one if there is no name."""
    return default_file() if name is None else Path(os.path.expanduser(name))  # noqa: PTH111 - no such user


def default_file() -> Path:
    """Return the place of the configuration file, which need not exist."""
    folder = Path(typer.get_app_dir(PROGRAM))
    if not folder.is_absolute():  # XDG_CONFIG_HOME is empty or relative, and then counts as unset
        folder = Path(os.path.expanduser("~/.config")) / PROGRAM  # noqa: PTH111 - there may be no home
    return folder / "config.toml"


def set_names(named: str | None) -> tuple[str, ...]:
    """Return the names of the sets in a configuration file, or none if it cannot be read.

    Args:
        named: The file. None means the one that the environment names, or the one in the user's folder.
    """
    path = file_named(named or os.environ.get(f"{PREFIX}CONFIG") or None)
    try:
        content = _content(path, must_exist=False)
    except UsageError:
        return ()
    sets = (content or {}).get(SETS)
    return tuple(sets) if isinstance(sets, dict) else ()


def read_environment(command: ConfiguredCommand, ctx: Any) -> Layer:
    """Read the options in the environment.

    Args:
        command: The command whose options are read.
        ctx: The context of the command.

    Raises:
        UsageError: A value is invalid, or a variable is an option of one run or looks like a misspelled one.
    """
    variables = {_variable(option): option for option in command.options.values()}
    others = {_variable(one) for one in command.params if not one.is_eager} - variables.keys()
    for name in os.environ.keys() - {*variables, DEBUG_VARIABLE}:
        if name in others:
            raise UsageError(f"{name!r} belongs on the command line, not in the environment")
        _refuse_misspelt(name, variables)
    found = {name: os.environ[name] for name in variables if os.environ.get(name)}
    words = {name: value.split() if variables[name].multiple else value for name, value in found.items()}
    return _layer(ENVIRONMENT, words, variables, ctx)


def read_file(named: str | None, chosen: str | None, command: ConfiguredCommand, ctx: Any) -> Iterator[Layer]:
    """Read a configuration file.

    Args:
        named: The file. None means the one in the user's folder, which need not exist.
        chosen: Name of the set of options to take. None means no set.
        command: The command whose options the file may have.
        ctx: The context of the command.

    Yields:
        The chosen set and the rest of the file.

    Raises:
        UsageError: The file cannot be read, an option does not exist, a value is invalid, or there is no such
            set.
    """
    path = file_named(named)
    content = _content(path, must_exist=named is not None or chosen is not None)
    if content is None:
        return
    options = {key: option for key, option in command.options.items() if option.name not in _CHOOSING}
    _refuse_unknown(path, content, options, command)
    sets = {
        name: _layer(f"{path} [{SETS}.{name}]", one, options, ctx)
        for name, one in content.pop(SETS, {}).items()
    }
    if chosen is not None:
        if chosen not in sets:
            known = f"its sets are {', '.join(sets)}" if sets else f"a set is a table such as [{SETS}.photos]"
            raise UsageError(f"{path}: there is no set {chosen!r}", hint=did_you_mean(chosen, sets) or known)
        yield sets[chosen]
    yield _layer(str(path), content, options, ctx)


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


def _refuse_misspelt(name: str, variables: Iterable[str]) -> None:
    """Raise an error if a variable of the environment looks like a misspelled one of an option."""
    if not name.startswith(PREFIX):
        return
    tails = {known.removeprefix(PREFIX) for known in variables}
    if did_you_mean(name.removeprefix(PREFIX), tails, cutoff=_MISSPELT) is not None:
        hint = did_you_mean(name, variables)
        raise UsageError(f"there is no option for the environment variable {name!r}", hint=hint)


def _refuse_unknown(
    path: Path, content: Mapping[str, Any], options: Mapping[str, Any], command: ConfiguredCommand
) -> None:
    """Raise an error for keys that are not options, or are options of one run."""
    sets = content.get(SETS, {})
    if not isinstance(sets, dict) or not all(isinstance(one, dict) for one in sets.values()):
        raise UsageError(f"{path}: {SETS} must hold tables such as [{SETS}.photos]")
    others = {_key(one) for one in command.params} - options.keys()
    tables = {f"{path} [{SETS}.{name}]": table for name, table in sets.items()}
    for place, table in {**tables, str(path): content}.items():
        for key in table:
            plain = key.replace("_", "-")
            if plain in others:
                raise UsageError(f"{place}: {key!r} belongs on the command line, not in a file")
            if plain not in options and table.get(key) is not sets:
                nearest = did_you_mean(plain, options)
                raise UsageError(f"{place}: there is no option {key!r}", hint=nearest or _ALL_OPTIONS)


def _layer(place: str, table: Mapping[str, Any], options: Mapping[str, TyperOption], ctx: Any) -> Layer:
    keys = dict[str, str]()
    values = dict[str, Any]()
    for key, value in table.items():
        option = options.get(key) or options[key.replace("_", "-")]
        if option.name in keys:
            raise UsageError(f"{place}: {keys[option.name]!r} and {key!r} are the same option")
        keys[option.name] = key
        values[option.name] = _checked(value, option, f"{place}: {key}", ctx)
    return Layer(place, keys, values)


def _checked(value: Any, option: TyperOption, what: str, ctx: Any) -> Any:
    """Return a value as the command line would: its words are checked in the same way.

    Raises:
        UsageError: The value is invalid.
    """
    if isinstance(value, dict):
        hint = f"a set of options is a table such as [{SETS}.photos]"
        raise UsageError(f"{what}: it must be one value, not a table", hint=hint)
    if isinstance(value, list) and not option.multiple:
        raise UsageError(f"{what}: it must be one value, not a list")
    words = [_word(one) for one in (value if isinstance(value, list) else [value])]
    if any("\0" in word for word in words):
        raise UsageError(f"{what}: it must not contain the character NUL")
    try:
        return option.process_value(ctx, words if option.multiple else words[0])
    except typer.BadParameter as error:
        raise UsageError(f"{what}: {said_plainly(error.message).rstrip('.')}") from error


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return os.path.expanduser(value) if str(value).startswith("~/") else str(value)  # noqa: PTH111 - text


def _content(path: Path, *, must_exist: bool) -> dict[str, Any] | None:
    """Return the content of a file, or None if it does not exist and need not."""
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        if must_exist:
            raise UsageError(f"there is no configuration file {str(path)!r}") from error
        return None
    except OSError as error:
        if not must_exist and not os.path.lexists(path):  # the home of a service may be a file or locked
            return None
        raise UsageError(f"{path}: the configuration file cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: the configuration file is not text in UTF-8") from error
    except RecursionError as error:
        raise UsageError(f"{path}: the lists in the configuration file are nested too deeply") from error
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"\(at (.*)\)$", str(error))
        raise UsageError(
            f"{path}: this is not valid TOML, at {where[1] if where else 'an unknown line'}"
        ) from error
    except ValueError as error:
        raise UsageError(f"{path}: a number in the configuration file has too many digits") from error


def _key(parameter: Any) -> str:
    return str(max(parameter.opts, key=len)).lstrip("-")


def _variable(parameter: Any) -> str:
    return PREFIX + _key(parameter).replace("-", "_").upper()


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
