from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from esc_cli.errors import UsageError
from esc_cli.media.video.clip import Clip, probe_clip
from esc_cli.media.video.containers import MATROSKA, MOV, MP4, WEBM, YUV4MPEG2, Container, EncodeSettings
from esc_cli.media.video.settings import check_settings, padding_notes


@pytest.fixture
def clip(make_clip: Callable[..., Path]) -> Clip:
    return probe_clip(make_clip(times=range(0, 3003, 1001)))


@pytest.mark.parametrize(
    ("container", "pixel_format", "depth_bits", "alpha", "codec", "encoded"),
    [
        (MP4, "yuv420p", 8, False, "libx264", "yuv420p"),
        (MP4, "yuvj420p", 8, False, "libx264", "yuv420p"),
        (MATROSKA, "yuv444p", 8, False, "libx264", "yuv444p"),
        (MP4, "yuv422p10le", 10, False, "libx265", "yuv422p10le"),
        (MP4, "rgb24", 8, False, "libx264", "yuv444p"),
        (MOV, "yuva444p12le", 12, True, "prores_ks", "yuva444p10le"),
        (WEBM, "yuva420p", 8, True, "libvpx-vp9", "yuva420p"),
        (WEBM, "yuv420p", 8, False, "libvpx-vp9", "yuv420p"),
        (WEBM, "yuv420p10le", 10, False, "libsvtav1", "yuv420p10le"),
        (YUV4MPEG2, "yuv420p10le", 10, False, "wrapped_avframe", "yuv420p10le"),
    ],
)
def test_what_suits_the_clip(
    clip: Clip,
    container: Container,
    pixel_format: str,
    depth_bits: int,
    alpha: bool,
    codec: str,
    encoded: str,
) -> None:
    clip = replace(clip, pixel_format=pixel_format, depth_bits=depth_bits, alpha=alpha)
    complete = check_settings(clip, container, EncodeSettings())
    assert (complete.codec, complete.pixel_format) == (codec, encoded)


def test_gray_stays_gray(clip: Clip) -> None:
    clip = replace(clip, pixel_format="gray", gray=True)
    assert check_settings(clip, MP4, EncodeSettings()).pixel_format == "gray"


def test_what_was_stated_counts(clip: Clip) -> None:
    stated = EncodeSettings("libx264", 30, "veryfast", "yuv444p", (("tune", "film"),))
    complete = check_settings(clip, MP4, stated)
    assert complete.pixel_format == "yuv444p"
    assert dict(complete.options) == {"crf": "30", "preset": "veryfast", "tune": "film"}


def test_parameters_are_added_to_our_own(clip: Clip) -> None:
    stated = EncodeSettings("libx265", options=(("x265-params", "aq-mode=3"),))
    assert dict(check_settings(clip, MP4, stated).options)["x265-params"].endswith(":aq-mode=3")


def test_complete_settings_stay(clip: Clip) -> None:
    complete = check_settings(clip, MP4, EncodeSettings())
    again = check_settings(clip, MP4, complete)
    assert again == complete


@pytest.mark.parametrize(
    ("container", "settings", "message"),
    [
        (MP4, EncodeSettings("h266_magic"), "no video encoder named 'h266_magic'"),
        (MP4, EncodeSettings("aac"), "is not a video encoder"),
        (WEBM, EncodeSettings("libx264"), "WebM cannot hold a video stream of libx264"),
        (MP4, EncodeSettings(pixel_format="pal8"), "does not support the pixel format 'pal8'"),
        (MATROSKA, EncodeSettings("ffv1", pixel_format="nonsense"), "nonsense"),
        (MP4, EncodeSettings(preset="quick"), "does not start with"),
        (MP4, EncodeSettings(options=(("no-such", "1"),)), "no option 'no-such'"),
        (MOV, EncodeSettings("prores_ks", crf=3), "prores_ks does not support --crf"),
        (MATROSKA, EncodeSettings("ffv1", preset="slow"), "ffv1 does not support --preset"),
    ],
)
def test_what_cannot_be_is_said_before(
    clip: Clip, container: Container, settings: EncodeSettings, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        check_settings(clip, container, settings)


def test_padding_is_said(clip: Clip) -> None:
    (note,) = padding_notes(clip, 97, 128, EncodeSettings("libx264", pixel_format="yuv420p"))
    assert "128x97 becomes 128x98" in note
    assert padding_notes(clip, 97, 127, EncodeSettings("libx264", pixel_format="yuv444p")) == ()
