from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from esc_cli.enhancement.size import Geometry
from esc_cli.errors import OutputError, UsageError
from esc_cli.jobs.name_templates import FIELDS, NameTemplate
from esc_cli.jobs.options import Options
from esc_cli.jobs.plan import Request, make_plan

Save = Callable[..., Path]


def targets(
    *names: str,
    name: str,
    size: str = "200%",
    scale: float | None = None,
    output: str | None = None,
    **more: Any,
) -> list[str]:
    rule = Geometry.parse(size) if scale is None else Geometry.of_scale(scale)
    request = Request(names, rule, output, Options(name=name, **more), model="a/model")
    return [str(task.target) for task in make_plan(request, lambda task: {"models": []}).tasks]


@pytest.mark.parametrize(
    ("name", "size", "target"),
    [
        ("{stem}_{scale}x", "150%", "in.v1_1.5x.PNG"),
        ("{stem}-{width}x{height}", "16x", "in.v1-16x10.PNG"),
        ("{scale}", "16x", "2.PNG"),
        ("{{{stem}}}", "200%", "{in.v1}.PNG"),
        ("big", "200%", "big.PNG"),
        ("{stem}.5", "200%", "in.v1.5.PNG"),
        (".{stem}", "200%", ".in.v1.PNG"),
    ],
)
def test_names(save: Save, name: str, size: str, target: str) -> None:
    save("in.v1.PNG", size=(8, 5))
    assert targets("in.v1.PNG", name=name, size=size) == [target]


def test_the_scale_is_the_one_that_was_asked_for(save: Save) -> None:
    """The result of 5 pixels is 8 pixels long, which is 1.6 times as much."""
    save("in.png", size=(5, 5))
    assert targets("in.png", name="{stem}_{scale}x", scale=1.5) == ["in_1.5x.png"]


def test_the_model_has_no_folder(save: Save) -> None:
    save("in.png")
    assert targets("in.png", name="{model}", model="nearest") == ["a_model.png"]


def test_folders_are_kept(save: Save) -> None:
    save("in/sub/a.png"), save("b.jpg")
    assert targets("in", name="{stem}_big", recursive=True) == ["in_200pct/sub/a_big.png"]
    assert targets("in", "b.jpg", name="{stem}_big", output="out", recursive=True) == [
        "out/sub/a_big.png", "out/b_big.jpg",
    ]  # fmt: skip


def test_clashes_are_refused(save: Save) -> None:
    save("a.png", size=(8, 6)), save("b.png", size=(8, 6)), save("c.jpg", size=(4, 3))
    with pytest.raises(OutputError, match=r"would both become '8x6.png' \(put {stem} into the name\)"):
        targets("a.png", "b.png", name="{width}x{height}", size="100%")
    assert targets("a.png", "c.jpg", name="x", output="out", format="webp") == [
        "out/x_png.webp",
        "out/x_jpg.webp",
    ]
    with pytest.raises(
        OutputError, match=r"'a\.png' is an input, and results replace inputs only with --in-place"
    ):
        targets("a.png", name="{stem}", when_there="overwrite")


@pytest.mark.parametrize(
    "name", ["{stem}{", "}", "{}", "{stem.__class__}", "{stem!r}", "{0}", "{stem[0]}", "{stem:>9}"]
)
def test_other_fields_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        NameTemplate.parse(name)


def test_no_name_of_a_file_has_a_nul() -> None:
    with pytest.raises(UsageError, match="has a NUL"):
        NameTemplate.parse("a\0b")


@pytest.mark.parametrize("name", ["", " ", ".", ".."])
def test_a_name_says_something(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be empty"):
        NameTemplate.parse(name)


def test_all_fields_are_known() -> None:
    template = NameTemplate.parse("".join(f"{{{field}}}" for field in FIELDS))
    assert template.fill({field: field for field in FIELDS}) == "".join(FIELDS)
