"""All that can be chosen about a run: one object, from the command line to the engine."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from esc_cli.enhancement.options import NO_EFFECT, RECORDED, RESOLVED, EnhancementOptions
from esc_cli.errors import UsageError
from esc_cli.jobs.clips.options import ClipOptions, check_crf, parse_option, parse_rate, parse_time
from esc_cli.jobs.shard import Shard
from esc_cli.media.metadata.fitting import parse_metadata_list
from esc_cli.media.picture import WriteSettings
from esc_cli.media.pillow import LARGEST_INPUT_PX
from esc_cli.media.video.containers import EncodeSettings

WhenThere = Literal["refuse", "overwrite", "skip"]
"""What to do about a result that is there already and is not up to date."""


@dataclass(frozen=True, kw_only=True)
class Options(EnhancementOptions):
    """All options, with their defaults: those of ``EnhancementOptions``, and the following.

    Attributes:
        scale: Any factor; by default 4, or the scale of the model.
        size: Instead, a geometry as of ImageMagick: ``1920x``, ``x1080``, ``1920x1080``, ``50%``, ...
        format: The name of a format, such as ``png``; by default each input's own.
        quality: Quality of lossy formats, 1 to 100.
        metadata: ``all``, ``none``, or of ``exif,icc,xmp,iptc,dpi,text,comment`` those to keep.
        recursive: Look into sub-folders.
        when_there: What to do about results that are there and not up to date.
        max_megapixels: Larger inputs are refused; by default those of more than 500.
        workers: Number of threads that read and write; by default as many as pay.
        shard: ``2/8`` does the second of eight shares.
        fail_fast: End at the first failure.
        video_codec: Of clips: an encoder or a codec as FFmpeg names it; by default H.264, or H.265 for more
            than 8 bits.
        crf: Of clips: the constant quality in the encoder's own scale; less is better.
        preset: Of clips: the encoder's preset.
        pixel_format: Of clips: as FFmpeg names it; by default that of the source.
        codec_options: Of clips: more options of the encoder, each ``name=value``.
        deinterlace: Of clips: make interlaced frames whole.
        start: Of clips: where the part that is kept begins: seconds, or ``HH:MM:SS``.
        end: Of clips: where it ends.
        preview: Of clips: so many frames on one picture instead.
        fps: Frames a second of an image sequence (``frames/%06d.png``).

    Raises:
        UsageError: A value is out of its range, or two contradict each other.
    """

    scale: float | None = field(default=None, metadata=RESOLVED)
    size: str | None = field(default=None, metadata=RESOLVED)
    format: str | None = field(default=None, metadata=RESOLVED)
    quality: int | None = field(default=None, metadata=RECORDED)
    metadata: str = field(default="all", metadata=RESOLVED)
    recursive: bool = field(default=False, metadata=NO_EFFECT)
    when_there: WhenThere = field(default="refuse", metadata=NO_EFFECT)
    max_megapixels: float | None = field(default=None, metadata=NO_EFFECT)
    workers: int | None = field(default=None, metadata=NO_EFFECT)
    shard: str | None = field(default=None, metadata=NO_EFFECT)
    fail_fast: bool = field(default=False, metadata=NO_EFFECT)
    video_codec: str | None = field(default=None, metadata=RESOLVED)
    crf: float | None = field(default=None, metadata=RESOLVED)
    preset: str | None = field(default=None, metadata=RESOLVED)
    pixel_format: str | None = field(default=None, metadata=RESOLVED)
    codec_options: Sequence[str] = field(default=(), metadata=RESOLVED)
    deinterlace: bool = field(default=False, metadata=RESOLVED)
    start: str | None = field(default=None, metadata=RESOLVED)
    end: str | None = field(default=None, metadata=RESOLVED)
    preview: int | None = field(default=None, metadata=RESOLVED)
    fps: str | None = field(default=None, metadata=RESOLVED)

    def __post_init__(self) -> None:
        """Check all values before any work."""
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"{self.workers} threads cannot read and write")
        if self.scale is not None and self.size is not None:
            raise UsageError("a scale and a size contradict each other", hint="choose -s or --size")
        _ = self.largest_px, self.share, self.write, self.clips

    @cached_property
    def largest_px(self) -> int:
        """The most pixels of an input."""
        if self.max_megapixels is None:
            return LARGEST_INPUT_PX
        if not 0 < self.max_megapixels < math.inf:
            raise UsageError(f"{self.max_megapixels:g} megapixels are no limit for inputs")
        return int(self.max_megapixels * 10**6)

    @cached_property
    def share(self) -> Shard | None:
        """Which share of the inputs to do; None: all."""
        return None if self.shard is None else Shard.parse(self.shard)

    @cached_property
    def write(self) -> WriteSettings:
        """How results are written."""
        return WriteSettings(self.quality, parse_metadata_list(self.metadata))

    @cached_property
    def clips(self) -> ClipOptions:
        """What is asked for clips alone."""
        check_crf(self.crf)
        return ClipOptions(
            encode=EncodeSettings(
                codec=self.video_codec,
                crf=self.crf,
                preset=self.preset,
                pixel_format=self.pixel_format,
                options=tuple(parse_option(text) for text in self.codec_options),
            ),
            deinterlace=self.deinterlace,
            start_s=None if self.start is None else parse_time(self.start),
            end_s=None if self.end is None else parse_time(self.end),
            preview=self.preview,
            frame_rate=None if self.fps is None else parse_rate(self.fps),
        )


DEFAULTS = Options()
