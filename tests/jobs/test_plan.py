import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from esc_cli.enhancement.size import Geometry
from esc_cli.errors import ExitCode, InputError, OutputError, OutputExistsError
from esc_cli.jobs.options import Options
from esc_cli.jobs.plan import Plan, Request, make_plan
from esc_cli.media.probe import Probe, probe

Save = Callable[..., Path]


def targets(plan: Plan) -> list[str]:
    return [str(task.target) for task in plan.tasks]


def plan(*names: str, scale: float = 2, output: str | None = None, **options: Any) -> Plan:
    request = Request(names, Geometry.of_scale(scale), output, Options(**options))
    return make_plan(request, lambda task: {"models": ["test"]})


def test_a_task_knows_all_that_will_be(save: Save) -> None:
    save("in.png", size=(8, 5), mode="RGBA")
    (task,) = plan("in.png", scale=1.5, output="out.jpg").tasks
    assert (task.target, task.format.name, task.height, task.width) == (Path("out.jpg"), "JPEG", 8, 12)
    assert task.lost == ("JPEG cannot hold transparency: transparent areas are blended with white",)


def test_without_any_word_the_format_is_the_inputs_own_by_content(save: Save) -> None:
    save("a jpeg.png", format="JPEG"), save("in.webp")
    assert targets(plan("a jpeg.png")) == ["a jpeg_x2.jpg"]
    Path("result").touch()
    (task,) = plan("in.webp", output="result", when_there="overwrite").tasks
    assert (str(task.target), task.format.name) == ("result", "WEBP")


def test_a_format_for_other_inputs_is_said_not_to_apply(save: Save) -> None:
    save("in.png")
    for format, name in (("mp4", "MP4"), ("cbz", "CBZ")):
        (task,) = plan("in.png", format=format).tasks
        assert task.lost == (f"the format {name} does not apply, so the result is PNG",)
    (task,) = plan("in.png", format="apng").tasks
    assert task.lost == ()


def test_a_tree_is_mirrored_and_results_are_not_taken_in(save: Save) -> None:
    save("in/a.png"), save("in/sub/b.png"), save("in/out/sub/b.png")
    assert targets(plan("in", recursive=True, output="in/out", when_there="skip")) == ["in/out/a.png"]
    save("in_x2/a.png")
    assert targets(plan("in", recursive=True, when_there="skip")) == [
        "in_x2/out/sub/b.png",
        "in_x2/sub/b.png",
    ]
    save("all/in/a.png"), save("all/in_x2/a.png")
    os.chdir("all")
    assert targets(plan("in", ".", recursive=True, when_there="overwrite")) == [
        "in_x2/a.png",
        str(Path("../all_x2/in/a.png").resolve()),
    ]


def test_one_pattern_may_be_several_inputs(save: Save) -> None:
    save("a.png"), save("b.png")
    assert targets(plan("?.png", output="new")) == ["new/a.png", "new/b.png"]


def test_bad_inputs_do_not_stop_the_good_ones(save: Save) -> None:
    save("good.png")
    Path("empty.png").touch()
    Path("notes.txt").write_text("hello")
    made = plan("empty.png", "good.png", "notes.txt", "nowhere.png")
    assert targets(made) == ["good_x2.png"]
    assert [(failure.name, failure.error.message) for failure in made.failures] == [
        ("empty.png", "empty.png is empty"),
        ("notes.txt", "notes.txt is not a picture that this program reads"),
        ("nowhere.png", "nowhere.png: there is no such file"),
    ]
    assert all(isinstance(failure.error, InputError) for failure in made.failures)
    assert not made.names_one


def test_only_a_single_named_file_counts_as_one(save: Save) -> None:
    save("in/a.png")
    assert plan("in/a.png").names_one
    assert plan("in/*.png").names_one
    assert plan("nowhere.png").names_one
    assert not plan("in").names_one


def test_too_large_for_the_format_is_known_before_the_work(save: Save) -> None:
    save("wide.png", size=(9000, 1))
    (failure,) = plan("wide.png", output="wide.webp").failures
    assert failure.error.message.startswith("WEBP supports at most 16383 pixels per side")


def test_what_is_there_is_refused_before_any_work(save: Save) -> None:
    save("a.png"), save("b.png"), save("c.png"), save("a_x2.png"), save("b_x2.png")
    with pytest.raises(
        OutputExistsError,
        match=r"^'a_x2.png' and 1 more already exist \(use --overwrite or --skip-existing\)$",
    ) as refusal:
        plan("a.png", "b.png", "c.png")
    assert refusal.value.exit_code is ExitCode.CANNOT_WRITE
    with pytest.raises(
        OutputExistsError, match=r"^'a_x2.png' already exists \(use --overwrite or --skip-existing\)$"
    ):
        plan("a.png")
    assert len(plan("a.png", "b.png", "c.png", when_there="overwrite").tasks) == 3
    skipping = plan("a.png", "b.png", "c.png", when_there="skip")
    assert targets(skipping) == ["c_x2.png"]
    assert [str(task.target) for task in skipping.skipped] == ["a_x2.png", "b_x2.png"]


def test_a_link_to_nowhere_is_there(save: Save) -> None:
    save("a.png")
    Path("a_x2.png").symlink_to("nowhere")
    with pytest.raises(OutputExistsError):
        plan("a.png")


