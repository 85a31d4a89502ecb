"""Test that results can replace their inputs, once, and that nothing is ever lost."""

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

import esc_cli
from esc_cli.errors import ExitCode, InputError, OutputError, OutputExistsError, UsageError
from esc_cli.jobs.events import Event, Failed, Skipped
from esc_cli.jobs.upscale import Report, upscale_files
from esc_cli.jobs.work import clips, context, events, pictures
from esc_cli.storage import backups

Save = Callable[..., Path]
Load = Callable[..., Image.Image]


@pytest.fixture(autouse=True)
def _empty_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*names: str, **options: Any) -> tuple[list[Event], Report]:
    heard: list[Event] = []
    settings = {"model": "nearest", "scale": 2, "device": "cpu", "in_place": True, **options}
    return heard, upscale_files(names, listener=heard.append, **settings)


def skipped(heard: list[Event]) -> list[str]:
    return [event.reason for event in heard if isinstance(event, Skipped)]


def messages(heard: list[Event]) -> list[str]:
    return [event.message for event in heard if isinstance(event, Failed)]


def clip(name: str) -> bytes:
    with av.open(name, "w") as file:
        stream: Any = file.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for time in range(3):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * time, np.uint8), "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 10)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return Path(name).read_bytes()


def test_a_tree_is_replaced_and_the_originals_are_kept(save: Save, load: Load) -> None:
    content = {str(path): path.read_bytes() for path in (save("in/a.png"), save("in/sub/a.jpg"))}
    _, report = run("in", recursive=True, backup="in/kept")
    assert report.exit_code == ExitCode.OK
    for name, original in content.items():
        assert load(name).size == (16, 12)
        assert Path("in/kept", Path(name).relative_to("in")).read_bytes() == original
    heard, _ = run("in", recursive=True, backup="in/kept")
    assert skipped(heard) == ["up to date", "up to date"]
    assert load("in/a.png").size == (16, 12)


@pytest.mark.parametrize(
    "size", [{"scale": 2}, {"scale": 1.5}, {"scale": None, "size": "16x"}, {"scale": None, "size": "50%"}]
)
def test_a_second_run_does_not_enlarge_again(save: Save, size: dict[str, Any]) -> None:
    save("in.png", size=(5, 7))
    run("in.png", yes=True, **size)
    replaced = Path("in.png").read_bytes()
    for _ in range(2):
        heard, report = run("in.png", yes=True, **size)
        assert (skipped(heard), report.exit_code) == (["up to date"], ExitCode.OK)
    os.utime("in.png")
    heard, _ = run("in.png", yes=True, when_there="overwrite", **size)
    assert skipped(heard) == ["up to date"]
    assert Path("in.png").read_bytes() == replaced


def test_other_settings_need_a_word(save: Save, load: Load) -> None:
    save("in.png")
    run("in.png", yes=True)
    with pytest.raises(OutputExistsError, match=r"'in\.png' was replaced before, with other settings"):
        run("in.png", yes=True, scale=3)
    heard, _ = run("in.png", yes=True, scale=3, when_there="skip")
    assert (skipped(heard), load("in.png").size) == (["there already"], (16, 12))
    run("in.png", yes=True, scale=3, when_there="overwrite")
    assert load("in.png").size == (48, 36)
    heard, _ = run("in.png", yes=True, scale=3)
    assert skipped(heard) == ["up to date"]


def test_an_edited_or_restored_file_is_an_input_again(save: Save, load: Load) -> None:
    original = save("in.png").read_bytes()
    file = Path("in.png").stat().st_ino
    run("in.png", backup="kept")
    assert Path("kept/in.png").stat().st_ino == file  # a hard link takes no space
    Path("in.png").write_bytes(original)
    heard, _ = run("in.png", backup="kept")
    assert (skipped(heard), load("in.png").size) == ([], (16, 12))
    assert Path("kept/in.png").read_bytes() == original


def test_a_clip_is_replaced_once(load: Load) -> None:
    original = clip("in.mp4")
    _, report = run("in.mp4", backup="kept")
    assert report.exit_code == ExitCode.OK
    assert Path("kept/in.mp4").read_bytes() == original
    with av.open("in.mp4") as file:
        assert (file.streams.video[0].width, file.streams.video[0].height) == (128, 96)
    assert sorted(path.name for path in Path().iterdir()) == [".esc-upscale", "in.mp4", "kept"]
    heard, _ = run("in.mp4", backup="kept")
    assert skipped(heard) == ["up to date"]


