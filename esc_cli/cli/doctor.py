"""``esc-upscale doctor``: show whether every part of the program works on this machine."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from esc_cli.cli.application import new_application
from esc_cli.cli.configuration import origin_lines
from esc_cli.cli.guard import guarded
from esc_cli.cli.options import Json
from esc_cli.cli.output import answer, answer_json, printable, stdout_console
from esc_cli.errors import EscError, ExitCode
from esc_cli.jobs.streams import stdout_errors
from esc_cli.version import PROGRAM, install_hint

if TYPE_CHECKING:
    from esc_cli.jobs.installation import Extra
    from esc_cli.jobs.self_check import Check

app = new_application()

_TITLES = {
    "device": "Devices",
    "model": "Models",
    "runtime": "Runtimes",
    "format": "Pictures, written and read again",
    "container": "Clips, written and read again",
}


@app.command()
@guarded
def doctor(json: Json = False) -> ExitCode:
    """Show whether every part of the program works on this machine, for you and for bug reports.

    The exit code is 0 if the program works, even if optional parts are missing or fail. Otherwise it is that
    of the first part that fails.
    """
    from esc_cli.jobs.installation import extras, machine, versions
    from esc_cli.jobs.self_check import all_checks

    about, here, options = versions(), machine(), _configuration()
    if not json:
        _show("Versions", [(name, "", version) for name, version in about.items()])
        _show("Machine", list(_facts(here)))
        _show("Configuration", [("", "", line) for line in _configuration_lines(options)])
    checks = list(all_checks())
    if json:
        found = {"checks": [asdict(check) for check in checks], "extras": [asdict(one) for one in extras()]}
        answer_json("doctor", versions=about, machine=here, configuration=options, **found)
    else:
        for kind, title in _TITLES.items():
            _show(title, [(check.name, check.state, check.detail) for check in checks if check.kind == kind])
        _show("Extras", [_extra_row(extra) for extra in extras()])
        answer(_conclusion(checks))
    return next(iter(_failures(checks, options)), ExitCode.OK)


def _failures(checks: "list[Check]", options: dict[str, Any]) -> Iterator[ExitCode]:
    if options["error"] is not None:
        yield ExitCode.USAGE
    yield from (ExitCode(check.exit_code) for check in checks if check.exit_code and not check.optional)


def _configuration() -> dict[str, Any]:
    """Return which options the main command takes from files and from the environment."""
    from typer.main import get_command

    from esc_cli.cli.configuration import origins
    from esc_cli.cli.option_layers import default_file
    from esc_cli.cli.upscale import app as main_app

    error = None
    settings: dict[str, str] = {}
    try:
        settings = origins(get_command(main_app).make_context(PROGRAM, ["--print-config"]))
    except EscError as problem:
        error = str(problem)
    return {"file": str(default_file()), "settings": settings, "error": error}


def _configuration_lines(options: dict[str, Any]) -> Iterator[str]:
    yield from origin_lines(options["settings"])
    if options["error"] is not None:
        yield f"fails: {options['error']}"
    elif not Path(options["file"]).is_file():
        yield f"{options['file']}: there is no such file"


def _facts(here: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    yield "device", "", f"{here['device']} ({here['device_name']}): {here['device_reason']}"
    yield "precision", "", f"{here['precision']}: {here['precision_reason']}"
    yield "memory", "", f"{here['free_memory_bytes'] / 10**9:.1f} GB free for this process"
    yield "threads", "", f"{here['torch_threads']} of torch, {here['cores']} usable cores"
    yield "speed", "", f"measured by large jobs, kept in {here['speed_file'] or 'no file'}"


def _extra_row(extra: "Extra") -> tuple[str, str, str]:
    packages = ", ".join(f"{name} {version or 'is missing'}" for name, version in extra.packages.items())
    complete = all(extra.packages.values())
    brings = f"{', '.join(extra.brings)}: " if extra.brings else ""
    advice = "" if complete else f"; {install_hint(extra.name)}"
    return extra.name, "installed" if complete else "not installed", f"{brings}{packages}{advice}"


def _conclusion(checks: "list[Check]") -> str:
    failing = [check.name for check in checks if check.state == "fails"]
    return f"These parts fail: {', '.join(failing)}" if failing else "All installed parts work."


def _show(title: str, rows: list[tuple[str, str, str]]) -> None:
    """Print a section as a table without lines. A column that is empty takes no room."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    used = [index for index in range(3) if any(row[index] for row in rows)]
    for index in used:
        table.add_column(no_wrap=index < 2, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(row[index])) for index in used))
    console = stdout_console()
    with stdout_errors(), console.capture() as captured:
        console.print(table)
    for line in (title, *captured.get().splitlines(), ""):
        answer(line.rstrip())
