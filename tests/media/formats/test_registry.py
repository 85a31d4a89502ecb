import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import esc_cli
from esc_cli.engine.pixels import to_unit
from esc_cli.errors import InputError, OutputError, UsageError
from esc_cli.media.formats.base import INT32_MAX, PictureFormat
from esc_cli.media.formats.registry import (
    FORMATS,
    WRITTEN,
    check_fits,
    check_installed,
    format_by_extension,
    format_like,
    format_named,
    format_of,
    sniff,
)
from esc_cli.media.metadata.kinds import ALL_METADATA, Metadata
from esc_cli.media.opening import opened
from esc_cli.media.picture import AnimationTiming, Picture, PictureFile
from esc_cli.media.probe import probe
from esc_cli.media.read import read_file, read_picture
from esc_cli.media.write import encode_file

HAS_HEIC, HAS_JXL = (FORMATS[name].is_installed() for name in ("HEIC", "JPEG XL"))


@pytest.fixture
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate that the optional packages are not installed."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("png", "PNG"),
        (".png", "PNG"),
        ("a/b.JPG", "JPEG"),
        (Path("x.tiff"), "TIFF"),
        ("archive.tar.webp", "WEBP"),
        ("b.bmp", "BMP"),
        ("AVIF", "AVIF"),
        ("a.GIF", "GIF"),
        ("a.heif", "HEIC"),
        ("a.jxl", "JPEG XL"),
        ("a.NEF", "camera raw"),
        ("a.exr", "OpenEXR"),
        ("a.hdr", "Radiance HDR"),
        ("a.psd", None),
        ("a/b", None),
        ("", None),
    ],
)
def test_extension_names_format(text: str | Path, name: str | None) -> None:
    format = format_by_extension(text)
    assert (format and format.name) == name


@given(
    st.sampled_from([(name, ext) for name, format in FORMATS.items() for ext in format.extensions]), st.text()
)
def test_every_extension_is_found_whatever_precedes_it(pair: tuple[str, str], stem: str) -> None:
    name, extension = pair
    format = format_by_extension(f"{stem.replace('/', '_')}x{extension.upper()}")
    assert format is FORMATS[name]


def test_unknown_format_lists_the_choices() -> None:
    assert format_named("Jpeg").name == "JPEG"
    with pytest.raises(UsageError) as caught:
        format_named("psd")
    assert "png, jpg, webp, bmp, tif, avif" in str(caught.value.hint)
    assert ("heic" in str(caught.value.hint)) == HAS_HEIC


