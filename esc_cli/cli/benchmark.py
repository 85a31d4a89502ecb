"""``esc-upscale benchmark``: measure the speed, memory and accuracy of networks on this machine."""

from dataclasses import asdict, astuple
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from esc_cli.checkpoints.manifest import DEFAULT_MODEL
from esc_cli.cli import completion
from esc_cli.cli.application import new_application
from esc_cli.cli.guard import guarded
from esc_cli.cli.options import Device, Json, Overwrite
from esc_cli.cli.output import answer, answer_json, finite, printable, progress_bar
from esc_cli.errors import EscError

if TYPE_CHECKING:
    from esc_cli.evaluation.benchmark.candidates import Settings
    from esc_cli.evaluation.benchmark.report import BenchmarkReport, Flatness, Row, Workload

app = new_application()


@app.command()
@guarded
def benchmark(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME|FILE",
            autocompletion=completion.models,
            help=f"Model to measure. May be repeated. The default is {DEFAULT_MODEL}.",
        ),
    ] = None,
    random_weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VARIANT", help="Network of the paper to run with random weights. May be repeated."
        ),
    ] = None,
    scale: Annotated[
        int | None,
        typer.Option(
            "--scale", "-s", min=1, help="Factor to enlarge by. The default is the largest of each model."
        ),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HxW|hd",
            help="Height and width of the low-resolution picture, or hd for a result of 720x1280. May be "
            "repeated. The default is 128x128.",
        ),
    ] = None,
    device: Device = "auto",
    attention: Annotated[
        str,
        typer.Option(metavar="NAMES", help="Ways to compute attention, separated by commas: naive,sdpa,..."),
    ] = "auto",
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            "-p",
            metavar="NAMES",
            help="Number formats to try, separated by commas. The default is all that the device supports.",
        ),
    ] = None,
    tiling: Annotated[
        str,
        typer.Option(metavar="NAMES", help="Ways to cut the picture, separated by commas: none,exact,..."),
    ] = "auto",
    runtime: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Runtimes of the network, separated by commas. The default is all that are installed.",
        ),
    ] = None,
    runs: Annotated[
        int | None,
        typer.Option(min=1, help="Number of measured runs. The default is 5 on the CPU and 50 elsewhere."),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Picture to enlarge, cut to each size. The default is generated.")
    ] = None,
    json: Json = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png|.svg", help="Also draw speed and memory.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure every combination of models, sizes, attentions, precisions, tilings and runtimes.

    Each combination is compared with the plain network (naive attention, float32, the whole picture). All run
    in turns, so that noise on the machine affects them equally. Errors are measured against float64. The
    report names the combinations that cannot run on this machine.
    """
    from esc_cli.evaluation.benchmark.benchmark import benchmark as measure
    from esc_cli.evaluation.benchmark.candidates import NetworkSource
    from esc_cli.evaluation.benchmark.report import draw_plot
    from esc_cli.evaluation.benchmark.request import BenchmarkRequest
    from esc_cli.evaluation.figures import check_plot

    if plot is not None:
        check_plot(plot, replace=overwrite, inputs=[picture])
    random = [NetworkSource(name, scale, random_weights=True) for name in random_weights or ()]
    shipped = [NetworkSource(name, scale) for name in model or (() if random else (DEFAULT_MODEL,))]
    request = BenchmarkRequest(
        sources=(*shipped, *random),
        sizes=size or ("128x128",),
        attentions=attention.split(","),
        precisions=precision.split(",") if precision else None,
        tilings=tiling.split(","),
        runtimes=runtime.split(",") if runtime else None,
        device=device,
        rounds=runs,
        picture=picture,
    )
    with progress_bar("measuring") as progress:
        report = measure(request, progress)
    (_answer_program if json else _answer_person)(report)
    if plot is not None:
        draw_plot(report, plot)


def _answer_program(report: "BenchmarkReport") -> None:
    from esc_cli.evaluation.benchmark.report import flatness

    answer_json(
        "benchmark",
        device=report.device,
        device_name=report.device_name,
        threads=report.threads,
        torch_version=report.torch_version,
        warm_up=report.warm_up,
        rounds=report.rounds,
        matmul_side=report.matmul_side,
        matmul_seconds=report.matmul.median_s,
        idle_bytes=report.idle_bytes,
    )
    for work in report.workloads:
        for row in work.rows:
            answer_json("measurement", **_workload_facts(work), **_row_facts(row))
    for flat in flatness(report):
        answer_json(
            "flatness",
            model=flat.model,
            scale=flat.scale,
            settings=asdict(flat.settings),
            seconds_per_megapixel=[
                {"height": height, "width": width, "seconds": seconds}
                for (height, width), seconds in flat.seconds.items()
            ],
            spread=flat.spread,
        )


def _workload_facts(work: "Workload") -> dict[str, Any]:
    return {
        "model": work.model,
        "scale": work.scale,
        "height": work.height,
        "width": work.width,
        "multiply_accumulates": work.macs,
        "parameters": work.parameters,
    }


def _row_facts(row: "Row") -> dict[str, Any]:
    """Return the JSON fields of a row. The PSNR of a result without error is null."""
    facts: dict[str, Any] = {"settings": asdict(row.settings)}
    if isinstance(row.outcome, EscError):
        return facts | {"failure": {"message": row.outcome.message, "hint": row.outcome.hint}}
    measured = row.outcome
    error = measured.deviation
    return facts | {
        "failure": None,
        "chosen": asdict(measured.chosen),
        "tiling": measured.tiling,
        "seconds": measured.timing.median_s,
        "quartiles_seconds": measured.timing.quartiles_s,
        "rounds_seconds": measured.timing.rounds_s,
        "speedup": measured.speedup,
        "matmuls": measured.matmuls,
        "peak_bytes": measured.peak_bytes,
        "largest_error": None if error is None else error.largest,
        "psnr": None if error is None else finite(error.psnr),
    }


def _answer_person(report: "BenchmarkReport") -> None:
    from esc_cli.evaluation.benchmark.report import flatness

    for line in _machine_lines(report):
        answer(line)
    for work in report.workloads:
        answer(_title(work))
        answer(_table(work))
        for line in (*_fastest_lines(work), *_failure_lines(work)):
            answer(line)
    if flat := flatness(report):
        answer("seconds per megapixel of input; spread: the slowest size divided by the fastest")
        answer(_flatness_table(flat))


def _machine_lines(report: "BenchmarkReport") -> list[str]:
    where = report.device_name or f"{report.threads} threads"
    product = f"a float32 matrix product of side {report.matmul_side}"
    return [
        f"{report.device}, {where}, torch {report.torch_version}: {report.rounds} rounds in turns, "
        f"after {report.warm_up} of warm-up",
        f"ms: median; ±: half the interquartile range; matmul: in multiples of {product}, "
        f"{_milliseconds(report.matmul.median_s)} ms",
        *_memory_lines(report),
        "PSNR in dB and largest error in [0, 1]: against float64",
    ]


def _memory_lines(report: "BenchmarkReport") -> list[str]:
    if report.idle_bytes is None:
        return ["MB: peak memory of the tensors on the device"]
    idle = _megabytes(report.idle_bytes)
    return [f"MB: peak memory of the whole process; importing torch and this program takes {idle} of it"]


def _title(work: "Workload") -> str:
    size = f"{work.height}x{work.width}"
    macs = "" if work.macs is None else f"{work.macs / 10**9:,.1f} G multiply-accumulates, "
    return f"{work.model} x{work.scale} on {size}: {macs}{work.parameters:,} parameters"


def _table(work: "Workload") -> Table:
    table = Table("way", box=SIMPLE, padding=0)
    for name in ("ms", "±", "speed", "matmul", "MB", "PSNR", "error"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in work.rows:
        table.add_row(*_cells(row), style="bold" if row.outcome is work.fastest else None)
    return table


def _cells(row: "Row") -> list[str]:
    if isinstance(row.outcome, EscError):
        return [_words(row.settings), "-"]
    measured, error = row.outcome, row.outcome.deviation
    first, third = measured.timing.quartiles_s
    return [
        _words(measured.chosen),
        _milliseconds(measured.timing.median_s),
        f"{50 * (third - first) / measured.timing.median_s:.1f}%",
        "-" if measured.speedup is None else f"{measured.speedup:.2f}x",
        f"{measured.matmuls:.2f}",
        "-" if measured.peak_bytes is None else _megabytes(measured.peak_bytes),
        "-" if error is None else f"{error.psnr:.1f}",
        "-" if error is None else f"{error.largest:.0e}",
    ]


def _fastest_lines(work: "Workload") -> list[str]:
    fastest = work.fastest
    if fastest is None:
        return []
    return [f"the fastest, {_words(fastest.chosen)}, takes as long as {fastest.matmuls:.2f} matrix products"]


def _failure_lines(work: "Workload") -> list[str]:
    return [
        f"{_words(row.settings)}: {row.outcome.message}"
        for row in work.rows
        if isinstance(row.outcome, EscError)
    ]


def _flatness_table(found: "list[Flatness]") -> Table:
    """Return a table of all ways that ran on several sizes, with a column for each size."""
    sizes = sorted({size for flat in found for size in flat.seconds})
    table = Table("model", "way", box=SIMPLE, padding=0)
    for height, width in sizes:
        table.add_column(f"{height}x{width}", justify="right")
    table.add_column("spread", justify="right")
    for flat in found:
        seconds = [f"{flat.seconds[size]:.3g}" if size in flat.seconds else "-" for size in sizes]
        name = Text(printable(f"{flat.model} x{flat.scale}"))
        table.add_row(name, _words(flat.settings), *seconds, f"{flat.spread:.2f}")
    return table


def _words(settings: "Settings") -> str:
    return " ".join(astuple(settings))


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.0f}" if seconds > 0.1 else f"{1000 * seconds:.2f}"


def _megabytes(count: int) -> str:
    return f"{count / 10**6:,.0f}"
