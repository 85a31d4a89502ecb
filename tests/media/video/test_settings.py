from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from esc_cli.errors import UsageError
from esc_cli.media.video.clip import Clip, probe_clip
from esc_cli.media.video.containers import MATROSKA, MOV, MP4, WEBM, YUV4MPEG2, Container
from esc_cli.media.video.encode_settings import EncodeSettings
from esc_cli.media.video.settings import check_settings


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
        (MP4, "yuv444p16le", 16, False, "libx265", "yuv444p12le"),
        (MP4, "yuv440p", 8, False, "libx264", "yuv444p"),
        (MP4, "yuv411p", 8, False, "libx264", "yuv422p"),
        (MP4, "yuv410p", 8, False, "libx264", "yuv420p"),
        (MP4, "pal8", 8, False, "libx264", "yuv444p"),
        (WEBM, "yuv440p", 8, False, "libvpx-vp9", "yuv440p"),
        (WEBM, "yuv444p10le", 10, False, "libsvtav1", "yuv420p10le"),
        (YUV4MPEG2, "yuv411p", 8, False, "wrapped_avframe", "yuv411p"),
        (YUV4MPEG2, "yuv440p", 8, False, "wrapped_avframe", "yuv444p"),
        (YUV4MPEG2, "yuv444p16le", 16, False, "wrapped_avframe", "yuv444p16le"),
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


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4", "mpeg2video"])
def test_the_default_quality_gives_way_to_a_rate(clip: Clip, codec: str) -> None:
    stated = EncodeSettings(codec, options=(("b", "500k"),))
    options = dict(check_settings(clip, MATROSKA, stated).options)
    assert options.keys() & {"crf", "global_quality", "flags"} == set()
    assert options["b"] == "500k"


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9", "mpeg4", "mpeg2video", "mjpeg"])
@pytest.mark.parametrize("rival", ["b", "crf", "qp", "global_quality"])
def test_crf_beside_another_quality_or_a_rate_is_refused(clip: Clip, codec: str, rival: str) -> None:
    stated = EncodeSettings(codec, crf=20, options=((rival, "900"),))
    with pytest.raises(UsageError, match=f"--crf and --codec-option {rival} contradict each other"):
        check_settings(clip, MATROSKA, stated)


@pytest.mark.parametrize(
    ("codec", "name", "value", "rival"),
    [
        ("libx264", "x264-params", "me=dia:crf=30", "x264-params=crf"),
        ("libx265", "x265-params", "bitrate=500", "x265-params=bitrate"),
        ("libsvtav1", "svtav1-params", "rc=1:tbr=500", "svtav1-params=tbr"),
    ],
)
def test_crf_beside_a_quality_in_a_list_of_parameters_is_refused(
    clip: Clip, codec: str, name: str, value: str, rival: str
) -> None:
    stated = EncodeSettings(codec, options=((name, value),))
    assert "crf" not in dict(check_settings(clip, MATROSKA, stated).options)
    with pytest.raises(UsageError, match=f"--crf and --codec-option {rival} contradict each other"):
        check_settings(clip, MATROSKA, replace(stated, crf=20))


@pytest.mark.parametrize(("pixel_format", "chosen"), [("yuv420p", "yuvj420p"), ("yuv444p", "yuvj444p")])
def test_motion_jpeg_has_full_range(make_clip: Callable[..., Path], pixel_format: str, chosen: str) -> None:
    clip = probe_clip(make_clip("in.mkv", pixel_format=pixel_format))
    complete = check_settings(clip, MATROSKA, EncodeSettings("mjpeg", crf=3))
    assert complete.pixel_format == chosen


def test_raw_frames_have_no_encoder(clip: Clip) -> None:
    complete = check_settings(clip, YUV4MPEG2, EncodeSettings())
    assert check_settings(clip, YUV4MPEG2, complete) == complete
    for settings in (
        EncodeSettings(crf=3),
        EncodeSettings("libx264"),
        EncodeSettings(options=(("b", "1M"),)),
    ):
        with pytest.raises(UsageError, match="the options of video encoders do not apply to YUV4MPEG2"):
            check_settings(clip, YUV4MPEG2, settings)


def test_crf_is_the_quantizer_of_mpeg_encoders(clip: Clip) -> None:
    complete = check_settings(clip, MATROSKA, EncodeSettings("mpeg2video", crf=5))
    assert dict(complete.options) == {"flags": "+qscale", "global_quality": "590"}


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
        (MATROSKA, EncodeSettings("mpeg4", crf=32), "--crf 32 is out of range for mpeg4"),
        (MATROSKA, EncodeSettings("mpeg4", crf=0), "--crf 0 is out of range for mpeg4"),
        (MATROSKA, EncodeSettings("mjpeg", 3, None, "yuv420p"), "with --crf 3, --pixel-format yuv420p$"),
        (MP4, EncodeSettings("libx265", None, "quick"), "libx265 does not start with --preset quick$"),
        (MATROSKA, EncodeSettings("ffv1", preset="slow"), "ffv1 does not support --preset"),
    ],
)
def test_what_cannot_be_is_said_before(
    clip: Clip, container: Container, settings: EncodeSettings, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        check_settings(clip, container, settings)


@pytest.mark.parametrize("pixel_format", ["yuva420p", "yuva422p", "yuva444p", "bgra"])
def test_vp9_holds_alpha_only_with_420(make_clip: Callable[..., Path], pixel_format: str) -> None:
    clip = probe_clip(make_clip("in.mkv", codec="ffv1", pixel_format=pixel_format))
    settings = check_settings(clip, MATROSKA, EncodeSettings())
    assert (settings.codec, settings.pixel_format) == ("libvpx-vp9", "yuva420p")


@pytest.mark.parametrize("codec", ["rawvideo", "dnxhd"])
def test_encoders_whose_segments_cannot_be_kept_are_refused(
    make_clip: Callable[..., Path], codec: str
) -> None:
    """FFmpeg's Matroska crashes with raw video."""
    options = (("profile", "dnxhr_hq"),) if codec == "dnxhd" else ()
    with pytest.raises(UsageError, match=f"finished parts of a clip cannot be kept with the encoder {codec}"):
        check_settings(probe_clip(make_clip()), MOV, EncodeSettings(codec, options=options))
