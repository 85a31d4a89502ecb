"""Test that the README and the documents agree with the program."""

import dataclasses
import re
import shlex
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import typer
from PIL import Image
from typer.core import TyperGroup

from esc_cli.checkpoints.manifest import read_manifest
from esc_cli.checkpoints.model_card import PUBLISHED, SETS, render_models_table
from esc_cli.cli import upscale
from esc_cli.cli.configuration import ConfiguredCommand
from esc_cli.cli.main import COMMANDS
from esc_cli.cli.option_layers import default_file
from esc_cli.engine.executors.onnx_providers import PROVIDERS
from esc_cli.engine.executors.openvino_executor import MEASURED_THREADS, SAVED_S_PER_PX, START_S
from esc_cli.errors import ExitCode
from esc_cli.evaluation.benchmark.measurement import multiply_accumulates
from esc_cli.jobs.events import Event
from esc_cli.media.formats.registry import WRITTEN
from esc_cli.media.metadata.kinds import OPTIONS
from esc_cli.media.video.containers import CONTAINERS
from esc_cli.media.video.settings import _DEFAULT_CRF
from esc_cli.networks.ablations import ABLATIONS
from esc_cli.networks.ablations import PUBLISHED as PUBLISHED_ABLATIONS
from esc_cli.networks.architectures.registry import VARIANTS, build_network
from esc_cli.networks.attention.windows import ATTENTION_BACKENDS

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "esc_cli/training/RECIPE.md"]

LONGEST_README = 200
"""Limit in lines. Everything else belongs in docs/."""


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield the place and the arguments of every call of the program in the documents."""
    for path in DOCUMENTS:
        for block in re.findall(r"```sh\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.splitlines():
                for part in re.split(r" \| | && ", re.sub(r"\s+# .*", "", line)):
                    if part.startswith("esc-upscale "):
                        yield f"{path.name}: {part}", shlex.split(part)[1:]


def test_exit_codes_are_all_there() -> None:
    table = read("docs/batches.md").partition("<!-- table: exit codes -->")[2]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == set(ExitCode)


def test_models_are_those_of_the_manifest() -> None:
    table = read("README.md").partition("<!-- table: models -->\n")[2].partition("<!-- /table: models -->")[0]
    assert table == render_models_table(read_manifest()), "run: .ci/ship_model"


def test_figures_of_the_models_are_those_of_the_manifest() -> None:
    """If better weights are shipped, the README's sentence must tell of them."""
    readme = " ".join(read("README.md").split())
    entries = read_manifest()
    gaps = [
        score.psnr - entry.psnr[name]
        for entry in entries
        for name, score in zip(SETS, PUBLISHED.get((entry.name, entry.scale), ()), strict=False)
    ]
    assert f"are up to {max(gaps):.1f} dB better" in readme
    (real,) = (entry for entry in entries if entry.name == "esc-real")
    gains = [
        scores["ours"] - scores[other]
        for scores in real.psnr_degraded.values()
        for other in ("clean", "bicubic")
    ]
    assert f"it is {min(gains):.1f} to {max(gains):.1f} dB better than `esc` and bicubic" in readme


def test_speed_is_that_of_the_table_of_speeds() -> None:
    rows = {
        cells[1].strip(): cells
        for line in reversed(read("docs/speed.md").splitlines())  # the first of several tables counts
        if len(cells := line.split("|")) > 3
    }
    full, openvino = (rows[way][3].strip(" x") for way in ("float32 (`sdpa`)", "bfloat16, OpenVINO"))
    readme = " ".join(read("README.md").split())
    assert f"runs {full} times as fast as a direct implementation" in readme
    assert f"in bfloat16 it runs {openvino} times as fast" in readme
    light, fp, tiny = (float(rows[name][3]) for name in ("esc-light", "esc-fp", "esc-tiny"))
    assert (
        f"`esc-light` takes {light:.1f} of the time of `esc`, `esc-fp` {fp:.1f}, `esc-tiny` {tiny:.1f}"
        in readme
    )


def test_extras_python_and_torch_are_those_of_the_package() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    texts = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    named = {extra for extras in re.findall(r"esc-upscale\[([\w,]+)\]", texts) for extra in extras.split(",")}
    assert named <= project["optional-dependencies"].keys()
    versions = re.findall(r"Python :: (\d+\.\d+)", "".join(project["classifiers"]))
    assert f"Python {versions[0]} to {versions[-1]}" in read("README.md")
    assert len(set(re.findall(r"torch==(\S+)", read("README.md")))) == 1


