"""The whole job in one call: ``esc_cli.upscale``, and the choices that the command shares with it."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from PIL import Image

from esc_cli.checkpoints.checkpoint import available_scales
from esc_cli.checkpoints.manifest import DEFAULT_MODEL
from esc_cli.engine.device import Precision
from esc_cli.engine.scales import reachable_scale
from esc_cli.engine.upscaler import Tiling, Upscaler
from esc_cli.errors import InputError, UsageError
from esc_cli.jobs.enlarge import enlarge
from esc_cli.jobs.events import Event
from esc_cli.jobs.plan import make_plan
from esc_cli.jobs.run import run_plan
from esc_cli.media.formats import FORMATS
from esc_cli.media.picture import Picture
from esc_cli.media.read import read_picture
from esc_cli.media.write import _pillow_image

DEFAULT_SCALE = 4


@dataclass(frozen=True)
class EngineOptions:
    """Which network is run and how; see ``Upscaler``."""

    model: str | Path = DEFAULT_MODEL
    device: str = "auto"
    precision: Precision = "auto"
    tiling: Tiling = "auto"
    tile_px: int | None = None
    overlap_px: int | None = None


def choose_scale(model: str | Path, asked: float | None) -> float:
    """Give the scale of a run: the one asked for, else 4 if the model has it, else the model's largest.

    Raises:
        UsageError: The scale is no number above zero, or out of the model's reach.
        WeightsError: There is no such model.
    """
    available = available_scales(model)
    if asked is None:
        return DEFAULT_SCALE if DEFAULT_SCALE in available else max(available)
    reachable_scale(asked, available)
    return asked


def make_upscaler(options: EngineOptions, scale: float) -> Upscaler:
    """Make the upscaler for a scale, or for the next above it that the model can do.

    Raises:
        WeightsError: There is no such model.
        DeviceError: There is no such device.
        UsageError: An option makes no sense.
    """
    return Upscaler(
        options.model,
        scale=reachable_scale(scale, available_scales(options.model)),
        device=options.device,
        precision=options.precision,
        tiling=options.tiling,
        tile_px=options.tile_px,
        overlap_px=options.overlap_px,
    )


@overload
def upscale(
    source: Image.Image,
    target: None = None,
    *,
    scale: float | None = None,
    options: EngineOptions = ...,
) -> Image.Image: ...


@overload
def upscale(
    source: str | Path,
    target: str | Path | None = None,
    *,
    scale: float | None = None,
    options: EngineOptions = ...,
    quality: int | None = None,
    overwrite: bool = False,
) -> Path: ...


def upscale(
    source: Image.Image | str | Path,
    target: str | Path | None = None,
    *,
    scale: float | None = None,
    options: EngineOptions = EngineOptions(),
    quality: int | None = None,
    overwrite: bool = False,
) -> Image.Image | Path:
    """Upscale one picture, from file to file as the command does, or from image to image.

    Args:
        source: A picture file, or an image in memory.
        target: The result's file; its ending names the format. By default beside the source, named by scale.
        scale: Any factor; by default 4, or that of the model.
        options: Model, device and the like.
        quality: Of lossy formats, 1 to 100.
        overwrite: Replace a result that is there already.

    Returns:
        The result's path; for an image, the result as an image.

    Raises:
        EscError: One of its kinds (``esc_cli.errors``): nothing was written then.
    """
    scale = choose_scale(options.model, scale)
    if isinstance(source, Image.Image):
        return _upscale_image(source, make_upscaler(options, scale), scale)
    return _upscale_file(Path(source), target, scale, options, quality, overwrite)


def _upscale_image(image: Image.Image, upscaler: Upscaler, scale: float) -> Image.Image:
    return _pillow_image(enlarge(_read_image(image), upscaler, scale), FORMATS["PNG"])


def _read_image(image: Image.Image) -> Picture:
    """Take an image of any mode the way a file comes in; TIFF holds every mode, uncompressed."""
    file = io.BytesIO()
    try:
        image.save(file, "TIFF")
    except OSError as error:
        raise InputError(f"an image of mode {image.mode!r} cannot be upscaled") from error
    return read_picture(file.getvalue())


def _upscale_file(
    source: Path,
    target: str | Path | None,
    scale: float,
    options: EngineOptions,
    quality: int | None,
    overwrite: bool,
) -> Path:
    if source.is_dir():
        raise InputError(f"{str(source)!r} is a folder, not a picture")
    plan = make_plan(
        [str(source)],
        scale=scale,
        output=None if target is None else str(target),
        when_there="overwrite" if overwrite else "refuse",
    )
    failures = plan.failures or run_plan(plan, make_upscaler(options, scale), _ignore, quality=quality)
    if failures:
        raise failures[0].error
    (task,) = plan.tasks
    if task.target is None:
        raise UsageError("a result can go to standard output from the command only")
    return task.target


def _ignore(event: Event) -> None:
    """Tell nobody."""
