import io
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from esc_cli.errors import InputError, OutputError, UsageError
from esc_cli.media.formats import (
    FORMATS,
    READ_FORMATS,
    check_fits,
    check_installed,
    format_by_extension,
    format_like,
    format_named,
    is_installed,
    sniff,
)
from esc_cli.media.pillow import opened, own_name, pillow_name

HAS_HEIC, HAS_JXL = (is_installed(FORMATS[name]) for name in ("HEIC", "JPEG XL"))


@pytest.fixture
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the optional packages were not there."""
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
    assert not is_installed(FORMATS[name])
    assert format_like(name).name == "PNG"
    for error_class in (InputError, UsageError):
        with pytest.raises(error_class, match="not installed") as caught:
            check_installed(name, error_class, "it cannot be done")
        assert caught.value.hint == f'pip install "esc-upscale[{extra}]"'
    with pytest.raises(UsageError, match=f"cannot be written as {name}"):
        format_named(FORMATS[name].extensions[0])
    with pytest.raises(UsageError) as unknown:
        format_named("psd")
    assert "png, jpg, webp, bmp, tif, avif and gif" in str(unknown.value.hint)
    with pytest.raises(OutputError) as too_large:
        check_fits(1, 66_000, FORMATS["JPEG"])
    assert "jxl" not in str(too_large.value.hint)
    content = {"HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "JPEG XL": b"\xff\x0a\0"}[name]
    with pytest.raises(InputError, match=f"a {name} picture") as unread, opened(content):
        pass
    assert unread.value.hint == f'pip install "esc-upscale[{extra}]"'


def test_formats_are_known_without_loading_what_reads_them() -> None:
    code = (
        "import sys; from esc_cli.media.formats import FORMATS, is_installed;"
        "[is_installed(format) for format in FORMATS.values()];"
        "sys.exit(bool({'PIL', 'numpy', 'torch', 'pyvips', 'pillow_heif', 'pillow_jxl'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("format", READ_FORMATS)
def test_content_tells_the_format(format: str) -> None:
    if not is_installed(FORMATS[format]):
        pytest.skip("its package is not installed")
    file = io.BytesIO()
    Image.new("RGB", (3, 2)).save(file, pillow_name(format))
    assert sniff(file.getvalue()[:16]) == format
    with opened(file.getvalue()) as picture:
        assert own_name(picture.image) == format


def test_families_are_told_apart_by_what_they_are_compatible_with() -> None:
    assert sniff(b"\0\0\0\x1cftypmif1\0\0\0\0mif1miafheic\0\0\0\x20meta") == "HEIC"
    assert sniff(b"\0\0\0\x1cftypmif1\0\0\0\0mif1miafavif\0\0\0\x20meta") == "AVIF"


@pytest.mark.parametrize(
    "content", [b"", b"BMW is a car.", b"%PDF-1.7", b"RIFF\0\0\0\0WAVE", b"\xff\xfe<\0?\0"]
)
def test_other_content_is_no_picture(content: bytes) -> None:
    assert sniff(content) is None


def test_sources_which_are_only_read_become_png() -> None:
    assert format_like("PSD").name == "PNG"
    assert format_like("GIF").name == "GIF"


@given(
    st.sampled_from(sorted(FORMATS)),
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
    with pytest.raises(OutputError, match="a side"):
        check_fits(1, format.largest_side_px + 1, format)


def _survives(name: str, width: int) -> bool:
    file = io.BytesIO()
    try:
        Image.new("RGB", (width, 1)).save(file, name)
        with Image.open(file) as image:
            return image.size == (width, 1)
    except (OSError, ValueError, OverflowError):
        return False
