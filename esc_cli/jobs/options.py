"""Define all options of a run in one object, which is used from the command line to the engine."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from esc_cli.checkpoints.manifest import AUTO_MODEL
from esc_cli.enhancement.options import NO_EFFECT, RECORDED, RESOLVED, EnhancementOptions
from esc_cli.errors import UsageError
from esc_cli.jobs.clips.options import ClipOptions, check_crf, parse_option, parse_rate, parse_time
from esc_cli.jobs.in_place import check_in_place
from esc_cli.jobs.name_templates import NameTemplate
from esc_cli.jobs.niceness import MOST_NICE
from esc_cli.jobs.previews.request import PreviewRequest
from esc_cli.jobs.sources import Shard
from esc_cli.media.metadata.fitting import parse_metadata_list
from esc_cli.media.picture import WriteSettings
from esc_cli.media.pillow import LARGEST_INPUT_PX
from esc_cli.media.video.containers import SoundChoice
from esc_cli.media.video.encode_settings import EncodeSettings

WhenThere = Literal["refuse", "overwrite", "skip"]
"""How to handle a result that already exists and is not up to date."""

Damaged = Literal["auto", "keep", "refuse"]
"""How to handle damaged inputs."""

MOST_WORKERS = 4
"""Largest default number of threads that read and write.

