import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from esc_cli.errors import OutputError, UsageError
from esc_cli.media.formats import (
    FORMATS,
    check_fits,
    format_by_extension,
    format_like,
    format_named,
    sniff,
    what_is_lost,
)


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
        ("a.gif", None),
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
        format_named("gif")
    assert "png, jpg, webp, bmp, tif and avif" in str(caught.value.hint)


@pytest.mark.parametrize("format", [*FORMATS, "GIF"])
def test_content_tells_the_format(format: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (3, 2)).save(file, format)
    assert sniff(file.getvalue()[:16]) == format


@pytest.mark.parametrize(
    "content", [b"", b"BMW is a car.", b"%PDF-1.7", b"RIFF\0\0\0\0WAVE", b"\xff\xfe<\0?\0"]
)
def test_other_content_is_no_picture(content: bytes) -> None:
    assert sniff(content) is None


def test_sources_which_are_only_read_become_png() -> None:
    assert format_like("GIF").name == "PNG"
    assert format_like("JPEG").name == "JPEG"


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


@pytest.mark.parametrize("name", ["JPEG", "WEBP", "AVIF"])
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
    except (OSError, ValueError):
        return False


def test_only_formats_without_alpha_lose_it() -> None:
    assert {name for name, format in FORMATS.items() if what_is_lost(True, format)} == {"JPEG", "BMP"}
    assert not any(what_is_lost(False, format) for format in FORMATS.values())