def test_every_dependency_has_its_purpose_in_the_table() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    extras = (names for extra, names in project["optional-dependencies"].items() if extra != "test")
    table = re.sub(r"[ -]", "", read("docs/architecture.md").partition("## Dependencies")[2]).lower()
    for requirement in (*project["dependencies"], *(name for names in extras for name in names)):
        name = re.split(r"[^\w-]", requirement)[0].replace("-", "").lower()
        assert {"av": "pyav"}.get(name, name) in table, requirement


def test_ablated_networks_are_as_large_as_the_table_says() -> None:
    rows = re.findall(
        r"^\| ([a-z0-9-]+) \| (\d+) \| ([\d.]+) \|.*\|([^|]*)\|$", read("docs/research.md"), re.M
    )
    assert len(rows) == len(ABLATIONS) + 1  # with three others, and without kernel-17 and window-64
    for name, parameters, multiplications, published in rows:
        config = (ABLATIONS.get(name) or VARIANTS[name])(2)
        with torch.device("meta"):
            count = sum(parameter.numel() for parameter in build_network(config).parameters())
        assert (name, f"{count / 1000:.0f}") == (name, parameters)
        assert (name, f"{multiply_accumulates(config, 360, 640) / 10**9:.1f}") == (name, multiplications)
        if published.strip():
            paper = PUBLISHED_ABLATIONS[name]
            assert (name, f"{paper.set5:.2f}, {paper.latency_ms:.1f}") == (name, published.strip())


def test_events_are_all_there() -> None:
    table = read("docs/batches.md").partition("<!-- table: events -->")[2]
    table = table.partition("<!-- /table: events -->")[0]
    named = re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in table.strip().splitlines()))
    assert set(named) == {kind.event for kind in get_args(Event)}


def test_fields_of_events_are_there() -> None:
    kinds = {kind.event: kind for kind in get_args(Event)}
    table = read("docs/batches.md").partition("<!-- table: events -->")[2]
    rows = table.partition("<!-- /table: events -->")[0].strip().splitlines()[2:]
    for names, text in (row.strip("| ").split(" | ") for row in rows):
        fields = {
            field.name for name in re.findall(r"\w+", names) for field in dataclasses.fields(kinds[name])
        }
        assert set(re.findall(r"`([a-z_]+)`", text)) <= fields | {"auto", "done"}, names


def listed(document: str, before: str, after: str) -> set[str]:
    """Return the names that a sentence lists, in capitals."""
    text = " ".join(read(document).split()).partition(before)[2].partition(after)[0]
    return {name.strip("`").upper() for name in re.split(r", | and ", text)}


def test_lists_are_those_of_the_registries() -> None:
    without, optional = (
        {format.name.upper() for format in WRITTEN if bool(format.extra) == needs_extra}
        for needs_extra in (False, True)
    )
    assert listed("docs/pictures.md", "## Formats ", " are read and written") == without
    assert listed("docs/pictures.md", "are read and written. ", " need `pip") == optional
    for quality, before, after in ((95, "95 for ", ", and 90"), (90, "90 for ", ". Without")):
        found = {format.name.upper() for format in WRITTEN if format.lossy and format.quality == quality}
        assert listed("docs/pictures.md", before, after) == found
    assert f"`--metadata all|none|{','.join(OPTIONS)}`" in read("docs/pictures.md")
    containers = {one.extensions[0][1:].upper() for one in CONTAINERS if not one.is_raw}
    assert listed("docs/clips.md", "**Streams.** ", " are read and written") == containers
    backends = read("docs/speed.md").partition("`--attention` chooses")[2].partition("`auto`")[0]
    assert set(re.findall(r"`(\w+)`", backends)) == ATTENTION_BACKENDS.keys()
    devices = re.findall(r"^\| `(\w+)(?::0)?` \|", read("docs/runtimes.md"), re.MULTILINE)
    assert set(devices) == {provider.name for provider in PROVIDERS}


def test_rooms_are_those_of_the_package() -> None:
    named = set(re.findall(r"^\| `esc_cli/(\w+)/` \|", read("docs/architecture.md"), re.MULTILINE))
    there = {path.parent.name for path in (ROOT / "esc_cli").glob("*/__init__.py")}
    assert named == there


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8"))
    for link in links:
        name, _, place = link.partition("#")
        if not link.startswith("https://"):
            target = path.parent / name if name else path
            assert target.exists(), link
            assert not place or place in places(target), link


