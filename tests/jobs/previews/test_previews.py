import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import pyvips
from PIL import Image, ImageCms

import esc_cli
from esc_cli.checkpoints.manifest import read_manifest
from esc_cli.errors import EscError, ExitCode, OutputExistsError, UsageError
from esc_cli.jobs.events import Done, Estimate, Event, Planned, Skipped, Summary
from esc_cli.jobs.record import RECORDS_FOLDER
from esc_cli.jobs.upscale import upscale_files

Save = Callable[..., Path]

OPTIONS: dict[str, Any] = {"device": "cpu", "precision": "float32", "model": "bicubic", "scale": 2}
MODELS = sorted({entry.name for entry in read_manifest()})
TEXT_PX = 2 * 22
GAP_PX = 8


def make(*names: str, output: str | None = None, **options: Any) -> list[Event]:
    heard: list[Event] = []
    report = upscale_files(list(names), output, listener=heard.append, **{**OPTIONS, **options})
    if report.failures:
        raise report.failures[0].error
    return heard


def done(heard: list[Event]) -> Done:
    (event,) = (event for event in heard if isinstance(event, Done))
    return event


def files() -> set[str]:
    """Return the files that are there, without the records."""
    return {str(path) for path in Path().rglob("*") if path.is_file() and RECORDS_FOLDER not in path.parts}


def pixels(name: str) -> npt.NDArray[Any]:
    with Image.open(name) as image:
        return np.array(image).astype(int)


def result_part(sheet: npt.NDArray[Any], width: int, height: int, row: int = 0) -> npt.NDArray[Any]:
    """Return the part of the result on a sheet whose parts have this size."""
    top = row * (height + TEXT_PX + GAP_PX)
    return sheet[top : top + height, width + GAP_PX :][:, :width]


def photo(scene: Image.Image, name: str = "in.png", size: tuple[int, int] = (240, 192), **how: Any) -> None:
    scene.resize(size, Image.Resampling.BICUBIC).save(name, **how)


def test_a_preview_is_all_that_is_written(scene: Image.Image, save: Save) -> None:
    photo(scene, str(save("in.png")))
    heard = make("in.png", preview="auto")
    assert files() == {"in.png", "in_x2_preview.png"}
    event = done(heard)
    assert re.fullmatch(r"\d+,\d+,128,128", event.parts[0])
    x, y = map(int, event.parts[0].split(",")[:2])
    assert event.whole_seconds is not None
    make("in.png")
    whole = pixels("in_x2.png")[2 * y :, 2 * x :][:256, :256]
    assert np.abs(result_part(pixels("in_x2_preview.png"), 256, 256) - whole).max() <= 1
    assert [one.reason for one in make("in.png", preview=1) if isinstance(one, Skipped)] == ["up to date"]
    for other in ({"preview": 2}, {"preview": "20,20"}, {"preview": "auto", "tiling": "exact"}):
        with pytest.raises(OutputExistsError, match=r"'in_x2_preview.png' already exists"):
            make("in.png", **other)


def test_a_later_run_of_the_folder_passes_over_previews(save: Save) -> None:
    save("in/a.png", size=(40, 30)), save("in/b.jpg", size=(40, 30))
    save_clip("in/c.mkv")
    make("in/a.png", "in/b.jpg", "in/c.mkv", preview="auto")
    (summary,) = (event for event in make("in", preview="auto") if isinstance(event, Summary))
    assert summary.passed_over == 3
    make("in/a.png", preview="9,9", output="in/eye.png")
    (summary,) = (event for event in make("in") if isinstance(event, Summary))
    assert (summary.done, summary.passed_over) == (3, 4)
    made = {name for name in files() if name.startswith("in_x2/")}
    assert made == {"in_x2/a.png", "in_x2/b.jpg", "in_x2/c.mkv"}
    Path("in/c.mkv").unlink(), Path("in/c_x2_preview.png").unlink()
    make("in", in_place=True, yes=True)
    assert pixels("in/a.png").shape[:2] == (60, 80)
    assert pixels("in/eye.png").shape[1] > 80


@pytest.mark.parametrize("model", MODELS)
def test_an_exact_preview_equals_the_whole_result(scene: Image.Image, save: Save, model: str) -> None:
    photo(scene, str(save("in.png")), size=(96, 80))
    options = {"model": model, "scale": 4, "tiling": "exact"}
    heard = make("in.png", output="sheet.png", preview="20,11,60,50", **options)
    make("in.png", output="whole.png", **options)
    whole = pixels("whole.png")[44:, 80:][:200, :240]
    assert np.array_equal(result_part(pixels("sheet.png"), 240, 200), whole)
    (estimate,) = (event for event in heard if isinstance(event, Estimate))
    assert estimate.seconds is not None
    assert heard.index(estimate) < heard.index(done(heard))
    assert done(heard).whole_seconds is None


