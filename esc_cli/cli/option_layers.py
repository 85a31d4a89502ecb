"""Read the options that a configuration file and environment variables set, and check them.

The names are those of the long options, so that no list of them exists: ``--max-megapixels`` is
``max-megapixels`` in a file and ``ESC_UPSCALE_MAX_MEGAPIXELS`` in the environment.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperOption

from esc_cli.cli.application import said_plainly
from esc_cli.errors import DEBUG_VARIABLE, UsageError, did_you_mean
from esc_cli.version import PROGRAM

PREFIX = "ESC_UPSCALE_"
"""The beginning of the names of environment variables."""

_SETS = "presets"
"""The table of a configuration file that holds the named sets of options."""

ENVIRONMENT = "the environment"

CHOOSING = ("config", "no_config", "use")
"""Options that choose what is read from a file, and so cannot be in one."""

_MISSPELT = 0.75
"""Smallest likeness to the name of an option for which a variable counts as a misspelled one.

Other programs use the prefix for their own variables: Kubernetes does for services of this name.
"""

_ALL_OPTIONS = "esc-upscale --help lists all options"


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


def _file_named(name: str | None) -> Path:
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
    path = _file_named(named or os.environ.get(f"{PREFIX}CONFIG") or None)
    try:
        content = _content(path, must_exist=False)
    except UsageError:
        return ()
    sets = (content or {}).get(_SETS)
    return tuple(sets) if isinstance(sets, dict) else ()


def read_environment(options: Mapping[str, TyperOption], parameters: Iterable[Any], ctx: Any) -> Layer:
    """Read the options in the environment.

    Args:
        options: The options that may be there, by key.
        parameters: All parameters of the command.
        ctx: The context of the command.

    Raises:
        UsageError: A value is invalid, or a variable is an option of one run or looks like a misspelled one.
    """
    variables = {_variable(option): option for option in options.values()}
    others = {_variable(one) for one in parameters if not one.is_eager} - variables.keys()
    for name in os.environ.keys() - {*variables, DEBUG_VARIABLE}:
        if name in others:
            raise UsageError(f"{name!r} belongs on the command line, not in the environment")
        _refuse_misspelt(name, variables)
    found = {name: os.environ[name] for name in variables if os.environ.get(name)}
    words = {name: value.split() if variables[name].multiple else value for name, value in found.items()}
    return _layer(ENVIRONMENT, words, variables, ctx)


def read_file(
    named: str | None,
    chosen: str | None,
    options: Mapping[str, TyperOption],
    parameters: Iterable[Any],
    ctx: Any,
) -> Iterator[Layer]:
    """Read a configuration file.

    Args:
        named: The file. None means the one in the user's folder, which need not exist.
        chosen: Name of the set of options to take. None means no set.
        options: The options that may be set outside of the command line, by key.
        parameters: All parameters of the command.
        ctx: The context of the command.

    Yields:
        The chosen set and the rest of the file.

    Raises:
        UsageError: The file cannot be read, an option does not exist, a value is invalid, or there is no such
            set.
    """
    path = _file_named(named)
    content = _content(path, must_exist=named is not None or chosen is not None)
    if content is None:
        return
    options = {key: option for key, option in options.items() if option.name not in CHOOSING}
    _refuse_unknown(path, content, options, parameters)
    sets = {
        name: _layer(f"{path} [{_SETS}.{name}]", one, options, ctx)
        for name, one in content.pop(_SETS, {}).items()
    }
    if chosen is not None:
        if chosen not in sets:
            example = f"a set is a table such as [{_SETS}.photos]"
            known = f"its sets are {', '.join(sets)}" if sets else example
            raise UsageError(f"{path}: there is no set {chosen!r}", hint=did_you_mean(chosen, sets) or known)
        yield sets[chosen]
    yield _layer(str(path), content, options, ctx)


def _refuse_misspelt(name: str, variables: Iterable[str]) -> None:
    """Raise an error if a variable of the environment looks like a misspelled one of an option."""
    if not name.startswith(PREFIX):
        return
    tails = {known.removeprefix(PREFIX) for known in variables}
    if did_you_mean(name.removeprefix(PREFIX), tails, cutoff=_MISSPELT) is not None:
        hint = did_you_mean(name, variables)
        raise UsageError(f"there is no option for the environment variable {name!r}", hint=hint)


def _refuse_unknown(
    path: Path, content: Mapping[str, Any], options: Mapping[str, Any], parameters: Iterable[Any]
) -> None:
    """Raise an error for keys that are not options, or are options of one run."""
    sets = content.get(_SETS, {})
    if not isinstance(sets, dict) or not all(isinstance(one, dict) for one in sets.values()):
        raise UsageError(f"{path}: {_SETS} must hold tables such as [{_SETS}.photos]")
    others = {key_of(one) for one in parameters} - options.keys()
    tables = {f"{path} [{_SETS}.{name}]": table for name, table in sets.items()}
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
        hint = f"a set of options is a table such as [{_SETS}.photos]"
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


def key_of(parameter: Any) -> str:
    """Return the name of a parameter in a file: that of its long option, without the dashes."""
    return str(max(parameter.opts, key=len)).lstrip("-")


def _variable(parameter: Any) -> str:
    return PREFIX + key_of(parameter).replace("-", "_").upper()