@pytest.mark.parametrize("when_there", ["refuse", "overwrite", "skip"])
def test_two_inputs_for_one_name_are_refused(save: Save, when_there: str) -> None:
    save("a/1.png"), save("b/1.png")
    with pytest.raises(
        OutputError,
        match=r"^'a/1.png' and 'b/1.png' would both become 'out/1.png' \(upscale them one by one",
    ):
        plan("a/1.png", "b/1.png", output="out", when_there=when_there)
    absolute = str(Path("a/1.png").absolute())
    assert targets(plan("a/1.png", absolute, when_there=when_there)) == ["a/1_x2.png"]  # the same file


def test_inputs_that_differ_in_their_ending_get_it_into_the_name(save: Save) -> None:
    save("c/1.png"), save("c/1.webp"), save("c/1.jpg"), save("c/2.webp")
    assert targets(plan("c", format="jpg")) == [
        "c_x2/1.jpg",
        "c_x2/1_png.jpg",
        "c_x2/1_webp.jpg",
        "c_x2/2.jpg",
    ]
    assert targets(plan("c/1.png", "c/1.webp", format="jpg")) == ["c/1_x2_png.jpg", "c/1_x2_webp.jpg"]
    save("c/1_png.jpg")
    with pytest.raises(OutputError, match=r"'c/1_png.jpg' would both become 'c_x2/1_png.jpg'"):
        plan("c", format="jpg")


@pytest.mark.parametrize("when_there", ["refuse", "overwrite", "skip"])
@pytest.mark.parametrize("output", ["in", "in/a.png", "link", "linked.png", "hard.png"])
def test_a_result_never_replaces_an_input(save: Save, output: str, when_there: str) -> None:
    save("in/a.png")
    Path("link").symlink_to("in")
    Path("linked.png").symlink_to("in/a.png")
    Path("hard.png").hardlink_to("in/a.png")
    with pytest.raises(OutputError, match="is an input, and results replace inputs only with --in-place"):
        plan("in/a.png", output=output, when_there=when_there)


def test_a_result_never_replaces_an_input_that_is_damaged(save: Save) -> None:
    save("in/a.jpg")
    Path("in/a.png").touch()
    with pytest.raises(OutputError, match=r"'in/a\.png' is an input"):
        plan("in", output="in", format="png", when_there="overwrite")


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("in.png/out.png", "'in.png' is not a folder"),
        ("in.png/deep/er/", "'in.png' is not a folder"),
        ("nowhere/link.png", "'nowhere' is not a folder"),
        ("folder/", "'folder/in.png': it is a folder"),
        ("/dev/null", "'/dev/null': it is not an ordinary file"),
    ],
)
def test_impossible_places_are_refused_before_any_work(save: Save, output: str, sentence: str) -> None:
    save("in.png")
    Path("folder/in.png").mkdir(parents=True)
    Path("nowhere").symlink_to("gone")
    for when_there in ("overwrite", "refuse", "skip"):
        with pytest.raises(OutputError, match=sentence):
            plan("in.png", output=output, when_there=when_there)


def test_a_folder_that_cannot_be_written_to(
    save: Save, public_folder: Path, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    save(str(public_folder / "a.png")), save(str(public_folder / "b.png"))
    public_folder.chmod(0o555)
    with unprivileged(), pytest.raises(OutputError, match=r"cannot write results to .*: permission denied"):
        plan(str(public_folder / "*.png"))
    save(str(public_folder / "done/a.png")), save(str(public_folder / "done/b.png"))
    with unprivileged():
        assert not plan(
            str(public_folder / "?.png"), output=str(public_folder / "done"), when_there="skip"
        ).tasks


def test_a_name_that_grows_too_long_fails_alone(save: Save) -> None:
    long = "x" * 250 + ".png"
    save(long), save("a.png")
    made = plan(long, "a.png")
    assert targets(made) == ["a_x2.png"]
    (failure,) = made.failures
    assert failure.error.message.endswith("File name too long")
    assert failure.error.exit_code is ExitCode.CANNOT_WRITE


def test_plans_grow_with_their_inputs_and_no_faster(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test counts system calls instead of measuring time: many files take no more per file than a few."""

    def calls_each(count: int) -> float:
        for number in range(count):
            save(f"{count}/{number}.png", size=(1, 1))
        calls = 0
        really = os.stat

        def counted(*arguments: Any, **options: Any) -> os.stat_result:
            nonlocal calls
            calls += 1
            return really(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, "stat", counted)
            assert len(plan(str(count)).tasks) == count
        return calls / count

    assert calls_each(200) <= calls_each(20) + 1


def test_what_a_library_does_not_foresee_ends_no_other_file_s_work(
    save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    save("in/a.png"), save("in/b.png")

    def failing(source: Path, largest_px: int, **options: Any) -> Probe:
        if source.name == "a.png":
            raise RecursionError("too deep")
        return probe(source, largest_px, **options)

    monkeypatch.setattr("esc_cli.jobs.plan.probe", failing)
    made = plan("in")
    assert targets(made) == ["in_x2/b.png"]
    (failure,) = made.failures
    assert failure.error.message == "a bug: RecursionError: too deep"