Reading and writing keep up with any network on the CPU with one thread, and on a GPU with a few.
"""


@dataclass(frozen=True, kw_only=True)
class Options(EnhancementOptions):
    """All options with their defaults. They are those of ``EnhancementOptions`` and the following.

    Attributes:
        scale: Scale factor, any number above 0. The default is 4, or the scale of the model.
        size: ImageMagick geometry instead of a scale: ``1920x``, ``x1080``, ``1920x1080``, ``50%``, ...
        format: Name of a format, such as ``png``. The default is the format of each input.
        quality: Quality of lossy formats, 1 to 100.
        metadata: Metadata to keep: ``all``, ``none``, or some of ``icc,exif,xmp,dpi,iptc,text,comment,geo``.
        name: Template for the names of results without their extension, such as ``{stem}_{scale}x``.
        keep_dates: Whether results get the time of last modification of their input.
        in_place: Whether results replace their inputs. Needs ``backup`` or ``yes``.
        backup: Folder that keeps the originals of results that replace their inputs.
        yes: Whether originals that are replaced need no backup.
        files_from: File that lists further inputs, or ``-`` for standard input.
        recursive: Whether to search subfolders.
        when_there: How to handle results that already exist and are not up to date.
        max_megapixels: Limit of the input size, in megapixels. Larger inputs are refused. The default is 500.
        damaged: How to handle damaged inputs. With ``keep``, what can be read is enlarged. With ``refuse``,
            they are refused. With ``auto``, pictures and clips that are cut off are refused, while in a clip
            the last good frame stands in for frames that cannot be decoded.
        threads: Number of threads that run the network on the CPU. The default is one per core.
        nice: Lowest niceness of the command and of the workers of a cluster, 0 to 19. The system runs other
            programs first.
        retune: Whether to measure anew how the networks run fastest on this machine.
        workers: Number of threads that read and write. The default is one per CPU, at most 4.
        shard: Shard of the inputs to do. ``2/8`` is the second of eight.
        cluster: Ray cluster that does the work: ``local`` for all GPUs or cores of this machine, ``auto``, or
            an address such as ``ray://head:10001``. None means this process.
        fail_fast: Whether to end the run at the first failure.
        video_codec: For clips: FFmpeg's name of an encoder or codec. The default is H.264, or H.265 for more
            than 8 bits.
        crf: For clips: constant quality on the encoder's own scale. Lower values are better.
        preset: For clips: preset of the encoder.
        pixel_format: For clips: FFmpeg's name of a pixel format. The default is that of the source.
        codec_options: For clips: more options of the encoder, each as ``name=value``.
        audio: For clips: ``auto`` copies sound where the container of the result holds it, and converts the
            rest. ``copy`` leaves out what cannot be copied. ``none`` leaves out all sound.
        deinterlace: For clips: whether to deinterlace interlaced frames.
        start: For clips: start of the part that is kept, in seconds or as ``HH:MM:SS``.
        end: For clips: end of the part that is kept, in seconds or as ``HH:MM:SS``.
        preview: What a preview shows, which is made instead of each result: a number of frames of a clip or
            of parts of a picture, ``auto``, or a part of a picture as ``X,Y`` (its middle) or ``X,Y,W,H``.
        fps: Frames per second of an image sequence (``frames/%06d.png``).

    Raises:
        UsageError: A value is out of range, or two values contradict each other.
    """

    scale: float | None = field(default=None, metadata=RESOLVED)
    size: str | None = field(default=None, metadata=RESOLVED)
    format: str | None = field(default=None, metadata=RESOLVED)
    quality: int | None = field(default=None, metadata=RECORDED)
    metadata: str = field(default="all", metadata=RESOLVED)
    name: str | None = field(default=None, metadata=NO_EFFECT)
    keep_dates: bool = field(default=False, metadata=NO_EFFECT)
    in_place: bool = field(default=False, metadata=RESOLVED)
    backup: str | Path | None = field(default=None, metadata=NO_EFFECT)
    yes: bool = field(default=False, metadata=NO_EFFECT)
    files_from: str | None = field(default=None, metadata=NO_EFFECT)
    recursive: bool = field(default=False, metadata=NO_EFFECT)
    when_there: WhenThere = field(default="refuse", metadata=NO_EFFECT)
    max_megapixels: float | None = field(default=None, metadata=NO_EFFECT)
    damaged: Damaged = field(default="auto", metadata=RECORDED)
    threads: int | None = field(default=None, metadata=NO_EFFECT)
    nice: int | None = field(default=None, metadata=NO_EFFECT)
    retune: bool = field(default=False, metadata=NO_EFFECT)
    workers: int | None = field(default=None, metadata=NO_EFFECT)
    shard: str | None = field(default=None, metadata=NO_EFFECT)
    cluster: str | None = field(default=None, metadata=NO_EFFECT)
    fail_fast: bool = field(default=False, metadata=NO_EFFECT)
    video_codec: str | None = field(default=None, metadata=RESOLVED)
    crf: float | None = field(default=None, metadata=RESOLVED)
    preset: str | None = field(default=None, metadata=RESOLVED)
    pixel_format: str | None = field(default=None, metadata=RESOLVED)
    codec_options: Sequence[str] = field(default=(), metadata=RESOLVED)
    audio: SoundChoice = field(default="auto", metadata=RESOLVED)
    deinterlace: bool = field(default=False, metadata=RESOLVED)
    start: str | None = field(default=None, metadata=RESOLVED)
    end: str | None = field(default=None, metadata=RESOLVED)
    preview: int | str | None = field(default=None, metadata=RESOLVED)
    fps: str | None = field(default=None, metadata=RESOLVED)

    def __post_init__(self) -> None:
        """Check all values before any work."""
        super().__post_init__()
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"the number of threads must be at least 1, not {self.workers}")
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"the network needs at least 1 thread, not {self.threads}")
        if self.nice is not None and not 0 <= self.nice <= MOST_NICE:
            raise UsageError(f"{self.nice} is not a niceness", hint=f"use 0 to {MOST_NICE}")
        if self.scale is not None and self.size is not None:
            raise UsageError("a scale and a size cannot be used together", hint="use -s or --size")
        check_in_place(self)
        self._check_retune()
        _ = self.largest_px, self.share, self.write, self.previewed, self.clips, self.template

    def _check_retune(self) -> None:
        for name, value in {"--ray": self.cluster, "--preview": self.preview}.items():
            if self.retune and value is not None:
                raise UsageError(
                    f"--retune and {name} contradict each other: nothing is measured with {name}",
                    hint=f"run once with --retune and without {name}",
                )

    @cached_property
    def largest_px(self) -> int:
        """Largest number of pixels of an input."""
        if self.max_megapixels is None:
            return LARGEST_INPUT_PX
        if not 0 < self.max_megapixels < math.inf:
            raise UsageError(f"{self.max_megapixels:g} megapixels is not a valid limit for inputs")
        return int(self.max_megapixels * 10**6)

    @cached_property
    def template(self) -> NameTemplate | None:
        """The template for the names of results."""
        template = None if self.name is None else NameTemplate.parse(self.name)
        if template is not None and template.needs("model") and self.model == AUTO_MODEL:
            raise UsageError(
                "the model is not known before a picture is read, so names cannot have {model}",
                hint="choose a model with -m",
            )
        return template

    @property
    def lists_files(self) -> bool:
        """Whether a list names inputs. If so, there may be several, and their results go to a folder."""
        return self.files_from is not None

    @property
    def strict(self) -> bool:
        """Whether a damaged part of an input is refused: a frame of a clip, or a page of an archive."""
        return self.damaged == "refuse" or (self.in_place and not self.keeps_damaged)

    @property
    def keeps_damaged(self) -> bool:
        """Whether what can be read of a damaged picture is enlarged."""
        return self.damaged == "keep"

    @property
    def workers_here(self) -> int:
        """Number of threads that read and write in this process."""
        return self.workers or min(MOST_WORKERS, self.threads or MOST_WORKERS, os.cpu_count() or 1)

    @cached_property
    def share(self) -> Shard | None:
        """The shard of the inputs to do. None means all."""
        return None if self.shard is None else Shard.parse(self.shard)

    @cached_property
    def write(self) -> WriteSettings:
        """The settings for writing results."""
        return WriteSettings(self.quality, parse_metadata_list(self.metadata))

    @cached_property
    def previewed(self) -> PreviewRequest | None:
        """What a preview shows. None means that results are made."""
        return None if self.preview is None else PreviewRequest.parse(self.preview)

    @cached_property
    def clips(self) -> ClipOptions:
        """The options that apply only to clips."""
        check_crf(self.crf)
        return ClipOptions(
            encode=EncodeSettings(
                codec=self.video_codec,
                crf=self.crf,
                preset=self.preset,
                pixel_format=self.pixel_format,
                options=tuple(parse_option(text) for text in self.codec_options),
            ),
            audio=self.audio,
            deinterlace=self.deinterlace,
            start_s=None if self.start is None else parse_time(self.start),
            end_s=None if self.end is None else parse_time(self.end),
            preview=None if self.previewed is None else self.previewed.frames,
            frame_rate=None if self.fps is None else parse_rate(self.fps),
            strict=self.strict,
            may_end_early=self.keeps_damaged,
        )


DEFAULTS = Options()
