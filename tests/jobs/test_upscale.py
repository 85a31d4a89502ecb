import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.ExifTags import IFD, Base

import esc_cli
from esc_cli.errors import (
    DeviceError,
    EscError,
    InputError,
    OutputError,
    OutputExistsError,
    UsageError,
    WeightsError,
)
from esc_cli.media.metadata.iptc import jpeg_segment

Save = Callable[..., Path]
Load = Callable[..., Image.Image]


def test_a_file_gives_a_file(save: Save, load: Load) -> None:
    save("in.png", size=(8, 6))
    assert esc_cli.upscale("in.png", "out.webp", scale=4, model="nearest") == Path("out.webp")
    assert load("out.webp").size == (32, 24)
    assert esc_cli.upscale(Path("in.png"), scale=1.5, model="nearest") == Path("in_x1.5.png")
    assert load("in_x1.5.png").size == (12, 9)
    assert esc_cli.upscale("in.png", "new/", model="nearest") == Path("new/in.png")


def test_no_record_is_left(save: Save) -> None:
    save("in.png")
    esc_cli.upscale("in.png", "out/", model="nearest")
    assert [path.name for path in Path("out").iterdir()] == ["in.png"]


def test_the_result_is_the_commands_own(save: Save, load: Load) -> None:
    """An image in memory gives the same result as its file."""
    source = save("in.png", size=(9, 7), mode="RGBA")
    esc_cli.upscale(source, "out.png", scale=3, model="bicubic", device="cpu", precision="float32")
    in_memory = esc_cli.upscale(load(source), scale=3, model="bicubic")
    assert in_memory.tobytes() == load("out.png").tobytes()


def test_the_model_is_chosen_as_by_the_command(scene: Image.Image, save: Save, load: Load) -> None:
    """The model is chosen by default. Only the quantization table shows the JPEG in so small a picture."""
    scene.crop((0, 0, 40, 24)).save(save("in.jpg"), quality=70)
    esc_cli.upscale("in.jpg", "out.png", scale=2, device="cpu", precision="float32")
    esc_cli.upscale("in.jpg", "auto.png", scale=2, model="auto", device="cpu", precision="float32")
    options = {"scale": 2, "device": "cpu", "precision": "float32"}
    by_name = esc_cli.upscale(load("in.jpg"), model="esc-robust", **options)  # type: ignore[call-overload]
    in_memory = esc_cli.upscale(load("in.jpg"), **options)  # type: ignore[call-overload]
    assert by_name.tobytes() == in_memory.tobytes() == load("out.png").tobytes() == load("auto.png").tobytes()


def test_captions_of_an_image_are_kept(save: Save, load: Load) -> None:
    captions = b"\x1c\x02\x78\0\x09A caption"
    Image.new("RGB", (8, 4)).save(save("in.jpg"), extra=jpeg_segment(captions))
    result = esc_cli.upscale(load("in.jpg"), scale=2, model="nearest")
    assert result.info["photoshop"] == {0x0404: captions}


def test_an_image_without_its_file_is_as_good(save: Save, load: Load) -> None:
    exif = Image.Exif()
    exif[0x0110] = "A camera"
    Image.new("RGB", (8, 4)).save(save("in.png"), exif=exif)
    result = esc_cli.upscale(copy.deepcopy(load("in.png")), scale=2, model="nearest")
    exif.load(result.info["exif"])
    assert exif[0x0110] == "A camera"
    Image.new("RGB", (8, 4)).save("in.jpg", comment="made by hand")
    assert esc_cli.upscale(load("in.jpg"), scale=2, model="nearest").info["comment"] == b"made by hand"


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_an_image_gives_an_image_of_its_mode(mode: str) -> None:
    image = Image.effect_noise((8, 6), 50).convert("RGB").convert(mode)
    result = esc_cli.upscale(image, scale=2, model="bicubic")
    assert (result.mode, result.size) == (mode, (16, 12))


def test_an_image_keeps_what_belongs_to_it(save: Save, load: Load) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0110], exif[274] = "A camera", 6
    exif.get_ifd(IFD.Exif).update({Base.ExifImageWidth: 8, Base.ExifImageHeight: 4})
    Image.new("RGB", (8, 4)).save(save("in.jpg"), icc_profile=profile, exif=exif, dpi=(300, 300))
    result = esc_cli.upscale(load("in.jpg"), scale=2, model="nearest")
    assert result.size == (8, 16)
    result.save("out.png")
    assert load("out.png").info["icc_profile"] == profile
    assert result.info["dpi"] == (300, 300)
    exif.load(result.info["exif"])
    assert exif[0x0110] == "A camera"
    assert exif.get(274, 1) == 1
    assert exif.get_ifd(IFD.Exif) == {Base.ExifImageWidth: 8, Base.ExifImageHeight: 16}


