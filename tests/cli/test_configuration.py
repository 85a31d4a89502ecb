"""Test options from configuration files and from the environment.

The tests ask the program itself which options it would run with (``--print-config``).
"""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.core import TyperOption

from esc_cli.cli.configuration import ConfiguredCommand
from esc_cli.cli.option_layers import PREFIX, default_file
from esc_cli.cli.upscale import app

Run = Callable[..., Any]
Save = Callable[..., Path]

COMMAND = typer.main.get_command(app)
assert isinstance(COMMAND, ConfiguredCommand)
CHOOSING = {"config", "no-config", "use"}
OPTIONS = {key: option for key, option in COMMAND.options.items() if key not in CHOOSING}
ONE_RUN = {"output", "dry-run", "print-config", "version"}
TABLE = "a set of options is a table such as [presets.photos]"
WORDS = ("2", "3/4", "00:01", "all", "g=2")
"""Values to try for options that are neither flags, nor numbers, nor choices."""


def printed(run: Run, *arguments: object) -> dict[str, Any]:
    ended = run("--print-config", *arguments)
    assert (ended.code, ended.stderr) == (0, "")
    return tomllib.loads(ended.text)


def write(text: str, path: str | Path = "c.toml") -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def other_value(option: TyperOption) -> str:
    """Return a valid value that is not the default, found from what the option itself declares."""
    listed = re.findall(r"[\w.]+", option.metavar or "") if "|" in (option.metavar or "") else []
    choices = option.type_descriptor.choices or [one for one in listed if one == one.lower()]
    usable = [*choices, *([str(int(option.min) + 1)] if option.min is not None else []), *WORDS]
    return str(next(one for one in usable if one != option.default))