def test_a_link_stays_and_its_file_is_replaced_once(save: Save, load: Load) -> None:
    save("deep/in.png")
    Path("link.png").symlink_to("deep/in.png")
    run("link.png", yes=True)
    assert Path("link.png").is_symlink()
    assert load("deep/in.png").size == (16, 12)
    heard, _ = run("deep/in.png", "link.png", yes=True)
    assert skipped(heard) == ["up to date"]


def test_a_name_of_another_format_stays(save: Save, load: Load) -> None:
    save("a jpeg.png", format="JPEG")
    run("a jpeg.png", yes=True)
    assert (load("a jpeg.png").format, load("a jpeg.png").size) == ("JPEG", (16, 12))


class KilledError(BaseException):
    """The process ends here, as far as the files can tell."""


def end(*_: object, **__: object) -> None:
    raise KilledError


def end_before_replacing(patch: pytest.MonkeyPatch, name: str) -> None:
    """End the run when a file is about to get a name."""
    rename = Path.replace

    def replace(path: Path, target: Path) -> object:
        return end() if target.name == name else rename(path, target)

    patch.setattr(Path, "replace", replace)


@pytest.mark.parametrize("moment", ["back_up", "write_record", "replace", "replaced"])
@pytest.mark.parametrize("kind", ["picture", "clip"])
def test_a_run_that_ends_at_any_moment_loses_nothing(
    save: Save, monkeypatch: pytest.MonkeyPatch, moment: str, kind: str
) -> None:
    """The original is under its name or in the backup at each moment, and the next run ends the work."""
    name = "in.png" if kind == "picture" else "in.mp4"
    original = save(name).read_bytes() if kind == "picture" else clip(name)

    with monkeypatch.context() as patch:
        if moment == "back_up":
            patch.setattr("esc_cli.jobs.in_place.back_up", end)
        elif moment == "write_record":
            patch.setattr(pictures if kind == "picture" else context, "write_record", end)
        elif moment == "replace":
            end_before_replacing(patch, name)
        else:
            patch.setattr(events, "Done", end)
        with pytest.raises(KilledError):
            run(name, backup="kept")
    kept, there = Path("kept", name), Path(name).read_bytes()
    assert there == original or kept.read_bytes() == original
    assert there == original or moment == "replaced"
    assert not kept.exists() or kept.read_bytes() == original
    heard, report = run(name, backup="kept")
    assert (report.exit_code, messages(heard)) == (ExitCode.OK, [])
    assert kept.read_bytes() == original
    assert Path(name).read_bytes() != original
    heard, _ = run(name, backup="kept")
    assert skipped(heard) == ["up to date"]