def test_what_is_there_stays_unless_overwritten(save: Save, load: Load) -> None:
    save("in.png"), save("out.png", size=(1, 1))
    with pytest.raises(OutputExistsError):
        esc_cli.upscale("in.png", "out.png", scale=2, model="nearest")
    assert load("out.png").size == (1, 1)
    esc_cli.upscale("in.png", "out.png", scale=2, model="nearest", overwrite=True)
    assert load("out.png").size == (16, 12)


def test_a_name_is_a_name_and_no_pattern(save: Save) -> None:
    save("a1.png"), save("a2.png")
    with pytest.raises(InputError, match="no such file"):
        esc_cli.upscale("a*.png", model="nearest")
    save("a[1].png")
    assert esc_cli.upscale("a[1].png", model="nearest") == Path("a[1]_x4.png")


@pytest.mark.parametrize(
    ("source", "target", "options", "kind"),
    [
        ("nowhere.png", None, {}, InputError),
        (".", None, {}, InputError),
        ("-", None, {}, UsageError),
        ("in.png", "-", {}, UsageError),
        ("in.png", "out.xyz", {}, UsageError),
        ("in.png", None, {"scale": 0}, UsageError),
        ("in.png", None, {"scale": 1e300}, UsageError),
        ("in.png", None, {"quality": 0}, UsageError),
        ("in.png", None, {"tile_px": 0}, UsageError),
        ("in.png", None, {"model": "unknown"}, WeightsError),
        ("in.png", None, {"device": "unknown"}, DeviceError),
        ("in.png", "in.png/out.png", {}, OutputError),
        ("in.png", "in.png", {"overwrite": True}, OutputError),
    ],
)
def test_errors_are_our_own(
    save: Save, source: str, target: str | None, options: dict[str, object], kind: type[EscError]
) -> None:
    save("in.png")
    with pytest.raises(kind):
        esc_cli.upscale(source, target, **{"model": "nearest", **options})
    assert [path.name for path in Path().iterdir()] == ["in.png"]


def test_an_image_has_no_target() -> None:
    with pytest.raises(UsageError, match="only the result of a file can have a target"):
        esc_cli.upscale(Image.new("RGB", (2, 2)), "out.png", model="nearest")


def test_misspelt_options_are_refused(save: Save) -> None:
    source = save("in.png", size=(8, 6))
    with pytest.raises(TypeError, match="no option 'sclae'; did you mean 'scale'"):
        esc_cli.upscale(source, sclae=2)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="no option 'modle'; did you mean 'model'"):
        esc_cli.upscale_files([source], modle="esc")  # type: ignore[call-arg]
    assert not Path("in_x4.png").exists()


def test_what_is_no_picture_is_refused_with_what_would_be() -> None:
    with pytest.raises(UsageError, match=r"not of the type bytes \(use PIL\.Image\.open for the bytes"):
        esc_cli.upscale(b"not a name")  # type: ignore[call-overload]


@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "float32", "float64"])
def test_an_array_becomes_an_array_of_its_kind(dtype: str, channels: int | None) -> None:
    white = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    shape = (5, 7) if channels is None else (5, 7, channels)
    array = (np.random.default_rng(0).random(shape, np.float32) * white).astype(dtype)
    if channels in (2, 4):
        array[..., -1] = white  # colors under transparency may change
    result = esc_cli.upscale(array, scale=2, model="nearest")
    assert result.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_allclose(result, array.repeat(2, 0).repeat(2, 1), rtol=1e-6 if white == 1 else 0)


def test_an_array_gets_the_result_of_an_image(save: Save) -> None:
    array = np.asarray(Image.open(save("in.png", mode="RGBA", size=(9, 7))))
    options = {"scale": 2, "model": "esc-tiny", "device": "cpu", "precision": "float32"}
    result = esc_cli.upscale(array[:, ::-1], **options)  # type: ignore[call-overload]
    expected = esc_cli.upscale(Image.fromarray(array[:, ::-1].copy()), **options)  # type: ignore[call-overload]
    np.testing.assert_array_equal(result, np.asarray(expected))


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_a_matrix_is_an_array_too() -> None:
    """NumPy crashes where a matrix gets a third dimension."""
    matrix = np.asmatrix(np.arange(12, dtype=np.uint8).reshape(3, 4))
    result = esc_cli.upscale(matrix, scale=2, model="nearest")
    np.testing.assert_array_equal(result, np.asarray(matrix).repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 5), np.uint8), r"must have the shape \(H, W\) or \(H, W, 1 to 4\), not \(4, 4, 5\)"),
        (np.zeros((0, 4), np.uint8), r"not \(0, 4\)"),
        (np.zeros((4, 4), np.int32), "not int32"),
        (np.zeros((4, 4), bool), "not bool"),
        (np.full((4, 4), 255.0), "floats must be in"),
    ],
)
def test_other_arrays_are_refused(array: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        esc_cli.upscale(array, scale=2, model="nearest")