def test_every_option_is_settable_in_every_place(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    default = printed(run)
    for key, option in OPTIONS.items():
        value = "true" if option.is_flag else other_value(option)
        on_command_line = printed(run, f"--{key}", *(() if option.is_flag else (value,)))
        changed = {one for one in on_command_line if on_command_line[one] != default.get(one)}
        assert changed == {key}, key

        variable = PREFIX + key.replace("-", "_").upper()
        monkeypatch.setenv(variable, value)
        assert printed(run) == on_command_line, variable
        monkeypatch.delenv(variable)

        text = value if option.is_flag else f'["{value}"]' if option.multiple else f'"{value}"'
        file = write(f"{key} = {text}\n[presets.chosen]\n")
        assert printed(run, "--config", file) == on_command_line, key
        file = write(f"[presets.chosen]\n{key.replace('-', '_')} = {text}")
        assert printed(run, "--config", file, "--use", "chosen") == on_command_line, key
        assert printed(run, "--config", file) == default


def test_every_flag_can_be_switched_off_again(run: Run) -> None:
    flags = [key for key, option in OPTIONS.items() if option.is_flag]
    assert len(flags) > 5
    for key in flags:
        file = write(f"{key} = true")
        assert printed(run, "--config", file)[key] is True
        assert printed(run, "--config", file, f"--no-{key}")[key] is False


def test_options_of_one_run_are_taken_only_from_the_command_line(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {max(one.opts, key=len).lstrip("-"): one for one in COMMAND.params}
    assert options.keys() - OPTIONS.keys() - CHOOSING >= {"inputs", *ONE_RUN}
    for key in options.keys() - OPTIONS.keys():
        write(f"{key} = true")
        ended = run("in.png", "--config", "c.toml")
        assert ended.code == 2
        assert ended.stderr == f"esc-upscale: c.toml: {key!r} belongs on the command line, not in a file\n"
    monkeypatch.setenv("ESC_UPSCALE_DRY_RUN", "1")
    ended = run("in.png")
    assert (ended.code, ended.stdout) == (2, b"")
    assert "'ESC_UPSCALE_DRY_RUN' belongs on the command line, not in the environment" in ended.stderr


def test_the_nearest_place_wins(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write("quality = 1\ncrf = 1\ntile = 1\noverlap = 1\n[presets.a]\nquality = 2\ncrf = 2\ntile = 2\n")
    monkeypatch.setenv("ESC_UPSCALE_QUALITY", "3")
    monkeypatch.setenv("ESC_UPSCALE_CRF", "3")
    values = printed(run, "--config", "c.toml", "--use", "a", "-q", 4)
    assert [values[key] for key in ("quality", "crf", "tile", "overlap")] == [4, 3, 2, 1]
    assert "workers" not in values


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        ("scale = 2", ("--size", "50%"), {"size": "50%"}),
        ('size = "50%"', ("-s", "3"), {"scale": 3.0}),
        ('size = "50%"\n[presets.a]\nscale = 3', ("--use", "a"), {"scale": 3.0}),
        ("overwrite = true", ("--skip-existing",), {"skip-existing": True, "overwrite": False}),
        ("skip-existing = true", ("--no-overwrite",), {"skip-existing": True, "overwrite": False}),
        ("crf = 20", ("--codec-option", "b=5M"), {}),
        ("crf = 20", ("--codec-option", "tune=grain"), {"crf": 20}),
        ('format = "png"', ("-o", "out.jpg"), {}),
        ('format = "png"', ("-o", "out/"), {"format": "png"}),
        ('format = "png"', ("-o", "out.v2"), {"format": "png"}),
    ],
)
def test_what_contradicts_a_nearer_place_is_not_taken(
    run: Run, text: str, arguments: tuple[str, ...], expected: dict[str, Any]
) -> None:
    write(text)
    values = printed(run, "--config", "c.toml", *arguments)
    names = ("scale", "size", "crf", "format", "skip-existing", "overwrite")
    assert {name: values[name] for name in names if values.get(name)} == {
        name: value for name, value in expected.items() if value
    }


def test_the_file_of_the_user_is_read_unless_another_one_is_named(run: Run, save: Save) -> None:
    save("in.png")
    write('model = "nearest"\nscale = 3', default_file())
    assert run("in.png").code == 0
    assert Path("in_x3.png").exists()
    write("scale = 2")
    assert printed(run, "--config", "c.toml")["model"] == "auto"
    assert printed(run, "--no-config").keys() == printed(run).keys() - {"scale"}


def test_what_is_printed_is_taken_back(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESC_UPSCALE_TTA", "yes")
    write('model = "a \\"b\\" é\\t🙂\\u007f\\u0085\\\\.safetensors"', default_file())
    arguments = ("--codec-option", "g=2", "--codec-option", "x=a b", "-s", "1.5", "-j", 2, "--size", "")
    ended = run("--print-config", *arguments)
    assert "tta = true  # the environment\n" in ended.text
    assert f"  # {default_file()}\n" in ended.text
    monkeypatch.delenv("ESC_UPSCALE_TTA")
    write(ended.text)
    values = printed(run, "--config", "c.toml")
    assert values == tomllib.loads(ended.text)
    assert values["model"] == 'a "b" é\t🙂\x7f\x85\\.safetensors'
    assert (values["codec-option"], values["scale"], values["tta"]) == (["g=2", "x=a b"], 1.5, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modle = 1", "c.toml: there is no option 'modle'\n  did you mean 'model'?"),
        ("xyz = 1", "c.toml: there is no option 'xyz'\n  esc-upscale --help lists all options"),
        ("[presets.a]\nscael = 2", "c.toml [presets.a]: there is no option 'scael'\n  did you mean 'scale'?"),
        ("[preset]\na = 1", f"c.toml: preset: it must be one value, not a table\n  {TABLE}"),
        ("presets = 1", "c.toml: presets must hold tables such as [presets.photos]"),
        ("presets.a = 1", "c.toml: presets must hold tables such as [presets.photos]"),
        ("[presets.a]\nquality = 0", "c.toml [presets.a]: quality: it must be 1 or more"),
        ("quality = [1]", "c.toml: quality: it must be one value, not a list"),
        ("tta = 2", "c.toml: tta: it must be true or false"),
        ("scale =", "c.toml: this is not valid TOML, at end of document"),
        ("no-config = true", "c.toml: 'no-config' belongs on the command line, not in a file"),
        ("fail-fast = 1\nfail_fast = 1", "c.toml: 'fail-fast' and 'fail_fast' are the same option"),
        ("= 1", "c.toml: this is not valid TOML, at line 1, column 1"),
        ("tile = " + "9" * 5000, "c.toml: a number in the configuration file has too many digits"),
        ("a = " + "[" * 100_000, "c.toml: the lists in the configuration file are nested too deeply"),
        ('name = "a\\u0000b"', "c.toml: name: it must not contain the character NUL"),
    ],
)
def test_mistakes_in_a_file_are_named(run: Run, text: str, said: str) -> None:
    write(text)
    ended = run("in.png", "--config", "c.toml")
    assert (ended.code, ended.text, ended.stderr) == (2, "", f"esc-upscale: {said}\n")


@pytest.mark.parametrize(
    ("key", "value"),
    [("scale", "abc"), ("quality", "200"), ("jobs", "x"), ("jobs", "1.5"), ("precision", "fp17"),
     ("tiling", "foo"), ("runtime", "foo"), ("scale", "true"), ("crf", "high")],
)  # fmt: skip
def test_a_wrong_value_is_answered_as_on_the_command_line(
    run: Run, key: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_command_line = run("in.png", f"--{key}", value)
    sentence = on_command_line.stderr.splitlines()[-1].partition("': ")[2].rstrip(".")
    assert len(sentence) > 10
    bare = value if re.fullmatch(r"[\d.]+|true", value) else f'"{value}"'
    write(f"{key} = {bare}")
    ended = run("in.png", "--config", "c.toml")
    assert (ended.code, on_command_line.code) == (2, 2)
    assert ended.stderr == f"esc-upscale: c.toml: {key}: {sentence}\n"
    variable = f"ESC_UPSCALE_{key.upper()}"
    monkeypatch.setenv(variable, value)
    assert run("in.png").stderr == f"esc-upscale: the environment: {variable}: {sentence}\n"


def test_an_error_of_the_run_says_which_options_were_not_typed(
    run: Run, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    save("in.png")
    write('model = "esc-lite"\ncrf = 20')
    ended = run("in.png", "--config", "c.toml", "--crf", "-1")
    assert ended.code == 2
    assert ended.stderr.splitlines()[-1].endswith('(c.toml: model = "esc-lite")')
    ended = run("in.png", "--config", "c.toml")
    assert ended.code == 4
    assert ended.stderr == (
        "esc-upscale: there is no model 'esc-lite'\n"
        "  did you mean 'esc-light'? (c.toml: model = \"esc-lite\", crf = 20.0)\n"
    )
    monkeypatch.setenv("ESC_UPSCALE_CRF", "-1")
    assert run("in.png").stderr.splitlines()[-1].endswith("(the environment: ESC_UPSCALE_CRF = -1.0)")
    assert run("in.png", "-s", 0, "--no-config", "--crf", 1).stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--config", "no.toml"), "there is no configuration file 'no.toml'"),
        (
            ("--config", "~nobody-of-this-name/c.toml"),
            "there is no configuration file '~nobody-of-this-name/c.toml'",
        ),
        (("--config", "."), ".: the configuration file cannot be read: Is a directory"),
        (("--config", "c.toml", "--use", "foto"), "c.toml: there is no set 'foto'\n  did you mean 'photos'?"),
        (("--config", "c.toml", "--use", "b"), "c.toml: there is no set 'b'\n  its sets are photos, clips"),
        (("--use", "b"), "there is no configuration file 'DEFAULT'"),
        (("--no-config", "--use", "b"), "--no-config contradicts --config and --use"),
        (("--config", "latin.toml"), "latin.toml: the configuration file is not text in UTF-8"),
    ],
)
def test_mistakes_with_files_and_sets(run: Run, arguments: tuple[str, ...], said: str) -> None:
    write("[presets.photos]\n[presets.clips]")
    Path("latin.toml").write_bytes(b"model = '\xe9'")
    ended = run("in.png", *arguments)
    said = said.replace("DEFAULT", str(default_file()))
    assert (ended.code, ended.stderr) == (2, f"esc-upscale: {said}\n")


def test_variables_that_choose_the_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write("scale = 2\n[presets.a]\nscale = 3")
    monkeypatch.setenv("ESC_UPSCALE_CONFIG", "c.toml")
    assert printed(run)["scale"] == 2
    monkeypatch.setenv("ESC_UPSCALE_USE", "a")
    assert printed(run)["scale"] == 3
    assert "scale" not in printed(run, "--no-config")
    monkeypatch.setenv("ESC_UPSCALE_NO_CONFIG", "1")
    assert "scale" not in printed(run)
    assert printed(run, "--config", "c.toml")["scale"] == 3


@pytest.mark.parametrize(
    ("name", "nearest"), [("MODLE", "MODEL"), ("JOB", "JOBS"), ("TILES", "TILE"), ("SCAEL", "SCALE")]
)
def test_misspelt_variables_are_named(
    run: Run, name: str, nearest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ESC_UPSCALE_{name}", "2")
    ended = run("in.png")
    assert ended.code == 2
    assert ended.stderr.endswith(f"did you mean 'ESC_UPSCALE_{nearest}'?\n")


@pytest.mark.parametrize("name", ["PORT", "SERVICE_HOST", "SERVICE_PORT", "PORT_80_TCP", "VERSION", "HOME"])
def test_variables_of_other_programs_do_not_matter(
    run: Run, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ESC_UPSCALE_{name}", "2")
    assert printed(run)["model"] == "auto"


def test_empty_variables_count_as_unset(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESC_UPSCALE_TILE", "")
    assert "tile" not in printed(run)


def test_the_home_folder_may_be_abbreviated(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    write('model = "~/a.safetensors"')
    assert printed(run, "--config", "c.toml")["model"] == "/home/me/a.safetensors"


@pytest.mark.parametrize("folder", ["", "relative"])
def test_a_file_in_the_current_folder_is_not_read_by_chance(
    run: Run, folder: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Source: XDG Base Directory Specification: relative paths are ignored, and empty means unset."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", folder)
    write("scale = 2", Path(folder) / "esc-upscale/config.toml")
    assert "scale" not in printed(run)
    write("scale = 3", tmp_path / ".config/esc-upscale/config.toml")
    assert printed(run)["scale"] == 3


def test_a_file_from_a_windows_editor(run: Run) -> None:
    Path("c.toml").write_bytes(b"\xef\xbb\xbfscale = 2\r\ntile = 3\r\n")
    assert printed(run, "--config", "c.toml")["tile"] == 3


def test_details_say_which_places_were_used(run: Run, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    save("in.png")
    write('model = "nearest"\nscale = 2\n[presets.a]\nscale = 3\n')
    monkeypatch.setenv("ESC_UPSCALE_TTA", "0")
    arguments = ("in.png", "--config", "c.toml", "--use", "a", "-s", 1.5)
    lines = run(*arguments, "-v").stderr.splitlines()
    assert lines[:3] == [
        "the environment: ESC_UPSCALE_TTA = false",
        "c.toml [presets.a]: no options in use",
        'c.toml: model = "nearest"',
    ]
    assert "c.toml" not in run(*arguments, "--overwrite").stderr
    assert "c.toml" not in run(*arguments, "--overwrite", "-v", "--json").stderr


def test_help_does_not_depend_on_a_file(run: Run) -> None:
    text = run("--help").text
    write("broken =", default_file())
    ended = run("--help")
    assert (ended.code, ended.text, ended.stderr) == (0, text, "")
    assert run("--version").code == 0
    assert run("--print-config").code == 2


def test_other_commands_read_no_file_and_no_variables(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    text = run("models").text
    write("broken =", default_file())
    monkeypatch.setenv("ESC_UPSCALE_SCALE", "many")
    ended = run("models")
    assert (ended.code, ended.text, ended.stderr) == (0, text, "")


def test_a_home_that_is_no_folder_has_no_file(run: Run, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    save("in.png")
    for variable in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, "/dev/null")
    ended = run("in.png", "-m", "nearest", "-d", "cpu", "--quiet")
    assert (ended.code, ended.stderr) == (0, "")


@pytest.mark.parametrize("pair", [("--overwrite", "--skip-existing"), ("-s", "2", "--size", "64x")])
def test_a_contradiction_is_refused_and_not_printed(run: Run, pair: tuple[str, ...]) -> None:
    printed, ran = run("--print-config", *pair), run("a.png", *pair)
    assert (printed.code, printed.text) == (2, "")
    assert printed.stderr == ran.stderr
