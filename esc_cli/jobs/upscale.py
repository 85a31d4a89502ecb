"""The whole job in one call: ``esc_cli.upscale``, and the upscaler that the command shares with it."""

from pathlib import Path
from typing import TypedDict, Unpack, overload

from PIL import Image

from esc_cli.checkpoints.checkpoint import Checkpoint, available_scales, open_model
from esc_cli.checkpoints.manifest import DEFAULT_MODEL
from esc_cli.engine.device import Precision
from esc_cli.engine.scales import reachable_scale
from esc_cli.engine.upscaler import Tiling, Upscaler
from esc_cli.errors import InputError, UsageError
from esc_cli.jobs.enlarge import enlarge
from esc_cli.jobs.events import Event
from esc_cli.jobs.naming import decide_destination
from esc_cli.jobs.plan import plan_sources
from esc_cli.jobs.run import run_plan
from esc_cli.jobs.sources import Source, Sources
from esc_cli.jobs.streams import STDOUT
from esc_cli.media.metadata import exif_of_size
from esc_cli.media.picture import Picture
from esc_cli.media.read import picture_from_image
from esc_cli.media.write import pillow_image

LARGEST_SCALE = 1000
"""Far beyond what can be of use; a typing error is refused, instead of adding up to a number too large."""


class EngineOptions(TypedDict, total=False):
    """Which network is run and how; see ``Upscaler``, which has the defaults."""

    model: str | Path | Checkpoint
    device: str
    precision: Precision
    tiling: Tiling
    tile_px: int | None
    overlap_px: int | None


def make_upscaler(scale: float | None, **options: Unpack[EngineOptions]) -> tuple[Upscaler, float]:
    """Make the upscaler for a scale, or for the next above it that the model can do.

    Args:
        scale: Any factor; None: the model's own default.
        options: As of ``Upscaler``.

    Returns:
        The upscaler, and the scale that results shall have.

    Raises:
        WeightsError: There is no such model, or its file is damaged.
        DeviceError: There is no such device.
        UsageError: The scale or an option makes no sense.
    """
    if scale is not None and scale > LARGEST_SCALE:
        raise UsageError(f"a scale can be {LARGEST_SCALE} at most, not {scale:g}")
    if scale is None:
        upscaler = Upscaler(**options)
        return upscaler, upscaler.scale
    options["model"] = model = open_model(options.get("model", DEFAULT_MODEL))
    return Upscaler(scale=reachable_scale(scale, available_scales(model)), **options), scale


@overload
def upscale(
    source: Image.Image, target: None = None, *, scale: float | None = None, **options: Unpack[EngineOptions]
) -> Image.Image: ...


@overload
def upscale(
    source: str | Path,
    target: str | Path | None = None,
    *,
    scale: float | None = None,
    quality: int | None = None,
    overwrite: bool = False,
    **options: Unpack[EngineOptions],
) -> Path: ...


def upscale(
    source: Image.Image | str | Path,
    target: str | Path | None = None,
    *,
    scale: float | None = None,
    quality: int | None = None,
    overwrite: bool = False,
    **options: Unpack[EngineOptions],
) -> Image.Image | Path:
    """Upscale one picture, from file to file as the command does, or from image to image.

    Args:
        source: A picture file, or an image in memory.
        target: The result's file, whose ending names the format, or a folder. By default beside the source,
            named by scale. None for an image.
        scale: Any factor; by default 4, or that of the model.
        quality: Of lossy formats, 1 to 100.
        overwrite: Replace a result that is there already.
        options: Model, device and the like, as of ``Upscaler``.

    Returns:
        The result's path; for an image, the result as an image in mode L, LA, RGB or RGBA.

    Raises:
        EscError: One of its kinds (``esc_cli.errors``): nothing was written then.
    """
    if isinstance(source, Image.Image):
        if target is not None:
            raise UsageError("an image gives an image, which you can save", hint="leave the target out")
        upscaler, factor = make_upscaler(scale, **options)
        return _with_metadata(enlarge(picture_from_image(source), upscaler, factor))
    upscaler, factor = make_upscaler(scale, **options)
    return _upscale_file(Path(source), target, upscaler, factor, quality, overwrite)


def _with_metadata(picture: Picture) -> Image.Image:
    """Give a picture as an image whose ``info`` holds what that of an opened file does."""
    image = pillow_image(picture)
    metadata = picture.metadata
    exif = metadata.exif and exif_of_size(metadata.exif, picture.height, picture.width)
    held = {"icc_profile": metadata.icc_profile, "exif": exif, "xmp": metadata.xmp, "dpi": metadata.dpi}
    image.info.update({key: value for key, value in held.items() if value is not None})
    return image


def _upscale_file(
    source: Path,
    target: str | Path | None,
    upscaler: Upscaler,
    scale: float,
    quality: int | None,
    overwrite: bool,
) -> Path:
    output = None if target is None else str(target)
    if STDOUT in (str(source), output):
        raise UsageError("standard input and output are for the command; name files")
    if source.is_dir():
        raise InputError(f"{str(source)!r} is a folder, not a picture")
    destination = decide_destination([str(source)], output, None)
    sources = Sources((Source(source, Path(source.name)),))
    plan = plan_sources(sources, destination, scale, "overwrite" if overwrite else "refuse")
    failures = plan.failures or run_plan(plan, upscaler, _ignore, quality=quality)
    if failures:
        raise failures[0].error
    (written,) = (task.target for task in plan.tasks if task.target is not None)
    return written


def _ignore(event: Event) -> None:
    """Tell nobody."""
