"""``esc-upscale compare PICTURE...``: show the results of several models on a sheet or a page."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.table import Table
from rich.text import Text

from esc_cli.checkpoints.manifest import DEFAULT_MODEL
from esc_cli.cli import completion
from esc_cli.cli.application import new_application
from esc_cli.cli.guard import guarded
from esc_cli.cli.options import Degradation, Device, Json, Overwrite
from esc_cli.cli.output import answer, answer_json, finite, printable, progress_bar, say
from esc_cli.cli.report import refuse_among
from esc_cli.errors import UsageError

if TYPE_CHECKING:
    from esc_cli.evaluation.comparison import Column, Comparison
    from esc_cli.evaluation.shown import Shown
    from esc_cli.media.formats.base import PictureFormat

app = new_application()

_FOR_MODELS = frozenset({"output", "model", "scale", "shrink", "degradation", "crop", "crops", "device"})
"""Parameters that say how one picture is enlarged and shown on a sheet."""


@app.command()
@guarded
def compare(
    context: typer.Context,
    pictures: Annotated[
        list[Path],
        typer.Argument(
            metavar="PICTURE",
            help="Picture to enlarge, several finished pictures for --html, or the folder of a batch and the "
            "folder of its results. Transparent parts are shown on white.",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="PATH", help="File to write a sheet of crops to.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="PATH", help="File to write a page for a browser to, with a slider and a zoom."
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME|FILE",
            autocompletion=completion.models,
            help="Model to compare. May be repeated.",
        ),
    ] = None,
    scale: Annotated[
        int, typer.Option("--scale", "-s", min=2, help="Factor that all models enlarge by.")
    ] = 4,
    original: Annotated[
        Path | None,
        typer.Option(metavar="PICTURE", help="Original picture. PSNR compares the results with it."),
    ] = None,
    shrink: Annotated[
        bool,
        typer.Option(
            "--shrink", help="Treat the picture as the original: shrink it first, as evaluate does."
        ),
    ] = False,
    degradation: Degradation = "bicubic",
    crop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="Y,X,H,W", help="Part of the picture to show, in pixels of the picture. May be repeated."
        ),
    ] = None,
    crops: Annotated[int, typer.Option(min=1, help="Number of crops to choose if no --crop is given.")] = 3,
    overwrite: Overwrite = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Show a picture enlarged by bicubic, enlarged by each model, and the original.

    A sheet (-o) shows crops side by side. Each row shows one place: the places with the most detail, or those
    given with --crop. If the original is known, the PSNR on luma is written below each crop.

    A page (--html) shows whole pictures in a browser, one over another with a slider between them. It
    works offline. With several pictures, nothing is enlarged: they are compared as they are. With two
    folders, the page shows each picture of the first one with its result in the second one.
    """
    targets = {kind: path for kind, path in (("sheet", output), ("page", html)) if path is not None}
    if not targets:
        raise UsageError("nothing to write", hint="name a sheet with -o, a page with --html, or both")
    has_folder = any(path.is_dir() for path in pictures)
    if has_folder:
        _refuse_given(context, {*_FOR_MODELS, "original"}, "two folders, whose pictures")
    elif len(pictures) > 1:
        _refuse_given(context, _FOR_MODELS, "several pictures, which")
    _check_targets(targets.values(), (*pictures, original), replace=overwrite)
    if has_folder:
        return _compare_folders(pictures, html, replace=overwrite, json=json)
    if len(pictures) > 1:
        return _compare_files(pictures, cast(Path, html), original, replace=overwrite, json=json)
    from esc_cli.evaluation.comparison import compare as compare_models
    from esc_cli.evaluation.windows import Window
    from esc_cli.media.formats.registry import format_named

    format = format_named(output.suffix or output.name) if output else None
    models = model or [DEFAULT_MODEL]
    _say_what_is_not_shown([*pictures, *([original] if original else ())])
    page = _page(html, pictures[0], models, scale, shrink=shrink, replace=overwrite)
    with page as show, progress_bar("comparing") as progress:
        comparison = compare_models(
            pictures[0],
            models,
            scale,
            original=original,
            shrink=shrink,
            degradation=degradation,
            windows=[Window.parse(text) for text in crop or ()],
            count=crops,
            device=device,
            progress=progress,
            show=show,
        )
    if output and format:
        _write_sheet(comparison, output, format, replace=overwrite)
    return _say_result(comparison, pictures[0].name, targets, json=json)


def _check_targets(targets: Collection[Path], inputs: Collection[Path | None], *, replace: bool) -> None:
    """Refuse to replace an input, or another file without ``replace``. Folders may get a page inside.

    Raises:
        OutputError: A target cannot be written, or is an input.
    """
    from esc_cli.storage.whole_files import check_target

    files = [path for path in inputs if path is not None and not path.is_dir()]
    for target in targets:
        check_target(target, replace=replace, inputs=files)


def _refuse_given(context: typer.Context, names: Collection[str], what: str) -> None:
    """Refuse options that were given but do not apply.

    Raises:
        UsageError: One of the parameters with these names was given.
    """
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in names and source is not None and source.name != "DEFAULT":
            option = max(parameter.opts, key=len)
            raise UsageError(
                f"{option} does not apply to {what} are compared as they are, on a page",
                hint="leave it out, or name one picture",
            )


