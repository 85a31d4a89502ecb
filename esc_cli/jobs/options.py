"""All that can be chosen about a run: one object, from the command line to the engine."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from esc_cli.checkpoints.manifest import AUTO_MODEL
from esc_cli.errors import UsageError, did_you_mean
from esc_cli.jobs.clips.options import ClipOptions, check_crf, parse_option, parse_rate, parse_time
from esc_cli.jobs.shard import Shard
from esc_cli.media.metadata import parse_metadata_list
from esc_cli.media.picture import WriteSettings
from esc_cli.media.pillow import LARGEST_INPUT_PX
from esc_cli.media.video.formats import EncodeSettings

if TYPE_CHECKING:
    from esc_cli.checkpoints.checkpoint import Checkpoint
    from esc_cli.engine.device import Precision
    from esc_cli.engine.runtime_choice import Runtime
    from esc_cli.engine.upscaler import Tiling

WhenThere = Literal["refuse", "overwrite", "skip"]
"""What to do about a result that is there already and is not up to date."""

_RECORDED = {"effect": "recorded"}
"""Marks options whose value goes into the record of a result."""
_RESOLVED = {"effect": "resolved"}
"""Marks options whose consequence goes into it: a model's digest, a size in pixels, an encoder's settings."""
_NONE = {"effect": "none"}
"""Marks options that change no result."""
_ENGINE = {"engine": True}
"""Marks options that ``Upscaler`` has, too."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """All options, with their defaults. Those about the device and the network are described at ``Upscaler``.

    Attributes:
        model: As of ``Upscaler``, or ``auto``: for each file the shipped model for what the file is.
        device: As of ``Upscaler``.
        precision: As of ``Upscaler``.
        tiling: As of ``Upscaler``.
        tile_px: As of ``Upscaler``.
        overlap_px: As of ``Upscaler``.
        attention: As of ``Upscaler``.
        runtime: As of ``Upscaler``.
        tta: As of ``Upscaler``.
        scale: Any factor; by default 4, or the scale of the model.
        size: Instead, a geometry as of ImageMagick: ``1920x``, ``x1080``, ``1920x1080``, ``50%``, ...
        consistency: Correct results until, made small again, they are their source.
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
        fps: Frames a second of numbered pictures (``frames/%06d.png``).

    Raises:
        UsageError: A value is out of its range, or two contradict each other.
    """

    model: "str | Path | Checkpoint" = field(default=AUTO_MODEL, metadata=_RESOLVED | _ENGINE)
    device: str = field(default="auto", metadata=_NONE | _ENGINE)  # a run may go on on another one
    precision: "Precision" = field(default="auto", metadata=_RECORDED | _ENGINE)
    tiling: "Tiling" = field(default="auto", metadata=_RECORDED | _ENGINE)
    tile_px: int | None = field(default=None, metadata=_RECORDED | _ENGINE)
    overlap_px: int | None = field(default=None, metadata=_RECORDED | _ENGINE)
    attention: str = field(default="auto", metadata=_NONE | _ENGINE)
    runtime: "Runtime" = field(default="auto", metadata=_NONE | _ENGINE)
    tta: bool = field(default=False, metadata=_RECORDED | _ENGINE)
    scale: float | None = field(default=None, metadata=_RESOLVED)
    size: str | None = field(default=None, metadata=_RESOLVED)
    consistency: bool = field(default=False, metadata=_RECORDED)
    format: str | None = field(default=None, metadata=_RESOLVED)
    quality: int | None = field(default=None, metadata=_RECORDED)
    metadata: str = field(default="all", metadata=_RESOLVED)
    recursive: bool = field(default=False, metadata=_NONE)
    when_there: WhenThere = field(default="refuse", metadata=_NONE)
    max_megapixels: float | None = field(default=None, metadata=_NONE)
    workers: int | None = field(default=None, metadata=_NONE)
    shard: str | None = field(default=None, metadata=_NONE)
    fail_fast: bool = field(default=False, metadata=_NONE)
    video_codec: str | None = field(default=None, metadata=_RESOLVED)
    crf: float | None = field(default=None, metadata=_RESOLVED)
    preset: str | None = field(default=None, metadata=_RESOLVED)
    pixel_format: str | None = field(default=None, metadata=_RESOLVED)
    codec_options: Sequence[str] = field(default=(), metadata=_RESOLVED)
    deinterlace: bool = field(default=False, metadata=_RESOLVED)
    start: str | None = field(default=None, metadata=_RESOLVED)
    end: str | None = field(default=None, metadata=_RESOLVED)
    preview: int | None = field(default=None, metadata=_RESOLVED)
    fps: str | None = field(default=None, metadata=_RESOLVED)

    def __post_init__(self) -> None:
        """Check all values before any work."""
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"{self.workers} threads cannot read and write")
        if self.scale is not None and self.size is not None:
            raise UsageError("a scale and a size contradict each other", hint="choose -s or --size")
        _ = self.largest_px, self.share, self.write, self.clips

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """List the options."""
        return tuple(one.name for one in fields(cls))

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Options":
        """Take options by name.

        Raises:
            UsageError: As of ``Options``.
            TypeError: There is no such option.
        """
        for name in options:
            if name not in cls.names():
                nearest = did_you_mean(name, cls.names())
                raise TypeError("; ".join(filter(None, (f"there is no option {name!r}", nearest))))
        return cls(**options)

    def but(self, **changes: Any) -> "Options":
        """Give these options with some changed."""
        return replace(self, **changes)

    @cached_property
    def engine(self) -> dict[str, Any]:
        """The options of ``Upscaler``, but for the scale."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.metadata.get("engine")}

    @cached_property
    def recorded(self) -> dict[str, Any]:
        """Those on whose values results depend."""
        chosen = (one.name for one in fields(self) if one.metadata["effect"] == "recorded")
        return {name: getattr(self, name) for name in chosen}

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
