"""The page that ``--report`` writes. What a browser makes of it is in `tests/evaluation/viewer`."""

import json
import signal
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import av
import numpy as np
import pytest

Save = Callable[..., Path]
Run = Callable[..., Any]

NEAREST = ("-m", "nearest", "-s", 2, "-d", "cpu")


def page(path: str = "report.html") -> dict[str, Any]:
    text = Path(path).read_text("utf-8")
    data: dict[str, Any] = json.loads(text.split('id="page">')[1].split("</script>")[0])
    return data


def entries(path: str = "report.html") -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in page(path)["entries"]}


def test_it_tells_what_became_of_each_input(run: Run, save: Save) -> None:
    save("a b#1.png", size=(8, 6)), save("deep.png", size=(8, 6), mode="I;16")
    Path("bad.png").write_bytes(b"")
    arguments = ("a b#1.png", "deep.png", "bad.png", "-o", "out/", *NEAREST, "-f", "jpg")
    ended = run(*arguments, "--report", "report.html")
    assert ended.code == 7
    assert page()["facts"]["results"] == "2 done, 1 failed"
    assert page()["facts"]["models"] == "nearest x2 on cpu in float32"
    told = entries()
    states = {name: entry["state"] for name, entry in told.items()}
    assert states == {"a b#1.png": "done", "deep.png": "done", "bad.png": "failed"}
    assert told["bad.png"]["problem"] == ["bad.png is empty"]
    assert (told["bad.png"]["page"], told["bad.png"]["small"]) == (None, None)
    assert told["deep.png"]["notes"]
    assert told["deep.png"]["notes"][0] in ended.stderr
    done = told["a b#1.png"]
    assert done["facts"] == {"size": "8x6 → 16x12", "format": "PNG → JPEG", "model": "nearest"}
    assert done["seconds"] > 0
    assert done["bytes"] == Path("out/a b#1.jpg").stat().st_size
    addresses = [layer["overview"] for layer in done["page"]["layers"]]
    assert [unquote(address) for address in addresses] == ["a b#1.png", "out/a b#1.jpg"]
    assert unquote(done["small"]) == "a b#1.png"
    assert [path.name for path in Path("report_files").iterdir()] == ["slider.html"]


def test_a_single_picture_that_cannot_be_read_is_reported(run: Run) -> None:
    Path("bad.png").write_bytes(b"")
    assert run("bad.png", *NEAREST, "--report", "report.html").code == 3
    assert entries()["bad.png"]["problem"] == ["bad.png is empty"]


def test_files_that_browsers_do_not_show_are_copied(run: Run, save: Save, load: Callable[..., Any]) -> None:
    save("a.tiff", size=(80, 60))
    run("a.tiff", *NEAREST, "--report", "report.html")
    (entry,) = entries().values()
    low, high = (load(layer["overview"]) for layer in entry["page"]["layers"])
    assert (low.format, low.size, high.size) == ("JPEG", (80, 60), (160, 120))
    assert load(entry["small"]).size == (80, 60)


def test_small_pictures_are_made_of_large_inputs(run: Run, save: Save, load: Callable[..., Any]) -> None:
    save("a.jpg", size=(1600, 800))
    run("a.jpg", *NEAREST, "--report", "report.html")
    (entry,) = entries().values()
    assert entry["small"] == "report_files/0.webp"
    assert load(entry["small"]).size == (320, 160)
    assert entry["page"]["layers"][0]["overview"] == "a.jpg"


def test_a_later_run_replaces_the_report_and_says_that_it_continued(run: Run, save: Save) -> None:
    save("in/a.png"), save("in/b.png")
    arguments = ("in", *NEAREST, "--report", "report.html")
    assert run(*arguments).code == 0
    assert page()["remarks"] == []
    made = entries()["in/a.png"]
    Path("in_x2/b.png").unlink()
    assert run(*arguments).code == 0
    assert page()["remarks"] == ["The run continued an earlier one: 1 result was up to date already."]
    assert page()["facts"]["results"] == "1 done, 1 already there"
    kept = entries()["in/a.png"]
    assert (kept["page"], kept["notes"]) == (made["page"], made["notes"])
    assert kept["facts"] == {**made["facts"], "result": "up to date"}
    assert 0 < kept["seconds"] <= made["seconds"]
    before = Path("report.html").read_bytes()
    save("c.png")
    ended = run("c.png", *NEAREST, "--report", "report.html")
    assert (ended.code, "'report.html' already exists" in ended.stderr) == (6, True)
    assert Path("report.html").read_bytes() == before
    assert not Path("c_x2.png").exists()
    assert run("c.png", *NEAREST, "--report", "report.html", "--overwrite").code == 0
    assert list(entries()) == ["c.png"]


def test_an_interrupted_run_is_reported(start: Callable[..., Any], save: Save) -> None:
    for number in range(300):
        save(f"in/{number}.png")
    process = start("in", *NEAREST, "-j", 1, "--json", "--report", "report.html")
    for line in process.stdout:
        if b'"event": "done"' in line:
            break
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    remark, missing = page()["remarks"]
    assert missing.startswith("Copies and small pictures are missing")
    assert remark.startswith("The run ended early: interrupted; ")
    assert remark.endswith(" of 300 files are done; run the same command again to continue.")
    states = [entry["state"] for entry in entries().values()]
    assert len(states) == 300
    assert {"done", "left"} == set(states)


