import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

Run = Callable[..., Any]
Save = Callable[..., Path]
Load = Callable[..., Image.Image]


def test_a_sheet_and_its_figures(run: Run, save: Save, load: Load) -> None:
    save("[a].png", size=(48, 40))
    ended = run("compare", "[a].png", "-m", "nearest", "-s", 2, "--shrink", "-o", "sheet.png")
    assert (ended.code, ended.stderr) == (0, "")
    assert "[a].png" in ended.text
    facts = json.loads(
        run(
            "compare", "[a].png", "-m", "nearest", "-s", 2, "--shrink", "-o", "b.png",
            "--crop", "0,0,20,30", "--crop", "20,10,20,30", "--json",
        ).text
    )  # fmt: skip
    assert (facts["version"], facts["event"], facts["scale"], facts["sheet"]) == (2, "comparison", 2, "b.png")
    assert facts["crops"] == [[0, 0, 20, 30], [20, 10, 20, 30]]
    assert [model["name"] for model in facts["models"]] == ["bicubic", "nearest"]
    assert [model["model"] for model in facts["models"]] == ["bicubic", "nearest"]
    for model in facts["models"]:
        assert f"{model['psnr']:.2f}" in ended.text
        assert len(model["crop_psnr"]) == 2
    assert load("b.png").size == (3 * 240 + 2 * 8, 2 * (160 + 2 * 22) + 8)


@pytest.mark.parametrize("degradation", ["bicubic", "robust", "real"])
def test_figures_are_those_of_evaluate(run: Run, save: Save, degradation: str) -> None:
    save("set/a.png", size=(48, 40))
    options = ("-m", "nearest", "-s", 2, "--degradation", degradation, "--json")
    compared = json.loads(run("compare", "set/a.png", *options, "--shrink", "-o", "sheet.png").text)
    evaluated = [json.loads(line) for line in run("evaluate", "set", *options).text.splitlines()]
    assert compared["models"][1]["psnr"] == pytest.approx(evaluated[-1]["psnr"])


@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "tiff", "gif"])
def test_sheets_of_several_formats(run: Run, save: Save, load: Load, extension: str) -> None:
    save("a.png", size=(12, 10))
    assert run("compare", "a.png", "-m", "nearest", "-s", 2, "-o", f"sheet.{extension}").code == 0
    assert load(f"sheet.{extension}").size == (2 * 240 + 8, 3 * (240 + 2 * 22) + 2 * 8)


def test_without_an_original_there_are_no_figures(run: Run, save: Save) -> None:
    save("a.png", size=(12, 10))
    ended = run("compare", "a.png", "-m", "nearest", "-s", 2, "-o", "sheet.png", "--json")
    models = json.loads(ended.text)["models"]
    assert [(model["psnr"], model["crop_psnr"]) for model in models] == [(None, [])] * 2


def test_a_result_like_the_original_is_still_json(run: Run) -> None:
    Image.new("RGB", (40, 40), (128, 128, 128)).save("a.png")
    ended = run("compare", "a.png", "-m", "nearest", "-s", 2, "--shrink", "-o", "sheet.png", "--json")
    models = json.loads(ended.text, parse_constant=pytest.fail)["models"]
    assert models[1]["psnr"] is None


def test_a_sheet_that_is_there_is_replaced_only_on_demand(run: Run, save: Save) -> None:
    save("a.png", size=(12, 10))
    before = save("sheet.png").read_bytes()
    ended = run("compare", "a.png", "-m", "nearest", "-s", 2, "-o", "sheet.png")
    assert (ended.code, Path("sheet.png").read_bytes()) == (6, before)
    assert ended.stderr.startswith("esc-upscale: 'sheet.png' already exists\n")
    ended = run("compare", "a.png", "-m", "nearest", "-s", 2, "-o", "sheet.png", "--overwrite")
    assert ended.code == 0


@pytest.mark.parametrize("sheet", ["a.png", "original.png"])
def test_a_sheet_never_replaces_what_it_was_made_from(run: Run, save: Save, sheet: str) -> None:
    save("a.png", size=(12, 10))
    save("original.png", size=(24, 20))
    before = Path(sheet).read_bytes()
    options = ("-m", "nearest", "-s", 2, "--original", "original.png", "-o", sheet, "--overwrite")
    ended = run("compare", "a.png", *options)
    assert (ended.code, Path(sheet).read_bytes()) == (6, before)
    assert "never replace inputs" in ended.stderr