FIGURES = {
    ("clips.md", "in segments of {}"): "jobs.clips.sinks:SEGMENT_FRAMES",
    ("clips.md", "a GIF of more than {} frames per second"): "media.formats.gif:_FASTEST_SHOWN",
    ("clips.md", "get the quantizer {}"): "media.video.settings:_DEFAULT_QUANTIZER",
    ("pictures.md", "A part has {0}x{0} pixels"): "jobs.previews.task:PART_PX",
    ("pictures.md", "samples of {0}x{0} pixels"): "engine.tiling.samples:TILE_PX",
    ("pictures.md", "a margin of {} pixels around the part"): "enhancement.parts:MARGIN_PX",
    ("pictures.md", "read at most {} pixels across a border"): "engine.wrapping:UNBOUNDED_PX",
    (
        "pictures.md",
        "Up to {} megapixels of pictures",
    ): "evaluation.viewer.page:EMBEDDED_PX / 1000000",
    ("pictures.md", "more than {} megapixels are refused"): "media.pillow:LARGEST_INPUT_PX / 1000000",
    ("batches.md", "or {} pixels a side as tiles"): "evaluation.viewer.page:EMBEDDED_SIDE_PX",
    ("batches.md", "have been the same for {} seconds"): "jobs.watch:Patience.settle_s",
    ("batches.md", "failed after {} seconds without a change"): "jobs.watch:Patience.give_up_s",
    ("batches.md", "is searched every {} seconds"): "jobs.watch:Patience.search_s",
    ("batches.md", "Entries of more than {} GiB"): "media.archives:LARGEST_ENTRY_BYTES / 1073741824",
    ("batches.md", "more than {} MiB in all"): "media.archives:_HARMLESS_BYTES / 1048576",
    ("batches.md", "to more than {} times their size"): "media.archives:MOST_GROWTH",
    ("batches.md", "left and, from {} columns on"): "cli.bars:NARROW_COLUMNS",
    ("batches.md", "From {} columns on"): "cli.bars:WIDE_COLUMNS",
    ("batches.md", "over the last {} minutes"): "jobs.progress:SPEED_OVER_S / 60",
    ("batches.md", '`{{"version": {}, "event"'): "jobs.events:VERSION",
    ("cluster.md", "into segments of {} frames"): "jobs.clips.sinks:SEGMENT_FRAMES",
    ("cluster.md", "for at most {} seconds"): "jobs.clips.work_folder:_SEEN_WITHIN_S",
    ("cluster.md", "works on {} tasks at a time"): "jobs.cluster.worker:AT_ONCE",
    ("cluster.md", "If {} workers die"): "jobs.cluster.driver:MOST_DEATHS",
    ("cluster.md", "complete what they are publishing within {} seconds"): "jobs.cluster.driver:_FAREWELL_S",
    ("speed.md", "({} megapixels on a GPU)"): "engine.tuning.trials:WORTHWHILE_PX_ELSEWHERE / 1048576",
    ("speed.md", "in each precision, with {0}x{0} pixels"): "engine.tuning.trials:WHOLE_PX",
    ("speed.md", "for {} to 9 rounds"): "engine.tuning.trials:_ROUNDS_OF_RUNTIMES",
    ("speed.md", "for 3 to {} rounds"): "engine.tuning.race:MOST_ROUNDS",
    ("speed.md", "more than the {} s of its startup"): "engine.executors.openvino_executor:START_S",
    ("speed.md", "`--nice N` (0 to {})"): "jobs.niceness:MOST_NICE",
    ("speed.md", "(`GOMP_SPINCOUNT={}`)"): "engine.waiting:FEW_SPINS",
    ("runtimes.md", "plain operators of opset {}"): "engine.onnx_graphs.graph:OPSET",
    ("models.md", "has a standard deviation of {} or more"): "enhancement.choice:LIMITS.noise",
    ("models.md", "{} frames or pages are examined"): "enhancement.choice:MOST_LOOKS",
}
"""Figures in the documents, by their places, and the values of the program."""


@pytest.mark.parametrize(("place", "value"), FIGURES.items(), ids=str)
def test_figures_are_those_of_the_program(place: tuple[str, str], value: str) -> None:
    document, words = place
    name, _, unit = value.partition(" / ")
    module, _, attributes = name.partition(":")
    figure = reduce(getattr, attributes.split("."), import_module(f"esc_cli.{module}"))
    said = f"{float(figure) / float(unit or 1):g}"  # type: ignore[arg-type]
    assert words.format(said) in " ".join(read(f"docs/{document}").split())


def test_openvino_pays_from_the_sizes_that_the_document_names() -> None:
    full, half = (START_S / SAVED_S_PER_PX[dtype] / 1e6 for dtype in (torch.float32, torch.bfloat16))
    threads = {2: "two"}[MEASURED_THREADS]
    said = f"with {threads} threads, from {full:.1f} megapixels in float32 and from {half:.2f} in bfloat16"
    assert said in " ".join(read("docs/speed.md").split())