def test_results_that_replace_their_inputs_are_shown_alone(run: Run, save: Save) -> None:
    save("a.png")
    run("a.png", *NEAREST, "--in-place", "--yes", "--report", "report.html")
    (entry,) = entries().values()
    assert [layer["name"] for layer in entry["page"]["layers"]] == ["result"]


def test_a_clip_has_a_frame_of_its_middle_and_a_link(run: Run, load: Callable[..., Any]) -> None:
    with av.open("clip.mkv", "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "bgr0"
        for number in range(10):
            values = np.full((16, 32, 3), 25 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(values, "rgb24")))
        container.mux(stream.encode())
    assert run("clip.mkv", *NEAREST, "--report", "report.html").code == 0
    (entry,) = entries().values()
    assert (entry["page"], entry["file"]) == (None, "clip_x2.mkv")
    assert (entry["facts"]["size"], entry["facts"]["frames"]) == ("32x16 → 64x32", "10")
    assert abs(load(entry["small"]).convert("RGB").getpixel((9, 9))[0] - 125) < 6


def test_an_archive_has_pages(run: Run, save: Save) -> None:
    for number, size in enumerate(((40, 30), (20, 50))):
        save(f"{number}.png", size=size)
    with zipfile.ZipFile("comic.cbz", "w") as archive:
        archive.write("0.png"), archive.write("1.png")
    assert run("comic.cbz", *NEAREST, "--report", "report.html").code == 0
    (entry,) = entries().values()
    facts = {"size": "40x30 → 80x60", "pages": "2", "format": "CBZ", "model": "nearest"}
    assert (entry["facts"], entry["file"]) == (facts, "comic_x2.cbz")


@pytest.mark.parametrize(("output", "layers"), [((), ["result"]), (("-o", "page.html"), None)])
def test_previews_are_shown_without_their_inputs(
    run: Run, save: Save, output: tuple[str, ...], layers: list[str] | None
) -> None:
    save("a.png", size=(40, 30))
    preview = ("a.png", *NEAREST, *output, "--preview", "auto", "--report", "report.html")
    assert run(*preview).code == 0
    for more in ((), ("--skip-existing",)):
        (entry,) = entries().values()
        assert entry["file"] == (output[1] if output else "a_x2_preview.png")
        assert layers == (entry["page"] and [layer["name"] for layer in entry["page"]["layers"]])
        assert run(*preview, *(more or ("--overwrite",))).code == 0


def test_a_picture_from_standard_input(run: Run, save: Save) -> None:
    content = save("a.png").read_bytes()
    run("-", "-o", "b.png", *NEAREST, "--report", "report.html", stdin=content)
    assert [layer["name"] for layer in entries()["standard input"]["page"]["layers"]] == ["result"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("a.png", "--report", "no/report.html"), 6, "its folder does not exist"),
        (("a.png", "--report", "there.html"), 6, "'there.html' already exists"),
        (("a.png", "--report", "a.png"), 2, "must end in .html"),
        (("a.png", "--report", "r.html", "--dry-run"), 2, "--report and --dry-run contradict each other"),
        (("in", "--report", "r.html", "--watch"), 2, "--report and --watch contradict each other"),
        (("a.png", "-o", "-", "--report", "r.html"), 2, "--report and a result on standard output"),
        (("a.png", "--preview", "1", "-o", "r.html", "--report", "./r.html"), 2, "have the same name"),
        (("in", "-r", "--report", "in/r.html"), 6, "would lie among the inputs in 'in'"),
        (("a.png", "--report", "taken.html"), 6, "'taken_files' already exists"),
        (("a.png", "--report", "taken.html", "--overwrite"), 6, "is not a folder of a page"),
    ],
)
def test_refusals(run: Run, save: Save, arguments: tuple[str, ...], code: int, said: str) -> None:
    save("a.png"), save("in/b.png"), save("taken_files/holiday.jpg")
    Path("there.html").write_text("mine")
    before = sorted(Path().rglob("*"))
    ended = run(*arguments, *NEAREST)
    assert (ended.code, said in ended.stderr) == (code, True)
    assert (sorted(Path().rglob("*")), Path("there.html").read_text()) == (before, "mine")


@pytest.mark.skipif(sys.platform != "linux", reason="a folder in which nobody can write")
def test_a_report_that_cannot_be_written_is_refused_before_the_work(run: Run, save: Save) -> None:
    save("a.png")
    ended = run("a.png", "-o", "out.png", *NEAREST, "--report", "/proc/report.html")
    assert (ended.code, "cannot write /proc/report.html" in ended.stderr) == (6, True)
    assert not Path("out.png").exists()


def test_nothing_is_written_about_a_run_that_is_refused(run: Run, save: Save) -> None:
    save("a.png"), save("out.png")
    assert run("a.png", "-o", "out.png", *NEAREST, "--report", "report.html").code == 6
    assert not list(Path().glob("report*"))