def test_errors(run: Run, save: Save) -> None:
    save("a.png", size=(12, 10))
    arguments = ("compare", "a.png", "-s", 2, "-m", "nearest", "-o")
    assert run("compare", "a.png").code == 2
    assert run(*arguments, "sheet.xyz").code == 2
    assert run(*arguments, "sheet").code == 2
    assert run(*arguments, "sheet.png", "--crop", "1,2").code == 2
    assert run(*arguments, "sheet.png", "--crop", "0,0,11,2").code == 2
    assert run(*arguments, "sheet.png", "--original", "a.png").code == 3
    assert run("compare", "nowhere.png", "-o", "sheet.png").code == 3
    ended = run(*arguments, "sheet.png", "--degradation", "real")
    assert (ended.code, "add --shrink" in ended.stderr) == (2, True)
    assert run(*arguments, "sheet.png", "-m", "unknown").code == 4
    assert run(*arguments, "sheet.png", "-d", "abacus").code == 5
    assert run(*arguments, "no/sheet.png").code == 6
    assert not Path("sheet.png").exists()


def layers_of(page: str | Path) -> list[dict[str, Any]]:
    text = Path(page).read_text("utf-8")
    layers: list[dict[str, Any]] = json.loads(text.split('id="page">')[1].split("</script>")[0])["layers"]
    return layers


def test_a_page_of_models(run: Run, save: Save) -> None:
    save("a.png", size=(48, 40))
    ended = run("compare", "a.png", "-m", "nearest", "-s", 2, "--shrink", "--html", "a.html", "--json")
    assert (ended.code, ended.stderr) == (0, "")
    facts = json.loads(ended.text)
    assert (facts["page"], "sheet" in facts) == ("a.html", False)
    layers = layers_of("a.html")
    assert [layer["name"] for layer in layers] == ["original", "input", "bicubic", "nearest"]
    assert [layer["width"] for layer in layers] == [48, 24, 48, 48]
    assert layers[3]["facts"]["PSNR, dB"] == f"{facts['models'][1]['psnr']:.2f}"
    assert run("compare", "a.png", "-m", "nearest", "-s", 2, "--html", "a.html").code == 6
    both = ("--html", "a.html", "-o", "sheet.png", "--overwrite")
    assert run("compare", "a.png", "-m", "nearest", "-s", 2, *both).text.split() == ["sheet.png", "a.html"]
    assert [layer["name"] for layer in layers_of("a.html")] == ["input", "bicubic", "nearest"]


def test_a_page_of_finished_pictures(run: Run, save: Save) -> None:
    save("before.png", size=(12, 10))
    Path("truth.png").write_bytes(save("after.png", size=(24, 20)).read_bytes())
    ended = run("compare", "before.png", "after.png", "--original", "truth.png", "--html", "page.html")
    assert (ended.code, ended.text.strip()) == (0, "page.html")
    layers = layers_of("page.html")
    assert [layer["name"] for layer in layers] == ["original", "before.png", "after.png"]
    assert ["PSNR, dB" in layer["facts"] for layer in layers] == [False, False, True]
    assert layers[2]["facts"]["PSNR, dB"] == "equal"


