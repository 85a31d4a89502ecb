import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esc_cli.enhancement.size import Geometry
from esc_cli.errors import ExitCode, InputError, OutputError, UsageError
from esc_cli.jobs.early import refuse_early
from esc_cli.jobs.file_lists import names_in_list, place_below, split_list
from esc_cli.jobs.options import Options
from esc_cli.jobs.plan import Plan, Request, make_plan
from esc_cli.jobs.run import exit_code

Save = Callable[..., Path]


def plan(*names: str, output: str | None = None, **options: object) -> Plan:
    request = Request(names, Geometry.of_scale(2), output, Options(**options))  # type: ignore[arg-type]
    return make_plan(request, lambda task: {"models": ["test"]})


def targets(plan: Plan) -> list[str]:
    return [str(task.target) for task in plan.tasks]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"", []),
        (b"\n\n", []),
        (b"a.png\nb c.png\n", ["a.png", "b c.png"]),
        (b"a.png\r\nb.png", ["a.png", "b.png"]),
        (b" a.png \n#b.png\n*.png", [" a.png ", "#b.png", "*.png"]),
        (b"a\nb.png\0c.png\0", ["a\nb.png", "c.png"]),
        (b"a.png\0", ["a.png"]),
        (b"\xef\xbb\xbfa.png\n", ["a.png"]),
        ("é.png\r\nb.png\r\n".encode("utf-16"), ["é.png", "b.png"]),
        (b"\xfe\xff\0a", ["a"]),
        ("a\u2028b\x0b.png".encode(), ["a\u2028b\x0b.png"]),
    ],
)
def test_names_in_the_text_of_a_list(content: bytes, names: list[str]) -> None:
    assert split_list(content, "list") == names


@pytest.mark.skipif(sys.platform == "win32", reason="names are Unicode on Windows")
def test_names_need_not_be_unicode() -> None:
    assert [os.fsencode(name) for name in split_list(b"\xe9.png\n", "list")] == [b"\xe9.png"]


@given(
    st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), min_size=1
    )
)
def test_any_name_can_be_listed_with_nul(names: list[str]) -> None:
    content = "".join(f"{name}\0" for name in names).encode()
    if not content.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        assert split_list(content, "list") == names


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("a.png", "a.png"),
        ("./a//b/../c.png", "a/c.png"),
        ("../../up/a.png", "up/a.png"),
        ("/somewhere/else/a.png", "somewhere/else/a.png"),
        (".", "."),
        ("..", "."),
    ],
)
def test_places_are_below_the_folder(name: str, place: str) -> None:
    assert place_below(name) == Path(place)


def test_a_list_gives_places_below_the_folder(save: Save, tmp_path: Path) -> None:
    save("a/1.png"), save("b/1.png"), save("c/sub/1.png")
    Path("list").write_text(f"a/1.png\n{tmp_path}/b/1.png\na/1.png\nc\nc/sub/1.png\n")
    assert targets(plan(files_from="list", output="out")) == [
        "out/a/1.png", "out/b/1.png", "out/c/sub/1.png",
    ]  # fmt: skip
    assert targets(plan(files_from="list", recursive=True)) == [
        "a/1_x2.png", f"{tmp_path}/b/1_x2.png", "c_x2/sub/1.png", "c/sub/1_x2.png",
    ]  # fmt: skip


def test_the_folder_of_results_is_not_searched(save: Save) -> None:
    save("in/a.png"), save("in/out/in/a.png")
    Path("list").write_text("in\n")
    made = plan(files_from="list", recursive=True, output="in/out", when_there="skip")
    assert (targets(made), len(made.skipped)) == ([], 1)


def test_a_list_of_one_name_has_a_folder_of_results(save: Save) -> None:
    save("a.png")
    Path("list").write_text("a.png")
    assert targets(plan(files_from="list", output="new")) == ["new/a.png"]


def test_names_are_no_patterns_and_no_streams(save: Save) -> None:
    save("a.png"), save("b.png"), Path("b.png").rename("-")
    Path("list").write_text("*.png\n-\n")
    made = plan(files_from="list", output="out")
    assert [failure.error.message for failure in made.failures] == ["*.png: there is no such file"]
    assert targets(made) == ["out/-.png"]


def test_inputs_and_lists_add_up(save: Save) -> None:
    save("a.png"), save("b.png")
    Path("list").write_text("b.png\nmissing.png\na.png")
    made = plan("a.png", files_from="list", output="out")
    assert targets(made) == ["out/a.png", "out/b.png"]
    assert exit_code(made, made.failures) == ExitCode.SOME_FAILED


def test_one_missing_file_is_one_of_several() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"missing.png\n")))
        made = plan(files_from="-", output="out")
    assert [failure.name for failure in made.failures] == ["missing.png"]
    assert exit_code(made, made.failures) == ExitCode.SOME_FAILED


def test_an_empty_list_is_done(tmp_path: Path) -> None:
    (tmp_path / "list").touch()
    made = plan(files_from=str(tmp_path / "list"))
    assert (made.tasks, made.failures, exit_code(made, ())) == ((), (), ExitCode.OK)


def test_results_that_collide_are_refused(save: Save, tmp_path: Path) -> None:
    save("up/1.png"), save("here/up/1.png")
    os.chdir("here")
    Path("list").write_text("../up/1.png\nup/1.png")
    with pytest.raises(OutputError, match="would both become"):
        plan(files_from="list", output="out")


def test_a_picture_is_no_list(save: Save) -> None:
    save("a.png")
    options = Options.of({"files_from": "a.png", "model": "nearest"})
    with pytest.raises(UsageError, match="is the name of a picture or clip, not of a list"):
        refuse_early([], None, options, inputs_too=True)


def test_a_picture_with_another_name_is_no_list_either(save: Save) -> None:
    save("a.png").rename("list.txt")
    with pytest.raises(UsageError, match="is a picture, not a list"):
        names_in_list("list.txt")
    save("GIF89a.png")
    Path("list").write_text("GIF89a.png\n")
    assert names_in_list("list") == ("GIF89a.png",)


def test_a_list_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the list 'nowhere' cannot be read: No such file"):
        names_in_list("nowhere")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        names_in_list(str(tmp_path))
    with pytest.raises(InputError, match="not valid UTF-16"):
        split_list(b"\xff\xfea", "list")


def test_a_name_that_is_too_long_fails_alone(save: Save) -> None:
    save("a.png")
    long = "x" * 5000 + "/b.png"
    Path("list").write_text(f"{long}\na.png\n")
    made = plan(files_from="list", output="out")
    assert targets(made) == ["out/a.png"]
    assert [(failure.name, failure.error.exit_code) for failure in made.failures] == [
        (long, ExitCode.BAD_INPUT)
    ]