@pytest.mark.parametrize("text", ["0,0", "239,191", "100,90"])
def test_a_point_is_in_the_part_around_it(scene: Image.Image, save: Save, text: str) -> None:
    photo(scene, str(save("in.png")))
    x, y, width, height = map(int, done(make("in.png", preview=text)).parts[0].split(","))
    assert (width, height) == (128, 128)
    assert 0 <= x <= 240 - 128
    assert 0 <= y <= 192 - 128
    point_x, point_y = map(int, text.split(","))
    assert x <= point_x < x + width
    assert y <= point_y < y + height


def test_the_part_with_the_most_detail_is_found(save: Save) -> None:
    plain = Image.new("RGB", (900, 700), (90, 120, 150))
    plain.paste(Image.effect_noise((128, 128), 90).convert("RGB"), (704, 32))
    plain.save(save("in.png"))
    assert done(make("in.png", preview="auto")).parts == ("704,32,128,128",)


def test_several_parts(scene: Image.Image, save: Save) -> None:
    photo(scene, str(save("in.png")), size=(600, 400))
    heard = make("in.png", preview=3)
    event = done(heard)
    assert len(set(event.parts)) == 3
    (planned,) = (one for one in heard if isinstance(one, Planned))
    sheet = pixels("in_x2_preview.png")
    size = sheet.shape[:2]
    assert size == (event.output_height, event.output_width) == (planned.output_height, planned.output_width)
    assert size == (3 * (256 + TEXT_PX + GAP_PX) - GAP_PX, 2 * 256 + GAP_PX)


def test_coordinates_are_those_of_the_picture_as_it_is_displayed(scene: Image.Image, save: Save) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(scene, str(save("in.jpg")), exif=exif, quality=95)
    make("in.jpg", preview="10,20,130,150", output="sheet.png")
    make("in.jpg", output="whole.png")
    assert np.abs(result_part(pixels("sheet.png"), 260, 300) - pixels("whole.png")[40:340, 20:280]).max() <= 1


def test_depth_and_profile_are_those_of_the_source(save: Save) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    noise = np.random.default_rng(0).integers(0, 65536, (160, 160, 3), np.uint16)
    image = pyvips.Image.new_from_array(noise, interpretation="rgb16")
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    image.write_to_file(str(save("in.png")))
    make("in.png", preview="8,8,128,128")
    make("in.png")
    sheet, whole = (pyvips.Image.new_from_file(name) for name in ("in_x2_preview.png", "in_x2.png"))
    assert sheet.format == whole.format == "ushort"
    assert sheet.get("icc-profile-data") == whole.get("icc-profile-data")
    part = result_part(sheet.numpy().astype(int), 256, 256)
    assert np.abs(part - whole.numpy().astype(int)[16:272, 16:272]).max() <= 1


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1"])
def test_kinds_of_pixels(save: Save, mode: str) -> None:
    Image.effect_noise((150, 140), 60).convert("RGB").convert(mode).save(save("in.png"))
    make("in.png", preview="auto")
    assert pixels("in_x2_preview.png").shape[:2] == (256 + TEXT_PX, 520)


def test_small_parts_are_magnified(save: Save) -> None:
    save("in.png", size=(40, 30))
    make("in.png", preview="10,5,20,4")
    assert pixels("in_x2_preview.png").shape[:2] == (6 * 8 + TEXT_PX, 2 * 6 * 40 + GAP_PX)


def test_a_page_shows_the_part_in_three_ways(scene: Image.Image, save: Save) -> None:
    photo(scene, str(save("in.png")))
    event = done(make("in.png", preview="10,20,64,48", output="page.html"))
    assert files() == {"in.png", "page.html"}
    text = Path("page.html").read_text(encoding="utf-8")
    assert "in.png, part 10,20,64,48" in text
    data = re.search(r"<script[^>]*application/json[^>]*>(.*?)</script>", text, re.DOTALL)
    assert data is not None
    layers = json.loads(data[1])["layers"]
    assert [layer["name"] for layer in layers] == ["nearest", "bicubic", "bicubic"]
    assert {(layer["width"], layer["height"]) for layer in layers} == {(128, 96)}
    assert (event.output_width, event.output_height) == (128, 96)
    with pytest.raises(OutputExistsError):
        make("in.png", preview="10,20,64,48", output="page.html")
    make("in.png", preview="0,0,64,48", output="page.html", when_there="overwrite")
    assert "part 0,0,64,48" in Path("page.html").read_text(encoding="utf-8")