PROGRAM_AND_ITS_PEAK = """
from esc_cli.cli.main import main

try:
    main()
except SystemExit as end:
    assert not end.code
with open("/proc/self/status") as status:
    print(next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(("count", "options"), [(10, ()), (2, ("--original", "1.jpg"))])
def test_large_results_take_less_than_a_gigabyte(
    tmp_path: Path, program_environment: dict[str, str], count: int, options: tuple[str, ...]
) -> None:
    names = [f"{number}.jpg" for number in range(count)]
    picture = Image.new("RGB", (6000, 4000), (90, 120, 150))
    picture.paste(Image.effect_noise((900, 900), 60).convert("RGB"), (2000, 1500))
    for name in names:
        picture.save(tmp_path / name, quality=90)
    # The program tells its own peak: what wait4() tells includes the memory of this process (getrusage(2)).
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM_AND_ITS_PEAK, "compare", *names, *options, "--html", "page.html"],
        cwd=tmp_path,
        env=program_environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(layers_of(tmp_path / "page.html")) == count + len(options) // 2
    assert int(ended.stdout.split()[-1]) < 10**9


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--output", "s.png"),
        ("--output", "s.png", "--html", "p.html"),
        ("--model", "nearest", "--html", "p.html"),
        ("--scale", "4", "--html", "p.html"),
        ("--crops", "3", "--html", "p.html"),
        ("--device", "auto", "--html", "p.html"),
        ("--degradation", "bicubic", "--html", "p.html"),
        ("--shrink", "--html", "p.html"),
        ("--crop", "0,0,1,1", "--html", "p.html"),
    ],
)
@pytest.mark.parametrize("inputs", [("a.png", "b.png"), ("in", "out")])
def test_several_pictures_are_only_for_pages(
    run: Run, save: Save, inputs: tuple[str, ...], options: tuple[str, ...]
) -> None:
    save("a.png", size=(12, 10)), save("in/a.png", size=(12, 10))
    save("b.png", size=(24, 20)), save("out/a.png", size=(24, 20))
    ended = run("compare", *inputs, *options)
    assert ended.code == 2
    assert not options or f"{options[0]} does not apply to" in ended.stderr
    assert not list(Path().glob("[sp].*"))


def test_finished_pictures_in_json(run: Run, save: Save) -> None:
    save("a.png"), save("b.png")
    facts = json.loads(run("compare", "a.png", "b.png", "--html", "page.html", "--json").text)
    assert (facts["event"], facts["page"], facts["pictures"]) == (
        "comparison",
        "page.html",
        ["a.png", "b.png"],
    )


@pytest.mark.parametrize("others", [("b.png",), ("-m", "nearest", "-s", 2)])
def test_what_is_not_shown_is_said(run: Run, save: Save, others: tuple[Any, ...]) -> None:
    save("b.png")
    frames = [Image.new("RGB", (12, 10), color) for color in ("red", "green", "blue")]
    frames[0].save("a.gif", save_all=True, append_images=frames[1:])
    ended = run("compare", "a.gif", *others, "--html", "page.html")
    note = "note: a.gif has 3 frames, of which only the first is shown\n"
    assert (ended.code, ended.stderr) == (0, note)


def entries_of(page: str) -> dict[str, dict[str, Any]]:
    text = Path(page).read_text("utf-8")
    data = json.loads(text.split('id="page">')[1].split("</script>")[0])
    return {entry["name"]: entry for entry in data["entries"]}


def results_on(page: str) -> dict[str, str | None]:
    entries = entries_of(page)
    return {name: None if entry["state"] == "failed" else entry["file"] for name, entry in entries.items()}


def test_a_folder_and_its_results(run: Run, save: Save) -> None:
    save("in/a.png"), save("in/deep/b.jpg"), save("in/c.tiff")
    Path("in/bad.png").write_bytes(b"")
    assert run("in", "-r", "-m", "nearest", "-s", 2, "-f", "webp", "-d", "cpu").code == 7
    ended = run("compare", "in", "in_x2", "--html", "all.html", "--json")
    assert (ended.code, ended.stderr) == (0, "")
    assert json.loads(ended.text) | {"pictures": 4, "failed": 1} == json.loads(ended.text)
    assert results_on("all.html") == {
        "a.png": "in_x2/a.webp", "bad.png": None, "c.tiff": "in_x2/c.webp", "deep/b.jpg": "in_x2/deep/b.webp",
    }  # fmt: skip
    told = entries_of("all.html")
    assert told["bad.png"]["problem"] == ["in/bad.png is empty"]
    assert told["a.png"]["seconds"] > 0
    assert told["a.png"]["facts"]["model"] == "nearest"
    assert run("compare", "in", "in_x2", "--html", "all.html").code == 6
    assert run("compare", "in", "in_x2", "--html", "all.html", "--overwrite").text == "all.html\n"
    for more in ((), ("--overwrite",)):  # a page beside the results is neither an input nor a result
        assert run("compare", "in", "in_x2", "--html", "in_x2/all.html", *more).code == 0
        assert len(results_on("in_x2/all.html")) == 4
        assert entries_of("in_x2/all.html")["a.png"]["small"] == "../in/a.png"


def test_results_are_found_by_their_names(run: Run, save: Save) -> None:
    for name in ("a.png", "a.jpg", "b.png", "c.v1.png", "d.png", "e.png", "lost.png"):
        save(f"in/{name}")
    for name in (
        "a_jpg.png",
        "a.png",
        "b_x4.png",
        "c.v1_640x480.webp",
        "d.avif",
        "e_150pct.png",
        "other.png",
    ):
        save(f"out/{name}", size=(16, 12))
    Path("out/e_150pct.png").write_bytes(b"no picture")
    assert run("compare", "in", "out", "--html", "all.html").code == 0
    assert results_on("all.html") == {
        "a.jpg": "out/a_jpg.png", "a.png": "out/a.png", "b.png": "out/b_x4.png", "d.png": "out/d.avif",
        "c.v1.png": "out/c.v1_640x480.webp", "e.png": None, "lost.png": None,
    }  # fmt: skip
    told = entries_of("all.html")
    assert told["lost.png"]["problem"] == ["there is no result of it in 'out'"]
    assert told["e.png"]["problem"] == ["out/e_150pct.png is not a picture that this program reads"]


def test_records_tell_results_with_any_name(run: Run, save: Save) -> None:
    save("in/a.png"), save("in/b.png")
    run("in", "-o", "out", "-m", "nearest", "-s", 2, "-d", "cpu", "--name", "{width} of {stem}")
    run("compare", "in", "out", "--html", "all.html")
    assert results_on("all.html") == {"a.png": "out/16%20of%20a.png", "b.png": "out/16%20of%20b.png"}


def test_previews_are_no_results(run: Run, save: Save) -> None:
    save("in/a.png", size=(40, 30)), save("in/b.gif", size=(40, 30), mode="P")
    animation = [Image.new("RGB", (40, 30), color) for color in ("red", "blue")]
    animation[0].save("in/c.gif", save_all=True, append_images=animation[1:], duration=100)
    makes = "in", "-o", "out", "-m", "nearest", "-s", 2, "-d", "cpu"
    run(*makes), run(*makes, "--preview", 2)
    assert {path.name for path in Path("out").glob("*_preview.png")} == {
        f"{name}_preview.png" for name in "abc"
    }
    run("compare", "in", "out", "--html", "all.html")
    assert results_on("all.html") == {"a.png": "out/a.png", "b.gif": "out/b.gif", "c.gif": "out/c.gif"}


def test_archives_in_a_folder_have_results_too(run: Run, save: Save) -> None:
    for name in ("a", "b"):
        save(f"{name}.png")
        with zipfile.ZipFile(save("in/c.png").with_name(f"{name}.cbz"), "w") as archive:
            archive.write(f"{name}.png")
    assert run("in", "-m", "nearest", "-s", 2, "-d", "cpu").code == 0
    damaged = Path("in_x2/b.cbz")
    damaged.write_bytes(damaged.read_bytes()[:-30])
    ended = run("compare", "in", "in_x2", "--html", "all.html", "--json")
    assert json.loads(ended.text) | {"pictures": 3, "failed": 1} == json.loads(ended.text)
    assert results_on("all.html") == {"a.cbz": "in_x2/a.cbz", "b.cbz": None, "c.png": "in_x2/c.png"}
    assert entries_of("all.html")["b.cbz"]["problem"] == ["in_x2/b.cbz is not a complete ZIP archive"]


def test_folders_that_are_refused(run: Run, save: Save) -> None:
    save("in/a.png"), save("out/a.png"), Path("empty").mkdir()
    assert run("compare", "in", "--html", "a.html").code == 2
    assert run("compare", "in", "out/a.png", "--html", "a.html").code == 2
    assert run("compare", "in", "out", "-o", "a.png").code == 2
    assert run("compare", "in", "in", "--html", "a.html").code == 2
    assert run("compare", "in", "out", "-m", "nearest", "--html", "a.html").code == 2
    assert run("compare", "in", "out", "--html", "in/a.html").code == 6
    assert run("compare", "empty", "out", "--html", "a.html").code == 3
    assert not Path("a.html").exists()