@pytest.mark.usefixtures("_bare")
@pytest.mark.parametrize(("name", "extra"), [("HEIC", "heic"), ("JPEG XL", "jxl")])
def test_formats_of_packages_that_are_not_there(name: str, extra: str) -> None:
    assert not FORMATS[name].is_installed()
    assert format_like(name).name == "PNG"
    for error_class in (InputError, UsageError):
        with pytest.raises(error_class, match="not installed") as caught:
            check_installed(FORMATS[name], error_class, "it cannot be done")
        assert caught.value.hint == f'pip install "esc-upscale[{extra}]"'
    with pytest.raises(UsageError, match=f"cannot be written as {name}"):
        format_named(FORMATS[name].extensions[0])
    with pytest.raises(UsageError) as unknown:
        format_named("psd")
    assert str(unknown.value.hint).startswith("choose one of the formats png, jpg, webp, bmp, tif, avif")
    assert not {"heic", "jxl"} & set(re.findall(r"\w+", str(unknown.value.hint)))
    with pytest.raises(OutputError) as too_large:
        check_fits(1, 66_000, FORMATS["JPEG"])
    assert "jxl" not in str(too_large.value.hint)
    content = {"HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "JPEG XL": b"\xff\x0a\0"}[name]
    with pytest.raises(InputError, match=f"a {name} picture") as unread, opened(content):
        pass
    assert unread.value.hint == f'pip install "esc-upscale[{extra}]"'


def test_formats_are_known_without_loading_what_reads_them() -> None:
    code = (
        "import sys; from esc_cli.media.formats.registry import FORMATS;"
        "[format.is_installed() for format in FORMATS.values()];"
        "readers = {'numpy', 'torch', 'pyvips', 'pillow_heif', 'pillow_jxl', 'rawpy', 'OpenEXR'};"
        "sys.exit(bool(readers & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("format", WRITTEN, ids=repr)
def test_content_tells_the_format(format: PictureFormat) -> None:
    if not format.is_installed():
        pytest.skip("its package is not installed")
    file = io.BytesIO()
    format.load_plugin()
    if format.scene_linear:  # Pillow cannot write it
        color = torch.zeros((1, 3, 2, 3), dtype=torch.uint8)
        file.write(encode_file(PictureFile((Picture(color, None, False, Metadata(), "PNG"),)), format))
    else:
        Image.new("RGB", (3, 2)).save(file, format.pillow_name)
    assert sniff(file.getvalue()[:16]) is format
    with opened(file.getvalue()) as picture:
        assert picture.format is format_of(picture.image) is format


def test_families_are_told_apart_by_what_they_are_compatible_with() -> None:
    assert sniff(b"\0\0\0\x1cftypmif1\0\0\0\0mif1miafheic\0\0\0\x20meta") is FORMATS["HEIC"]
    assert sniff(b"\0\0\0\x1cftypmif1\0\0\0\0mif1miafavif\0\0\0\x20meta") is FORMATS["AVIF"]


@pytest.mark.parametrize(
    "content", [b"", b"BMW is a car.", b"%PDF-1.7", b"RIFF\0\0\0\0WAVE", b"\xff\xfe<\0?\0"]
)
def test_other_content_is_no_picture(content: bytes) -> None:
    assert sniff(content) is None


def test_sources_which_are_only_read_become_png() -> None:
    assert format_like("PSD").name == "PNG"
    assert format_like("GIF").name == "GIF"


@given(
    st.sampled_from(sorted(format.name for format in WRITTEN)),
    st.integers(min_value=1, max_value=2**31),
    st.integers(min_value=1, max_value=2**31),
)
def test_a_picture_fits_or_the_error_names_formats_that_take_it(name: str, height: int, width: int) -> None:
    try:
        check_fits(height, width, FORMATS[name])
    except OutputError as error:
        taking = [
            format for format in FORMATS.values() if format.extensions[0][1:] in str(error.hint).split()
        ]
        for format in taking:
            check_fits(height, width, format)
        assert FORMATS[name] not in taking
    else:
        assert max(height, width) <= FORMATS[name].largest_side_px


@pytest.mark.parametrize("name", ["JPEG", "WEBP", "AVIF", "GIF"])
def test_limits_are_those_of_the_libraries(name: str) -> None:
    format = FORMATS[name]
    assert _survives(name, format.largest_side_px)
    check_fits(1, format.largest_side_px, format)
    assert not _survives(name, format.largest_side_px + 1)
    with pytest.raises(OutputError, match="per side"):
        check_fits(1, format.largest_side_px + 1, format)


def _survives(name: str, width: int) -> bool:
    file = io.BytesIO()
    try:
        Image.new("RGB", (width, 1)).save(file, name)
        with Image.open(file) as image:
            return image.size == (width, 1)
    except (OSError, ValueError, OverflowError):
        return False


@pytest.mark.parametrize("format", FORMATS.values(), ids=repr)
def test_every_format_answers_every_question(format: PictureFormat) -> None:
    """Write and read one picture, and two if the format holds several, and check the format's properties."""
    if not format.is_installed():
        pytest.skip("its package is not installed")
    assert FORMATS[format.name] is format
    assert all(extension.startswith(".") for extension in format.extensions)
    assert format.holds <= ALL_METADATA
    assert format.largest_part_bytes.keys() <= format.holds
    assert list(format.depths_bits) == sorted(format.depths_bits)
    assert (format.extra is None) == (format.module is None)
    assert 0 < format.quality <= 100
    assert format.result_bytes(1000, 8) > 0
    if format.written_as is not None:
        _develops_its_sample(format)
        return
    gray = [torch.full((1, 3, 8, 12), value, dtype=torch.uint8) for value in (40, 200)]
    pictures = tuple(Picture(color, None, True, Metadata(), format.name) for color in gray)
    timing = AnimationTiming((100.0, 200.0), 1) if format.several == "frames" else None
    for count in (1, 2) if format.several else (1,):
        file = PictureFile(pictures[:count], timing if count > 1 else None)
        content = encode_file(file, format)
        assert sniff(content[:80]) is format
        again, told = read_file(content), probe(content)
        assert (told.format, told.frames, told.height, told.width) == (format.name, count, 8, 12)
        assert told.several == (format.several if count > 1 else None)
        assert len(again.pictures) == count
        assert again.first.gray != format.stores_gray_as_rgb(alpha=False, depth_bits=8)
        shown = (read_picture(content),) if format.scene_linear else again.pictures
        assert all(
            abs(int(one.color[0, 0, 4, 4]) - value) <= 2 for one, value in zip(shown, (40, 200), strict=False)
        )
        assert not list(format.limitations(told)) or format.name == "GIF"


def _develops_its_sample(format: PictureFormat) -> None:
    assert FORMATS[str(format.written_as)] in WRITTEN
    colors = np.full((32, 48, 3), 0.25)
    content = format.sample(colors)
    with opened(content) as picture:
        assert picture.format is format_of(picture.image) is format
    read, told = read_file(content), probe(content)
    assert (told.format, told.height, told.width) == (format.name, 32, 48)
    assert to_unit(read.first.color[0, :, 16, 24]).allclose(torch.full((3,), 0.25), atol=0.002)


def test_nobody_else_asks_a_format_for_its_name() -> None:
    """Differences between formats belong in the formats' own modules."""
    package = Path(esc_cli.__file__).parent
    names = "|".join(FORMATS)
    asks = re.compile(rf"""(format(\.name|_name)? (==|!=|in|not in)|case) \(?["']({names})["']""")
    others = [path for path in package.rglob("*.py") if path.parent.name != "formats"]
    assert len(others) > 100
    assert [path.name for path in others if asks.search(path.read_text(encoding="utf-8"))] == []


def test_the_document_shows_a_whole_format() -> None:
    """Pictures can be written and read in the document's example format without any other code."""
    document = Path(__file__).parents[3].joinpath("docs", "architecture.md").read_text(encoding="utf-8")
    example = (
        document.partition("## Adding a picture format")[2].partition("```python\n")[2].partition("```")[0]
    )
    names: dict[str, Any] = {"PictureFormat": PictureFormat, "INT32_MAX": INT32_MAX}
    exec(example, names)  # noqa: S102 - our own example
    format = names["Ppm"]()
    picture = Picture(torch.full((1, 3, 8, 12), 40, dtype=torch.uint8), None, True, Metadata(), "PNG")
    content = encode_file(PictureFile((picture,)), format)
    assert re.match(format.signature, content)
    assert format.open(io.BytesIO(content), "it", 10**6).size == (12, 8)
