"""Test archives of pictures from the command's call to the packed result."""

import io
import pickle
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from torch.nn.modules.module import register_module_forward_pre_hook

from esc_cli import upscale
from esc_cli.errors import ExitCode, InputError, OutputError, UsageError
from esc_cli.jobs.archives.task import ArchiveTask
from esc_cli.jobs.cluster.units import Whole, WorkerContext
from esc_cli.jobs.events import Done, Event, Planned, Progressed, Skipped
from esc_cli.jobs.options import Options
from esc_cli.jobs.pipeline import EndedError, EndOfRun
from esc_cli.jobs.upscale import Report, upscale_files
from esc_cli.jobs.work_folder import folder_of
from esc_cli.media.formats.registry import FORMATS

NEAREST: dict[str, Any] = {"model": "nearest", "scale": 2, "device": "cpu"}


def page(format: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (8, 6), **options: Any) -> bytes:
    content = io.BytesIO()
    noise = Image.effect_noise(size, 60)
    noise.convert("RGB").convert(mode).save(content, format, **options)
    return content.getvalue()


def pack(path: str, **pages: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in pages.items():
            archive.writestr(zipfile.ZipInfo(name, (2001, 2, 3, 4, 5, 6)), content)
    return Path(path)


def content_of(path: str | Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def names_here() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


class Heard(list[Event]):
    """The events of a run, which is interrupted when ``pages`` are done."""

    def __init__(self, pages: int | None = None) -> None:
        super().__init__()
        self._pages = pages

    def __call__(self, event: Event) -> None:
        self.append(event)
        done = [one for one in self if isinstance(one, Progressed) and one.done % 48 == 0 and one.done]
        if self._pages is not None and len({one.done for one in done}) >= self._pages:
            raise KeyboardInterrupt

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self if isinstance(event, kind)]


def run(*names: str, stop_after: int | None = None, **options: Any) -> tuple[Heard, Report]:
    heard = Heard(stop_after)
    return heard, upscale_files(names, listener=heard, **{**NEAREST, **options})


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Yield a list that gets one entry for each call of the baseline network on pages."""
    monkeypatch.setattr("esc_cli.jobs.estimate._LARGEST_SHARE", 0.0)
    made: list[int] = []
    hook = register_module_forward_pre_hook(  # type: ignore[no-untyped-call]
        lambda module, _: made.append(1) if type(module).__name__ == "Interpolation" else None
    )
    yield made
    hook.remove()


def test_an_archive_has_no_preview_and_the_pictures_beside_it_have() -> None:
    pack("comic.cbz", **{"a.png": page()})
    Path("b.png").write_bytes(page())
    _heard, report = run("comic.cbz", "b.png", preview="auto")
    (failure,) = report.failures
    assert failure.error.message == "comic.cbz is an archive, and only pictures and clips can be previewed"
    assert names_here() == [".esc-upscale", "b.png", "b_x2_preview.png", "comic.cbz"]


def test_pages_become_larger_and_everything_else_stays() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    wide, values = io.BytesIO(), np.arange(48, dtype=np.uint16).reshape(6, 8) * 1301
    Image.fromarray(values).save(wide, "TIFF")
    pages = {
        "b/2.png": page(mode="RGBA", icc_profile=profile),
        "b/10.jpg": page("JPEG", dpi=(300, 300)),
        "ComicInfo.xml": b"<ComicInfo/>",
        "a.tif": wide.getvalue(),
        "really_a_jpeg.png": page("JPEG"),
    }
    heard, report = run(str(pack("comic.cbz", **pages)))
    assert report.exit_code == ExitCode.OK
    made = content_of("comic_x2.cbz")
    assert list(made) == list(pages)
    assert made["ComicInfo.xml"] == pages["ComicInfo.xml"]
    first, second = opened(made["b/2.png"]), opened(made["b/10.jpg"])
    assert (first.mode, first.size, first.info["icc_profile"]) == ("RGBA", (16, 12), profile)
    low = np.asarray(opened(pages["b/2.png"]))
    assert np.array_equal(np.asarray(first), low.repeat(2, 0).repeat(2, 1))
    assert (second.format, second.size, round(second.info["dpi"][0])) == ("JPEG", (16, 12), 300)
    assert opened(made["really_a_jpeg.png"]).format == "JPEG"
    assert np.array_equal(np.asarray(opened(made["a.tif"])), values.repeat(2, 0).repeat(2, 1))
    with zipfile.ZipFile("comic_x2.cbz") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(2001, 2, 3, 4, 5, 6)}
    (planned,) = heard.of(Planned)
    assert (planned.format, planned.frames, planned.output_width) == ("CBZ", 4, 16)
    (done,) = heard.of(Done)
    assert done.ways
    progress = [event.done for event in heard.of(Progressed)]
    assert progress == sorted(progress)
    assert (progress[-1], heard.of(Progressed)[-1].total) == (4 * 48, 4 * 48)


def test_a_page_is_the_same_as_alone() -> None:
    pages = {"1.png": page(size=(40, 30)), "2.jpg": page("JPEG", size=(30, 40)), "3.webp": page("WEBP")}
    pack("comic.cbz", **pages)
    run("comic.cbz")
    for name, content in pages.items():
        Path(name).write_bytes(content)
        upscale(name, f"alone_{name}", **NEAREST)
        assert content_of("comic_x2.cbz")[name] == Path(f"alone_{name}").read_bytes(), name


def test_a_format_changes_the_endings_of_the_pages() -> None:
    pack("comic.cbz", **{"a.png": page(), "a.jpg": page("JPEG"), "b.webp": page("WEBP"), "c": page()})
    run("comic.cbz", format="webp")
    assert list(content_of("comic_x2.cbz")) == ["a_png.webp", "a_jpg.webp", "b.webp", "c.webp"]
    assert {opened(content).format for content in content_of("comic_x2.cbz").values()} == {"WEBP"}
    run("comic.cbz", format="cbz", when_there="overwrite")
    assert list(content_of("comic_x2.cbz")) == ["a.png", "a.jpg", "b.webp", "c"]
    upscale_files(["comic.cbz"], "out.zip", **NEAREST, format="png")
    assert list(content_of("out.zip")) == ["a.png", "a_jpg.png", "b.png", "c"]


def test_what_a_format_cannot_hold_is_said_before_the_work_with_the_number_of_pages() -> None:
    pack("comic.cbz", **{"a.png": page(mode="RGBA"), "b.png": page(), "c.png": page()})
    heard, _ = run("comic.cbz", format="jpg")
    lost = "JPEG cannot hold transparency: transparent areas are blended with white (in 1 of 3 pages)"
    assert heard.of(Planned)[0].lost == heard.of(Done)[0].notes == (lost,)


def test_a_format_for_clips_is_said_not_to_apply() -> None:
    pack("comic.cbz", **{"a.png": page(mode="RGBA"), "b.png": b""})
    heard, _ = run("comic.cbz", format="mp4")
    kept = "the page 'b.png' of comic.cbz is empty, and it is kept as it is"
    lost = (kept, "the format MP4 does not apply, so the result is CBZ")
    assert heard.of(Planned)[0].lost == heard.of(Done)[0].notes == lost


@pytest.mark.parametrize(
    ("output", "options", "message"),
    [
        ("out.png", {}, "cannot be written as PNG"),
        ("out.mp4", {}, "cannot be written as MP4"),
        ("-", {}, "cannot go to standard output"),
        (None, {"start": "1"}, "is an archive of pictures, to which the options for clips do not apply"),
        (None, {"preview": "auto"}, "is an archive, and only pictures and clips can be previewed"),
        ("out.html", {"preview": "1"}, "is an archive, and only pictures and clips can be previewed"),
        ("out.cbz", {"format": "zip"}, "the format ZIP and the name 'out.cbz' contradict each other"),
    ],
)
def test_results_that_make_no_sense_are_refused(
    output: str | None, options: dict[str, Any], message: str
) -> None:
    pack("comic.cbz", **{"a.png": page()})
    with pytest.raises(UsageError, match=message):
        _raise_failure(upscale_files(["comic.cbz"], output, **NEAREST, **options))
    assert names_here() == ["comic.cbz"]


def _raise_failure(report: Report) -> None:
    raise report.failures[0].error


def test_pictures_and_clips_do_not_become_archives() -> None:
    Path("a.png").write_bytes(page())
    with pytest.raises(UsageError, match="a picture cannot be written as CBZ"):
        upscale("a.png", "a.cbz", **NEAREST)


def test_a_preview_of_a_picture_is_no_archive() -> None:
    Path("a.png").write_bytes(page())
    with pytest.raises(UsageError, match="a preview is a picture, but CBZ is an archive"):
        upscale("a.png", "a.cbz", preview="auto", **NEAREST)


def test_python_makes_an_archive_from_an_archive() -> None:
    pack("a.zip", **{"1.png": page()})
    assert upscale("a.zip", "b.cbz", **NEAREST) == Path("b.cbz")
    assert opened(content_of("b.cbz")["1.png"]).size == (16, 12)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_run_that_was_interrupted_goes_on_after_the_last_page(calls: list[int], workers: int) -> None:
    pages = {f"{number}.png": page() for number in range(6)}
    pack("comic.cbz", **pages)
    with pytest.raises(KeyboardInterrupt) as stopped:
        run("comic.cbz", stop_after=4, workers=workers)
    assert not Path("comic_x2.cbz").exists()
    kept = len(list(folder_of(Path("comic_x2.cbz")).glob("*.page")))
    assert 1 <= kept < 6
    assert f"{kept} of 6 pages of comic.cbz are done and kept" in stopped.value.__notes__
    calls.clear()
    heard, report = run("comic.cbz", workers=workers)
    assert (len(calls), report.exit_code) == (6 - kept, ExitCode.OK)
    assert heard.of(Progressed)[0].done > kept * 48 - 48
    assert names_here() == [".esc-upscale", "comic.cbz", "comic_x2.cbz"]
    upscale("comic.cbz", "at_once.cbz", **NEAREST)
    assert content_of("comic_x2.cbz") == content_of("at_once.cbz")


def test_pages_for_other_settings_do_not_count(calls: list[int]) -> None:
    pack("comic.cbz", **{f"{number}.png": page() for number in range(4)})
    with pytest.raises(KeyboardInterrupt):
        run("comic.cbz", stop_after=3, workers=1)
    calls.clear()
    run("comic.cbz", format="webp")
    assert len(calls) == 4


def test_notes_of_pages_that_an_earlier_run_made_are_given_again() -> None:
    pack("comic.cbz", **{f"{number}.png": page(mode="RGBA") for number in range(4)})
    with pytest.raises(KeyboardInterrupt):
        run("comic.cbz", stop_after=3, workers=1, format="jpg")
    heard, _ = run("comic.cbz", format="jpg")
    assert heard.of(Done)[0].notes == heard.of(Planned)[0].lost != ()


def test_a_result_that_is_up_to_date_is_skipped() -> None:
    pack("comic.cbz", **{"a.png": page(), "b.png": page(size=(4, 4))})
    run("comic.cbz")
    heard, _ = run("comic.cbz")
    assert [event.reason for event in heard.of(Skipped)] == ["up to date"]
    for options in ({"size": "16x"}, {"format": "webp"}, {"quality": 50}):
        with pytest.raises(OutputError, match="already exists"):
            upscale_files(["comic.cbz"], "comic_x2.cbz", **{**NEAREST, "scale": None, **options})
    again, _ = run("*.cbz", when_there="skip")  # the result is no input
    assert len(again.of(Skipped)) == 1


def test_a_size_applies_to_each_page() -> None:
    pack("comic.cbz", **{"a.png": page(size=(8, 6)), "b.png": page(size=(16, 4))})
    run("comic.cbz", scale=None, size="32x")
    assert [opened(one).size for one in content_of("comic_32x.cbz").values()] == [(32, 24), (32, 8)]


BROKEN = {
    "a header": (b"\x89PNG\r\n\x1a\n", "is damaged or of an unsupported kind"),
    "nothing": (b"", "is empty"),
    "pixels": (page()[:90] + bytes(20), "is damaged"),
    "no picture": (b"<html>", "is not a picture that this program reads"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_page_that_cannot_be_read_stays_as_it_is(kind: str) -> None:
    broken, message = BROKEN[kind]
    pack("comic.cbz", **{"1.png": page(), "2.png": broken, "3.png": page()})
    heard, report = run("comic.cbz")
    assert report.exit_code == ExitCode.OK
    made = content_of("comic_x2.cbz")
    assert (list(made), made["2.png"]) == (["1.png", "2.png", "3.png"], broken)
    assert opened(made["3.png"]).size == (16, 12)
    (note,) = heard.of(Done)[0].notes
    assert note.startswith("the page '2.png' of comic.cbz ")
    assert message in note
    assert ", and it is kept as it is" in note
    heard, report = run("comic.cbz", damaged="refuse", when_there="overwrite")
    assert report.exit_code == ExitCode.BAD_INPUT
    assert message in report.failures[0].error.message
    assert not heard.of(Done)
    assert names_here() == [".esc-upscale", "comic.cbz", "comic_x2.cbz"]


def test_a_page_with_a_wrong_checksum_stays_as_it_is() -> None:
    path = pack(
        "comic.cbz", **{"1.png": page(), "2.png": b"NOT THIS", "notes.txt": b"NOT THIS", "3.png": page()}
    )
    path.write_bytes(path.read_bytes().replace(b"NOT THIS", b"but that"))
    heard, report = run("comic.cbz")
    assert report.exit_code == ExitCode.OK
    with zipfile.ZipFile("comic_x2.cbz") as made:
        assert made.namelist() == ["1.png", "2.png", "notes.txt", "3.png"]
        assert opened(made.read("3.png")).size == (16, 12)
    assert Path("comic_x2.cbz").read_bytes().count(b"but that") == 2
    note = "'2.png' in comic.cbz is damaged, and it is kept as it is"
    assert note in heard.of(Planned)[0].lost
    assert note in heard.of(Done)[0].notes
    _, report = run("comic.cbz", damaged="refuse", when_there="overwrite")
    assert report.exit_code == ExitCode.BAD_INPUT


def test_what_is_left_of_a_page_is_enlarged_on_request() -> None:
    cut = page("JPEG", size=(64, 64))[:-300]
    pack("comic.cbz", **{"1.png": page(), "2.jpg": cut})
    heard, _ = run("comic.cbz", damaged="keep")
    assert opened(content_of("comic_x2.cbz")["2.jpg"]).size == (128, 128)
    assert any("(in 1 of 2 pages)" in note for note in heard.of(Done)[0].notes)


def test_an_archive_without_a_picture_that_can_be_read_is_refused() -> None:
    for pages, message in (({"a.txt": b"x"}, "comic.cbz contains no pictures"), ({"a.png": b"x"}, "a.png")):
        pack("comic.cbz", **pages)
        _, report = run("comic.cbz")
        assert report.exit_code == ExitCode.BAD_INPUT
        assert message in report.failures[0].error.message
        assert "kept" not in report.failures[0].error.message
        assert names_here() == ["comic.cbz"]


def test_a_page_that_is_too_large_for_the_format_fails_before_the_work() -> None:
    pack("comic.cbz", **{"1.png": page(), "2.png": page(size=(9000, 1))})
    _, report = run("comic.cbz", format="webp")
    assert report.exit_code == ExitCode.CANNOT_WRITE
    assert report.failures[0].error.message.startswith("the page '2.png' of comic.cbz cannot be enlarged: ")


def test_folders_give_comics_but_not_every_zip() -> None:
    Path("in/sub").mkdir(parents=True)
    pack("in/a.cbz", **{"1.png": page()})
    pack("in/sub/b.CBZ", **{"1.png": page()})
    pack("in/c.zip", **{"1.png": page()})
    Path("in/d.cbr").write_bytes(b"Rar!\x1a\x07\x01\0")
    Path("in/e.png").write_bytes(page())
    heard, report = run("in", recursive=True)
    assert report.plan.passed_over == 2
    assert [event.output for event in heard.of(Done)] == ["in_x2/e.png", "in_x2/a.cbz", "in_x2/sub/b.CBZ"]
    _, report = run("in/d.cbr")
    assert isinstance(report.failures[0].error, InputError)


def test_comics_with_a_wrong_ending_become_cbz() -> None:
    pack("a.cbr", **{"1.png": page()})
    heard, _ = run("a.cbr")
    assert [event.output for event in heard.of(Done)] == ["a_x2.cbz"]


def test_an_archive_replaces_itself_only_once() -> None:
    pack("a.cbz", **{"1.png": page()})
    before = Path("a.cbz").read_bytes()
    for _ in range(2):
        heard, report = run("a.cbz", in_place=True, backup="kept")
        assert report.exit_code == ExitCode.OK
    assert [event.reason for event in heard.of(Skipped)] == ["up to date"]
    assert opened(content_of("a.cbz")["1.png"]).size == (16, 12)
    assert Path("kept/a.cbz").read_bytes() == before


@pytest.mark.skipif(not FORMATS["camera raw"].is_installed(), reason="rawpy is not installed")
def test_an_archive_with_a_page_that_is_only_read_is_not_replaced() -> None:
    raw = FORMATS["camera raw"].sample(np.full((32, 32, 3), 0.5))
    before = pack("a.zip", **{"1.png": page(), "2.dng": raw}).read_bytes()
    _heard, report = run("a.zip", in_place=True, yes=True)
    (failure,) = report.failures
    sentence = "the page '2.dng' of a.zip cannot be replaced, because camera raw is only read here"
    assert failure.error.message == sentence
    assert (names_here(), Path("a.zip").read_bytes()) == (["a.zip"], before)
    assert run("a.zip")[1].exit_code == ExitCode.OK
    assert list(content_of("a_x2.zip")) == ["1.png", "2.tif"]


def test_all_pages_get_one_model(scene: Image.Image) -> None:
    clean, damaged = io.BytesIO(), io.BytesIO()
    scene.save(clean, "PNG")
    scene.save(damaged, "JPEG", quality=20)
    pack("comic.cbz", **{"1.png": clean.getvalue(), "2.jpg": damaged.getvalue(), "3.jpg": damaged.getvalue()})
    heard = Heard()
    upscale_files(["comic.cbz"], listener=heard, dry_run=True, model="auto", scale=2, device="cpu")
    assert heard.of(Planned)[0].model == "esc-robust"


def test_a_worker_of_a_cluster_makes_an_archive_unless_the_run_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pack("a.cbz", **{"1.png": page()})
    (task,) = pickle.loads(pickle.dumps(_planned("a.cbz")))  # noqa: S301
    assert isinstance(task, ArchiveTask)
    ended = EndOfRun()
    context = WorkerContext(_work(), threading.Lock(), ended)
    ended.set()
    with pytest.raises(EndedError):
        Whole(task).carry_out(context)
    assert names_here() == ["a.cbz"]
    ended.clear()
    assert Whole(task).carry_out(context).output == "a_x2.cbz"


def _planned(name: str) -> tuple[Any, ...]:
    return upscale_files([name], dry_run=True, **NEAREST).plan.tasks


def _work() -> Any:
    from esc_cli.enhancement.choice import Chooser
    from esc_cli.enhancement.enlarge import Enlarger
    from esc_cli.enhancement.size import Geometry
    from esc_cli.jobs.work.context import RunContext
    from esc_cli.jobs.work.work import Work

    options = Options.of(NEAREST)
    chooser = Chooser(options)
    enlarger = Enlarger.of(options, chooser.default, Geometry.of_scale(2))
    return Work(RunContext(chooser, enlarger, options, 1, lambda _: None, set()))


def test_only_the_owner_sees_the_pages_of_an_unfinished_archive() -> None:
    pack("comic.cbz", **{f"{number}.png": page() for number in range(4)})
    with pytest.raises(KeyboardInterrupt):
        run("comic.cbz", stop_after=3, workers=1)
    folder = folder_of(Path("comic_x2.cbz"))
    assert folder.stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in folder.glob("*.page")) == ["000000.page", "000001.page"]
