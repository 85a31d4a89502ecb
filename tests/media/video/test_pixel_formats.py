import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest

from esc_cli.media.video.clip import Clip, probe_clip
from esc_cli.media.video.containers import MATROSKA, WEBM
from esc_cli.media.video.encode_settings import EncodeSettings
from esc_cli.media.video.pixel_formats import format_notes, nearest_format, padding_notes
from esc_cli.media.video.settings import check_settings


@pytest.fixture
def clip(make_clip: Callable[..., Path]) -> Clip:
    return probe_clip(make_clip(times=range(0, 3003, 1001)))


@pytest.mark.parametrize(
    ("encoder", "pixel_format"), [("libx264", "gray10le"), ("libx265", "gray12le"), ("ffv1", "gray16le")]
)
def test_deep_gray_keeps_the_bits_that_the_encoder_takes(clip: Clip, encoder: str, pixel_format: str) -> None:
    clip = replace(clip, pixel_format="gray16le", depth_bits=16, gray=True)
    complete = check_settings(clip, MATROSKA, EncodeSettings(encoder))
    assert complete.pixel_format == pixel_format
    lost = () if encoder == "ffv1" else (f"16 bits per value become {pixel_format[4:6]} in {pixel_format}",)
    assert format_notes(clip, complete) == lost


def test_coarser_chroma_is_said(clip: Clip) -> None:
    clip = replace(clip, pixel_format="yuv444p12le", depth_bits=12)
    notes = format_notes(clip, check_settings(clip, WEBM, EncodeSettings()))
    assert notes == ("12 bits per value become 10 and the resolution of chroma is reduced in yuv420p10le",)


SOURCES = (
    *("yuv420p", "yuv422p", "yuv440p", "yuv411p", "yuv410p", "yuv444p12le", "yuv422p16le"),
    *("gray", "gray16le", "rgb24", "gbrp10le", "yuva444p12le"),
)
ENCODERS = ("libx264", "libx265", "libvpx-vp9", "libsvtav1", "prores_ks", "ffv1", "mpeg4")


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_nothing_is_lost_without_need(clip: Clip, source: str, encoder: str) -> None:
    """If an encoder has any format that holds at least as much, such a format is chosen."""
    low, alpha, gray = av.VideoFormat(source), "yuva" in source, "gray" in source
    clip = replace(clip, pixel_format=source, depth_bits=low.components[0].bits, alpha=alpha, gray=gray)

    def holds(name: str) -> bool:
        high = av.VideoFormat(name)
        color = gray or (len(high.components) >= 3 and chroma(high) >= chroma(low))
        return color and high.components[0].bits >= clip.depth_bits and (not alpha or "yuva" in name)

    names = [format.name for format in av.Codec(encoder, "w").video_formats or ()]
    usual = [name for name in names if re.match("yuva?4|gray[^f]*$", name)]
    assert holds(nearest_format(clip, names)) == any(holds(name) for name in usual)


@pytest.mark.parametrize(("source", "chosen"), [("yuv411p", "yuv422p"), ("yuv440p", "yuv444p")])
def test_chroma_that_the_encoder_lacks_becomes_finer(clip: Clip, source: str, chosen: str) -> None:
    clip = replace(clip, pixel_format=source)
    assert check_settings(clip, MATROSKA, EncodeSettings()).pixel_format == chosen


def chroma(format: av.VideoFormat) -> Fraction:
    """Return the size of a chroma plane, as a share of luma's."""
    size = Fraction(format.chroma_width(64) * format.chroma_height(64), 64 * 64)
    return Fraction(1) if format.is_rgb else size


def test_padding_is_said(clip: Clip) -> None:
    (note,) = padding_notes(clip, 97, 128, EncodeSettings("libx264", pixel_format="yuv420p"))
    assert "128x97 becomes 128x98" in note
    assert padding_notes(clip, 97, 127, EncodeSettings("libx264", pixel_format="yuv444p")) == ()