def in_backticks(document: str) -> list[str]:
    """Return what a document sets apart as code within its sentences."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", read(document), flags=re.DOTALL))


@pytest.mark.parametrize("document", ["docs/architecture.md", "docs/python.md", "docs/research.md"])
def test_files_and_names_of_the_code_are_there(document: str) -> None:
    folders = [ROOT / name for name in ("esc_cli", "tests", "docs", "weights")]
    files = [ROOT / "pyproject.toml", *folders, *(path for folder in folders for path in folder.rglob("*"))]
    places = [f"/{path.relative_to(ROOT).as_posix()}{'/' * path.is_dir()}" for path in files]
    known = {word for path in files if path.suffix == ".py" for word in re.findall(r"\w+", read(str(path)))}
    for named in in_backticks(document):
        if re.fullmatch(r"[\w./]+(\.(py|md|toml)|/)", named):
            assert any(place.endswith(f"/{named}") for place in places), named
        elif re.fullmatch(r"[A-Za-z_][\w.]*(\(.*\))?", named):
            assert set(re.findall(r"\w+", named)) <= known, named


def test_default_quality_of_clips_is_that_of_the_encoders() -> None:
    *first, last = (f"{quality:.0f}" for quality in _DEFAULT_CRF.values())
    assert f"The default `--crf` ({', '.join(first)} and {last})" in read("docs/clips.md")


def places(path: Path) -> set[str]:
    """Return the names that a Markdown file's headings have in links."""
    headings = re.findall(r"^#+ (.*)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("arguments", [pytest.param(words, id=place) for place, words in commands()])
def test_every_command_is_understood(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options and arguments are parsed as usual, with the configuration file of the documents."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    default_file().parent.mkdir()
    (example,) = re.findall(r"```toml\n(.*?)```", read("docs/configuration.md"), re.DOTALL)
    default_file().write_text(example, encoding="utf-8")
    name, *rest = arguments if arguments[0] in COMMANDS else ("upscale", *arguments)
    command = typer.main.get_command(import_module(f"esc_cli.cli.{name}").app)
    context = command.make_context(name, rest.copy())
    if isinstance(command, TyperGroup):
        name, command, rest = command.resolve_command(context, rest)
        assert command is not None
        context = command.make_context(name, rest)
    assert context.params


def test_python_runs_as_it_is_printed(save: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    save("in.png"), save("holiday/a.png", size=(2400, 2))
    save("first.gif"), save("second.gif")
    with Image.open("first.gif") as first, Image.open("second.gif") as second:
        first.save("in.gif", save_all=True, append_images=[second], duration=100)
    with zipfile.ZipFile("comic.cbz", "w") as comic:
        comic.write("in.png", "1.png")
    torch.save(build_network(VARIANTS["esc"](4)).state_dict(), "ESC_DIV2K_X4.pth")
    (code,) = re.findall(r"```python\n(.*?)```", read("docs/python.md"), re.DOTALL)
    found: dict[str, Any] = {"low": torch.rand(1, 3, 8, 6), "array": torch.rand(8, 6, 3).numpy()}
    exec(code, found)  # noqa: S102
    assert capsys.readouterr().out == "0 []\n"
    assert {"out.png", "big.cbz", "out.mp4", "holiday_1920x"} <= {path.name for path in Path().iterdir()}
    assert (found["high"].shape, found["network"].config) == ((1, 3, 32, 24), VARIANTS["esc"](4))
    assert found["array"].shape == (32, 24, 3)


def test_options_of_one_run_are_all_named() -> None:
    command = typer.main.get_command(upscale.app)
    assert isinstance(command, ConfiguredCommand)
    declared = {option for option in command.params if option not in command.options.values()}
    (sentence,) = re.findall(
        r"only from the command line: the inputs, (.*?)\.\s", read("docs/configuration.md"), re.S
    )
    named = set(re.findall(r"`(-+[\w-]+)`", sentence))
    assert all(named & set(option.opts) or option.is_eager or option.name == "inputs" for option in declared)
    assert named <= {name for option in declared for name in option.opts}


def test_every_document_is_named_in_the_readme() -> None:
    readme = read("README.md")
    assert [path.name for path in DOCUMENTS[1:-1] if f"](docs/{path.name})" not in readme] == []


def test_the_readme_is_short() -> None:
    assert len(read("README.md").splitlines()) <= LONGEST_README