def test_previews_never_take_the_names_of_results(save: Save) -> None:
    for name in ("in/a.png", "in/b/c.jpg", "d.png"):
        save(name, size=(40, 30))
    heard = make("in", "d.png", preview="auto", recursive=True)
    assert {event.output for event in heard if isinstance(event, Done)} == {
        "in_x2_preview/a.png",
        "in_x2_preview/b/c.png",
        "d_x2_preview.png",
    }
    make("in", "d.png", preview="auto", recursive=True, output="out")
    make("d.png", preview="auto", name="{stem}_big")
    made = files()
    assert {"out/a_preview.png", "out/b/c_preview.png", "out/d_preview.png", "d_big_preview.png"} <= made
    make("in", "d.png", recursive=True)
    make("in", "d.png", recursive=True, output="out")
    make("d.png", name="{stem}_big")
    assert made <= files()


def test_only_the_first_page_is_shown_and_that_is_said(save: Save) -> None:
    first, second = Image.new("RGB", (40, 30), "red"), Image.new("RGB", (40, 30), "blue")
    first.save(save("in.tif"), save_all=True, append_images=[second])
    heard = make("in.tif", preview="auto", output="sheet.png")
    assert "a preview shows only the first of 2 pages" in done(heard).notes


@pytest.mark.parametrize(
    ("output", "options", "sentence"),
    [
        (None, {"preview": "40,0"}, "the part 40,0 is not inside in.png, which has 40x30 pixels"),
        (None, {"preview": "0,0,40,31"}, "the part 0,0,40,31 is not inside in.png"),
        ("out.mp4", {"preview": "auto"}, "a preview is a picture, but MP4 is a container"),
        ("out.html", {}, "the extension of 'out.html' is not that of a known format"),
        ("out.html", {"preview": 1, "format": "png"}, "the format PNG and the name 'out.html' contradict"),
        (None, {"preview": 1, "in_place": True, "yes": True}, "--preview and --in-place contradict"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    save: Save, output: str | None, options: dict[str, Any], sentence: str
) -> None:
    save("in.png", size=(40, 30))
    with pytest.raises(UsageError, match=sentence):
        make("in.png", output=output, **options)
    assert files() == {"in.png"}


def test_a_page_shows_one_picture(save: Save) -> None:
    for name in ("a.png", "b.png"):
        save(name)
    with pytest.raises(UsageError, match="a page shows the preview of one picture"):
        make("a.png", "b.png", preview="auto", output="page.html")


def save_clip(name: str) -> None:
    import av

    with av.open(name, "w") as file:
        stream = file.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for number in range(12):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 20 * number, np.uint8), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def test_a_clip_has_no_parts_and_the_pictures_beside_it_have(save: Save) -> None:
    save("in.png", size=(40, 30))
    save_clip("in.mkv")
    report = upscale_files(["in.png", "in.mkv"], preview="0,0,8,8", **OPTIONS)
    (failure,) = report.failures
    assert isinstance(failure.error, EscError)
    assert failure.error.message == "in.mkv is a clip, and only a picture can be previewed in part"
    assert report.exit_code is ExitCode.SOME_FAILED
    assert Path("in_x2_preview.png").exists()
    upscale_files(["in.mkv"], "sheet.png", preview="auto", **OPTIONS)
    assert pixels("sheet.png").shape[:2] == (3 * (64 + 22) + 2 * 8, 4 * 64 + 3 * 8)  # nine frames
    with pytest.raises(UsageError, match="a page shows the preview of a picture, not of a clip"):
        make("in.mkv", preview="auto", output="page.html")


def test_previews_that_were_interrupted_go_on_with_the_same_command(save: Save) -> None:
    for name in ("a.png", "b.png"):
        save(name)

    def interrupt(event: Event) -> None:
        if isinstance(event, Done):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        upscale_files(["a.png", "b.png"], listener=interrupt, preview="auto", **OPTIONS)
    assert caught.value.__notes__[-1] == "run the same command again to continue"
    make("a.png", "b.png", preview="auto")
    assert {"a_x2_preview.png", "b_x2_preview.png"} <= files()


def test_an_image_in_memory_is_enlarged_whole(scene: Image.Image) -> None:
    assert esc_cli.upscale(scene, model="nearest", scale=2, preview="auto").size == (480, 384)
