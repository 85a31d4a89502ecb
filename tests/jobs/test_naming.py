from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esc_cli.errors import UsageError
from esc_cli.jobs.naming import decide_destination, goes_to_stdout, results_folder, target_path
from esc_cli.jobs.sources import Source
from esc_cli.media.formats.registry import FORMATS

BESIDE = decide_destination(["a.png"], None, None)


def named(name: str, format: str = "PNG", label: str = "x4") -> str:
    return str(target_path(Source(Path(name), Path(Path(name).name)), BESIDE, FORMATS[format], "x9", label))


@pytest.mark.parametrize(
    ("name", "format", "label", "expected"),
    [
        ("photo.png", "PNG", "x4", "photo_x4.png"),
        ("photo.png", "PNG", "x1.5", "photo_x1.5.png"),
        ("some/where/PHOTO.JPG", "JPEG", "x2", "some/where/PHOTO_x2.JPG"),
        ("photo.jpeg", "JPEG", "x4", "photo_x4.jpeg"),
        ("really a jpeg.png", "JPEG", "x4", "really a jpeg_x4.jpg"),
        ("an iPhone's jpeg.HEIC", "JPEG", "x4", "an iPhone's jpeg_x4.jpg"),
        ("still.gif", "PNG", "x4", "still_x4.png"),
        ("no ending", "PNG", "x4", "no ending_x4.png"),
        ("version 1.2", "PNG", "x4", "version 1.2_x4.png"),
        ("写真 [1] é.webp", "WEBP", "x3", "写真 [1] é_x3.webp"),
        ("-n.tif", "TIFF", "x4", "-n_x4.tif"),
        (".hidden.png", "PNG", "x4", ".hidden_x4.png"),
        ("../up.png", "PNG", "x4", "../up_x4.png"),
    ],
)
def test_a_file_gets_its_result_beside_it(name: str, format: str, label: str, expected: str) -> None:
    assert named(name, format, label) == expected


@given(
    stem=st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1),
    label=st.sampled_from(["x4", "x1.5", "1920x1080"]),
)
def test_a_result_never_has_its_inputs_name(stem: str, label: str) -> None:
    name = f"{stem}.png"
    assert named(name, "PNG", label) == f"{stem}_{label}.png"


@pytest.mark.parametrize(
    ("folder", "expected"),
    [("photos", "photos_x4"), ("photos/", "photos_x4"), ("/a/b.c", "/a/b.c_x4"), ("a/日本", "a/日本_x4")],
)
def test_a_folder_gets_a_folder_beside_it(folder: str, expected: str) -> None:
    assert str(results_folder(Path(folder), "x4")) == expected


def test_the_current_folder_gets_one_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    assert results_folder(Path(), "x4") == tmp_path / "inside_x4"
    assert results_folder(Path(".."), "x4") == tmp_path.parent / f"{tmp_path.name}_x4"
    with pytest.raises(UsageError, match="no folder can lie beside '/'"):
        results_folder(Path("/"), 4)


def test_a_folders_tree_is_kept() -> None:
    source = Source(Path("in/a/b.jpeg"), Path("a/b.jpeg"), Path("in"))
    assert target_path(source, BESIDE, FORMATS["JPEG"], "x4", "x9") == Path("in_x4/a/b.jpeg")
    assert target_path(source, BESIDE, FORMATS["WEBP"], "x4", "x9") == Path("in_x4/a/b.webp")
    into = decide_destination(["in", "other"], "out", None)
    assert target_path(source, into, FORMATS["JPEG"], "x4", "x9") == Path("out/a/b.jpeg")


def test_when_the_output_is_a_folder(tmp_path: Path) -> None:
    assert decide_destination(["a.png"], str(tmp_path), None).is_folder
    assert decide_destination(["a.png"], "new/", None).is_folder
    assert decide_destination(["a.png", "b.png"], "new", None).is_folder
    assert decide_destination(["a.png", "b.png"], "new.png/", None).is_folder
    assert decide_destination([str(tmp_path)], "new", None).is_folder
    assert not decide_destination(["a.png"], "new.png", None).is_folder


def test_what_names_the_format() -> None:
    def format_of(output: str | None, extension: str | None) -> str | None:
        format = decide_destination(["a.png"], output, extension).format
        return format and format.name

    assert format_of("b.WebP", None) == "WEBP"
    assert format_of("b.strange", "jpg") == "JPEG"
    assert format_of("b", "jpg") == "JPEG"
    assert format_of("dir/", None) is None
    assert format_of(None, ".TIF") == "TIFF"


@pytest.mark.parametrize(
    ("names", "output", "extension", "sentence"),
    [
        (["a.png"], "b.xyz", None, "the extension of 'b.xyz' is not that of a known format"),
        (["a.png"], None, "xyz", "pictures cannot be written as 'xyz'"),
        (["a.png"], "", None, "the output has an empty name"),
        (["a.png"], "b\0.png", None, "has a NUL"),
        (["a.png", "b.png"], "-", None, "only one picture can go to standard output"),
        (["-", "b.png"], None, None, "only one picture can go to standard output"),
        (["."], "-", None, "only one picture can go to standard output"),
    ],
)
def test_what_makes_no_sense(
    names: list[str], output: str | None, extension: str | None, sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        decide_destination(names, output, extension)


def test_what_goes_to_standard_output() -> None:
    assert goes_to_stdout(["a.png"], "-")
    assert goes_to_stdout(["-"], None)
    assert not goes_to_stdout(["-"], "a.png")
    assert not goes_to_stdout(["./-"], None)


@pytest.mark.parametrize(
    ("names", "output", "format", "sentence"),
    [
        (["a.png", "b.png"], "new.png", None, "several results cannot be written to one file 'new.png'"),
        (["a.png"], "new", None, "'new' could be a file or a folder"),
        (["a.png"], "new.png", "jpg", "the format JPEG and the name 'new.png' contradict each other"),
        (["a.mp4"], "new.mkv", "mp4", "the format MP4 and the name 'new.mkv' contradict each other"),
    ],
)
def test_what_the_output_means_is_not_guessed(
    names: list[str], output: str, format: str | None, sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        decide_destination(names, output, format)


def test_a_format_makes_a_file_of_a_name_without_an_ending(tmp_path: Path) -> None:
    for name in ("new", "new.jpeg", "new.JPG"):
        destination = decide_destination(["a.png"], name, "jpg")
        assert (destination.is_folder, destination.format) == (False, FORMATS["JPEG"])
    (tmp_path / "there").touch()
    assert decide_destination(["a.png"], str(tmp_path / "there"), None).format is None