def _say_result(comparison: "Comparison", name: str, targets: Mapping[str, Path], *, json: bool) -> None:
    if json:
        written = {kind: str(path) for kind, path in targets.items()}
        answer_json("comparison", **written, **_facts(comparison))
    elif comparison.original:
        answer(_table(comparison, name))
    else:
        for path in targets.values():
            answer(str(path))


def _say_what_is_not_shown(pictures: Sequence[Path]) -> None:
    from esc_cli.media.probe import probe

    for path in pictures:
        header = probe(path)
        if header.several is not None:
            say(f"note: {path} has {header.frames} {header.several}, of which only the first is shown")


def _write_sheet(comparison: "Comparison", target: Path, format: "PictureFormat", *, replace: bool) -> None:
    from esc_cli.media.picture import PictureFile
    from esc_cli.media.write import encode_file
    from esc_cli.storage.whole_files import write_whole

    write_whole(target, encode_file(PictureFile((comparison.sheet(),)), format), replace=replace)


@contextmanager
def _page(
    target: Path | None, picture: Path, models: Sequence[str], scale: int, *, shrink: bool, replace: bool
) -> Iterator["Callable[[Shown], None] | None"]:
    """Yield the function that adds a picture to the page, or None without a page."""
    if target is None:
        yield None
        return
    from esc_cli.evaluation.comparison import sizes_shown
    from esc_cli.evaluation.viewer.page import written_page

    sizes = sizes_shown(picture, models, scale, shrink=shrink)
    with written_page(target, f"{picture.name} x{scale}", sizes, replace=replace) as page:
        yield lambda shown: page.add(shown.name, shown.color, shown.facts())


def _compare_files(
    pictures: Sequence[Path], target: Path, original: Path | None, *, replace: bool, json: bool
) -> None:
    """Write a page of finished pictures, and say so."""
    from esc_cli.evaluation.shown import show_files, sizes_of_files
    from esc_cli.evaluation.viewer.page import written_page

    _say_what_is_not_shown([*([original] if original else ()), *pictures])
    sizes = sizes_of_files(pictures, original)
    title = ", ".join(path.name for path in pictures)
    with written_page(target, title, sizes, replace=replace) as page:
        for shown in show_files(pictures, original):
            page.add(shown.name, shown.color, shown.facts())
            del shown  # so that memory does not hold it while the next one is read
    if json:
        answer_json("comparison", page=str(target), pictures=[str(path) for path in pictures])
    else:
        answer(str(target))


def _compare_folders(folders: Sequence[Path], target: Path | None, *, replace: bool, json: bool) -> None:
    """Write a gallery of the pictures in a folder, with their results in another one, and say so.

    Raises:
        UsageError: There are not two folders, or there are options for pictures.
    """
    if len(folders) != 2 or target is None or not all(folder.is_dir() for folder in folders):
        raise UsageError(
            "two folders are compared on a page: those of the inputs and of the results",
            hint="use only --html and --overwrite, and name the folder of the results last",
        )
    refuse_among(target, folders[:1])
    from esc_cli.evaluation.viewer.files import folder_of
    from esc_cli.evaluation.viewer.gallery import Summary, write_gallery
    from esc_cli.jobs.pairs import entries_of

    inputs, results = folders
    entries = entries_of(inputs, results, folder_of(target))
    failed = sum(entry.state == "failed" for entry in entries)
    facts = {"pictures": f"{len(entries) - failed} with a result, {failed} without one or damaged"}
    summary = Summary(printable(f"{inputs} → {results}"), facts)
    with progress_bar("comparing", is_hidden=json) as progress:
        write_gallery(target, summary, entries, replace=replace, progress=progress)
    if json:
        answer_json("comparison", page=str(target), pictures=len(entries), failed=failed)
    else:
        answer(str(target))


def _facts(comparison: "Comparison") -> dict[str, Any]:
    """Return the JSON fields. The PSNR is null if the result equals the original, or if there is none."""
    return {
        "scale": comparison.scale,
        "crops": [[window.top, window.left, window.height, window.width] for window in comparison.windows],
        "models": [
            {
                "name": column.name,
                "model": column.model,
                "psnr": finite(column.psnr),
                "crop_psnr": [finite(score) for score in column.crop_psnrs],
            }
            for column in comparison.models
        ],
    }


def _table(comparison: "Comparison", name: str) -> Table:
    table = Table("crop", title=Text(printable(f"{name} x{comparison.scale}, PSNR in dB")))
    for column in comparison.models:
        table.add_column(Text(printable(column.title)), justify="right")
    for number, window in enumerate(comparison.windows):
        table.add_row(str(window), *(_score(column, number) for column in comparison.models))
    table.add_section()
    table.add_row("whole", *(_score(column) for column in comparison.models))
    return table


def _score(column: "Column", number: int | None = None) -> str:
    return f"{column.psnr if number is None else column.crop_psnrs[number]:.2f}"