def test_results_that_look_like_their_inputs(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record of a killed run must not claim an original of the result's size and date."""
    save("in.bmp", size=(8, 8))
    original = Path("in.bmp").read_bytes()
    with monkeypatch.context() as patch:
        end_before_replacing(patch, "in.bmp")
        with pytest.raises(KilledError):
            run("in.bmp", yes=True, keep_dates=True, scale=None, size="8x8^", metadata="none")
    assert Path("in.bmp").read_bytes() == original
    heard, _ = run("in.bmp", yes=True, keep_dates=True, scale=None, size="8x8^", metadata="none")
    assert (messages(heard), skipped(heard)) == ([], [])


def test_backups_are_copied_where_links_are_impossible(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    original = save("in.png").read_bytes()
    os.utime("in.png", ns=(10**18, 10**18)), Path("in.png").chmod(0o440)

    def impossible(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", impossible)
    run("in.png", backup="kept")
    kept = Path("kept/in.png")
    assert (kept.read_bytes(), kept.stat().st_mtime_ns, kept.stat().st_mode & 0o777) == (
        original,
        10**18,
        0o440,
    )
    assert [path.name for path in Path("kept").iterdir()] == ["in.png"]


def test_no_backup_is_overwritten(save: Save) -> None:
    save("in.png"), save("kept/in.png", size=(3, 3))
    before = Path("in.png").read_bytes(), Path("kept/in.png").read_bytes()
    with pytest.raises(
        OutputExistsError, match=r"the backup 'kept/in\.png' already exists and is another file"
    ):
        run("in.png", backup="kept")
    assert (Path("in.png").read_bytes(), Path("kept/in.png").read_bytes()) == before
    with pytest.raises(OutputExistsError):
        backups.back_up(Path("in.png"), Path("kept/in.png"))


def test_backups_of_one_name_are_refused(save: Save) -> None:
    save("a/1.png"), save("b/1.png")
    with pytest.raises(OutputError, match=r"would both be kept as 'kept/1\.png'"):
        run("a/1.png", "b/1.png", backup="kept")
    Path("list").write_text("a/1.png\nb/1.png\n")
    run(files_from="list", backup="kept")
    assert Path("kept/a/1.png").exists()
    assert Path("kept/b/1.png").exists()


def test_an_input_that_changes_meanwhile_is_not_replaced(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    save("in.png"), save("other.png", size=(9, 9))
    encode = pictures.encode_file

    def edit(*arguments: Any) -> bytes:
        Path("in.png").write_bytes(Path("other.png").read_bytes())
        return encode(*arguments)

    monkeypatch.setattr(pictures, "encode_file", edit)
    heard, _ = run("in.png", yes=True)
    assert messages(heard) == ["in.png changed while it was being enlarged"]
    assert Path("in.png").read_bytes() == Path("other.png").read_bytes()


def test_a_clip_that_changes_meanwhile_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    clip("in.mp4")
    make_clip = clips.make_clip

    def edit(task: Any, enlarger: Any, write: Any, publish: Any, report: Any) -> Any:
        def late(complete: Path | None, ways: Any) -> None:
            Path("in.mp4").write_bytes(b"edited")
            publish(complete, ways)

        return make_clip(task, enlarger, write, late, report)

    monkeypatch.setattr(clips, "make_clip", edit)
    heard, _ = run("in.mp4", yes=True)
    assert messages(heard) == ["in.mp4 changed while it was being enlarged"]
    assert Path("in.mp4").read_bytes() == b"edited"


def test_what_cannot_be_replaced_fails_alone(save: Save, load: Load) -> None:
    save("in.ppm"), save("b.png"), save("frames/1.png", size=(64, 48))
    heard, report = run("b.png", "in.ppm", "frames/%d.png", yes=True)
    assert load("b.png").size == (16, 12)
    assert len(messages(heard)) == 2
    assert report.exit_code == ExitCode.SOME_FAILED


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "--in-place replaces the inputs, and the originals would be gone"),
        ({"yes": True, "format": "png"}, "--format and --in-place contradict each other: the format stays"),
        ({"yes": True, "name": "{stem}"}, "--name and --in-place contradict"),
        ({"yes": True, "preview": 2}, "--preview and --in-place contradict"),
        ({"yes": True, "end": "2"}, "--end and --in-place contradict each other: the rest of the clip"),
        ({"backup": ""}, "the folder of the backups has an empty name"),
        ({"in_place": False, "backup": "kept"}, "--backup applies only to --in-place"),
    ],
)
def test_contradictions(save: Save, options: dict[str, Any], sentence: str) -> None:
    save("in.png")
    with pytest.raises(UsageError, match=sentence):
        run("in.png", **options)


def test_one_picture_in_python_is_not_replaced(save: Save) -> None:
    with pytest.raises(UsageError, match="only by the command and by upscale_files"):
        esc_cli.upscale(save("in.png"), in_place=True, yes=True)


def test_the_backup_is_not_the_file_itself(save: Save) -> None:
    save("in/a.png")
    heard, _ = run("in/a.png", backup="in")
    assert messages(heard) == ["the backup of 'in/a.png' would be the file itself"]


def test_damaged_clips_stay(save: Save) -> None:
    clip("in.mp4")
    content = Path("in.mp4").read_bytes()[:-200]
    Path("in.mp4").write_bytes(content)
    _, report = run("in.mp4", yes=True)
    assert report.exit_code == ExitCode.BAD_INPUT
    assert Path("in.mp4").read_bytes() == content
    assert isinstance(report.failures[0].error, InputError)
