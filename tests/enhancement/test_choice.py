"""Each picture gets the model that suits it, and a named model is never replaced."""

import io
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from esc_cli.checkpoints.manifest import read_manifest
from esc_cli.enhancement.choice import (
    Choice,
    Chooser,
    damage_shown_by,
    looks_at,
)
from esc_cli.enhancement.traces import Traces
from esc_cli.errors import DeviceError, InputError, UsageError, WeightsError
from esc_cli.jobs.options import Options
from esc_cli.media.picture import PictureFile
from esc_cli.media.read import picture_from_image, read_file


def file_of(*images: Image.Image) -> PictureFile:
    return PictureFile(tuple(picture_from_image(image) for image in images))


def encoded(image: Image.Image, format: str, **how: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **how)
    return file.getvalue()


def chosen(file: PictureFile | bytes, factor: float = 2) -> Choice | None:
    read = read_file(file) if isinstance(file, bytes) else file
    return Chooser(Options(device="cpu")).choose(factor, lambda: looks_at(read))


def not_looked_at() -> Iterable[Traces]:
    raise AssertionError("the picture was examined without need")


@pytest.mark.parametrize(
    ("format", "how", "model"),
    [
        ("PNG", {}, "esc"),
        ("JPEG", {"quality": 95, "subsampling": 0}, "esc"),
        ("JPEG", {"quality": 80}, "esc-robust"),
        ("JPEG", {"quality": 30}, "esc-robust"),
    ],
    ids=str,
)
def test_a_file_gets_the_model_for_what_it_is(
    scene: Image.Image, format: str, how: dict[str, Any], model: str
) -> None:
    content = encoded(scene, format, **how)
    choice = chosen(content)
    assert choice is not None
    assert choice.model == model
    assert chosen(content) == choice  # the same bytes, once more
    with Image.open(io.BytesIO(content)) as image:
        assert chosen(encoded(image, "PNG")).model == model  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("quality", "as_jpeg", "as_png"),
    [(90, "esc-robust", "esc-robust"), (94, "esc-robust", "esc"), (95, "esc", "esc")],
)
def test_the_table_of_a_jpeg_shows_more_than_its_pixels(
    scene: Image.Image, quality: int, as_jpeg: str, as_png: str
) -> None:
    content = encoded(scene, "JPEG", quality=quality, subsampling=0)
    with Image.open(io.BytesIO(content)) as image:
        pixels = encoded(image, "PNG")
    assert [chosen(one).model for one in (content, pixels)] == [as_jpeg, as_png]  # type: ignore[union-attr]


def test_noise_and_blur_are_seen_and_said(scene: Image.Image) -> None:
    noise = np.random.default_rng(0).normal(0, 6, (*scene.size[::-1], 3))
    noisy = Image.fromarray((np.array(scene) + noise).clip(0, 255).astype(np.uint8))
    blurred = scene.filter(ImageFilter.GaussianBlur(1))
    for image, word in ((noisy, "noise"), (blurred, "soft")):
        choice = chosen(file_of(image))
        assert choice is not None
        assert choice.model == "esc-robust"
        assert word in str(choice.reason)


def test_what_was_named_is_taken_unseen() -> None:
    assert Chooser(Options(model="esc-light", device="cpu")).choose(4, not_looked_at) == Choice("esc-light")
    assert Chooser(Options(model="nearest", device="cpu")).choose(1.5, not_looked_at) == Choice("nearest")


@pytest.mark.parametrize("factor", [1, 0.5])
def test_nothing_is_chosen_where_nothing_is_enlarged(factor: float) -> None:
    assert Chooser(Options(device="cpu")).choose(factor, not_looked_at) is None


@pytest.mark.parametrize("model", ["auto", "nearest"])
@pytest.mark.parametrize("factor", [0, -1, math.nan, math.inf])
def test_a_factor_that_is_no_positive_number_is_refused(model: str, factor: float) -> None:
    with pytest.raises(UsageError, match="a scale must be a number above zero"):
        Chooser(Options(model=model, device="cpu")).choose(factor, not_looked_at)


def test_a_file_without_pictures_is_refused() -> None:
    with pytest.raises(InputError, match="no pictures"):
        Chooser(Options(device="cpu")).choose(2, tuple)


def test_one_choice_for_all_pages(scene: Image.Image) -> None:
    """The majority of the pages decides, and a repeated picture counts once."""
    with Image.open(io.BytesIO(encoded(scene, "JPEG", quality=40))) as image:
        bad, turned = image.convert("RGB"), image.transpose(Image.Transpose.ROTATE_180)
    good = file_of(scene).first
    assert chosen(PictureFile((good, *file_of(bad, turned).pictures))).model == "esc-robust"  # type: ignore[union-attr]
    assert chosen(PictureFile((good, *file_of(bad).pictures, good, good))).model == "esc"  # type: ignore[union-attr]


def test_of_many_frames_a_few_are_looked_at(scene: Image.Image) -> None:
    frames = file_of(*(scene.rotate(angle) for angle in range(12)))
    assert len(list(looks_at(frames))) == 5


@pytest.mark.parametrize(
    ("traces", "word"),
    [
        (Traces(2, 0, 0), "JPEG"),
        (Traces(1, 0, 0), None),
        (Traces(0, 1.5, 0), "noise"),
        (Traces(0, 1.4, 10.4), None),
        (Traces(0, 0, 10.5), "soft"),
        (Traces(9, 9, 20), "JPEG"),
    ],
)
def test_the_first_trace_that_decides_is_said(traces: Traces, word: str | None) -> None:
    damage = damage_shown_by(traces)
    assert damage is None if word is None else word in str(damage)


@pytest.mark.parametrize(("quality", "model"), [(95, "esc"), (90, "esc-robust"), (75, "esc-robust")])
def test_each_scale_has_a_robust_model(scene: Image.Image, quality: int, model: str) -> None:
    content = encoded(scene, "JPEG", quality=quality, subsampling=0)
    for factor in (4, 3, 2):
        assert chosen(content, factor=factor).model == model  # type: ignore[union-attr]


def test_networks_are_made_once_and_run_in_the_same_way() -> None:
    chooser = Chooser(Options(device="cpu", precision="float32"))
    robust = chooser.models(Choice("esc-robust"))
    assert chooser.models(Choice("esc-robust")) is robust
    assert chooser.models(Choice("esc")) is chooser.models(None) is chooser.default
    assert "model esc-robust x4" in robust.provenance(3)  # there is no such model for x3
    assert "precision float32" in robust.provenance(3)


def test_a_recipe_holds_every_network_that_may_be_chosen() -> None:
    files = {(entry.name, entry.scale): entry.sha256 for entry in read_manifest()}
    recipe = Chooser(Options(device="cpu")).recipe(3)
    assert recipe["models"] == {"auto": {"esc": [files["esc", 3]], "esc-robust": [files["esc-robust", 4]]}}
    assert recipe["limits"] == [2, 1.5, 10.5]
    assert recipe != Chooser(Options(model="esc", device="cpu")).recipe(3)
    assert Chooser(Options(device="cpu")).recipe(8)["models"]["auto"]["esc"] == [
        files["esc", 4],
        files["esc", 2],
    ]
    assert Chooser(Options(device="cpu")).recipe(1) == Chooser(Options(model="esc", device="cpu")).recipe(1)


def test_what_is_not_there_is_refused_at_once() -> None:
    with pytest.raises(WeightsError, match="no model 'unknown'"):
        Chooser(Options(model="unknown"))
    with pytest.raises(DeviceError, match="abacus"):
        Chooser(Options(device="abacus"))
