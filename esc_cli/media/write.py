"""Encode pictures in memory, with all the depth, frames and metadata that their format holds."""

from collections.abc import Sequence
from dataclasses import replace

from esc_cli.errors import OutOfMemoryError, UsageError
from esc_cli.media.color.conversion import to_srgb
from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.formats.registry import FORMATS, check_fits
from esc_cli.media.light import as_light, is_light, on_white, to_screen
from esc_cli.media.metadata.fitting import fitted
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.picture import DEFAULT_SETTINGS, Picture, PictureFile, WriteSettings
from esc_cli.media.pixels.alpha import composite
from esc_cli.media.pixels.bits import FLOAT_BITS
from esc_cli.media.pixels.depth import depth_written, with_depth

WHITE = (255, 255, 255)


def encode_file(
    file: PictureFile, format: PictureFormat, settings: WriteSettings = DEFAULT_SETTINGS
) -> bytes:
    """Encode a still, an animation or pages, with metadata, as far as the format holds them.

    Pictures are written at full bit depth, or as much of it as the format holds; frames of an animation are
    written with 8 bits. If the color profile is not written, the colors are converted to sRGB. If the format
    has no alpha, the picture is composited on white. A gray picture is written as gray, except that WebP (and
    AVIF, with alpha or more than 8 bits) stores it as three equal channels. The default quality is 95 for
    JPEG and 90 for AVIF and HEIC, all with full color resolution (4:4:4). WebP and JPEG XL are lossless by
    default, unless the source was a JPEG, which is lossy itself.

    Args:
        file: The pictures to encode. If the format holds one picture, only the first is encoded. An animation
            becomes the pages of a TIFF, but pages do not become an animation.
        format: Format of the result.
        settings: Quality, and the metadata to write.

    Returns:
        The content of the encoded file.

    Raises:
        OutputError: The format cannot hold a picture of this size, or encoding has failed.
        OutOfMemoryError: There is not enough memory to encode the pictures.
        UsageError: The quality is not from 1 to 100.
    """
    _check_quality(settings.quality)
    pictures = [_in_kind_of_light(picture, format) for picture in held_by(format, file).pictures]
    for picture in pictures:
        check_fits(picture.height, picture.width, format)
    try:
        metadata = [_metadata_written(picture, format, settings) for picture in pictures]
        prepared = _prepared(pictures, metadata, format)
        timing = file.timing if len(prepared) > 1 else None
        return format.encode(prepared, timing, metadata, _quality(pictures[0], format, settings))
    except MemoryError as error:
        raise OutOfMemoryError(f"there is not enough memory to write {format.name}") from error


def held_by(format: PictureFormat, file: PictureFile) -> PictureFile:
    """Return what a format can hold of a file: all of its pictures, or the first one."""
    several = format.several == "pages" or (file.timing is not None and format.several == "frames")
    return file if several else PictureFile((file.first,))


def _in_kind_of_light(picture: Picture, format: PictureFormat) -> Picture:
    """Convert between light and values for a screen, unless the format holds either."""
    if format.scene_linear:
        light = picture if is_light(picture) else as_light(picture)
        return light if format.alpha else on_white(light)
    return picture if FLOAT_BITS in format.depths_bits else to_screen(picture)


def _check_quality(quality: int | None) -> None:
    if quality is not None and not 1 <= quality <= 100:
        raise UsageError(f"the quality must be from 1 to 100, not {quality}")


def _quality(picture: Picture, format: PictureFormat, settings: WriteSettings) -> int | None:
    """Return the quality for an encoder.

    None means lossless, in a format that can be: unless a quality is requested or the source format is always
    lossy.
    """
    source = FORMATS.get(picture.format)
    if settings.quality is None and format.lossy and source is not None and source.only_lossy:
        return format.quality
    return settings.quality


def _metadata_written(picture: Picture, format: PictureFormat, settings: WriteSettings) -> Metadata:
    keep = settings.keep
    if picture.gray and format.stores_gray_as_rgb(
        alpha=picture.alpha is not None, depth_bits=picture.depth_bits
    ):
        keep -= {"icc_profile"}  # a profile of gray values is wrong for three channels
    return fitted(picture.metadata, format, picture.height, picture.width, keep, settings.provenance)


def _prepared(
    pictures: Sequence[Picture], metadata: Sequence[Metadata], format: PictureFormat
) -> list[Picture]:
    """Convert pictures to what the format can hold; pictures that are one object are converted once."""
    animated = len(pictures) > 1 and format.several == "frames"
    depths = (8,) if animated else format.depths_bits
    made: dict[int, Picture] = {}
    for picture, written in zip(pictures, metadata, strict=True):
        if id(picture) not in made:
            made[id(picture)] = _as_held(picture, written, format, depths)
    return [made[id(picture)] for picture in pictures]


def _as_held(picture: Picture, written: Metadata, format: PictureFormat, depths: Sequence[int]) -> Picture:
    if written.icc_profile is None and picture.metadata.icc_profile is not None and not format.scene_linear:
        picture = to_srgb(picture)
    if picture.alpha is not None and not format.alpha:
        picture = replace(picture, color=composite(picture.color, picture.alpha, WHITE), alpha=None)
    return with_depth(picture, depth_written(picture.depth_bits, depths))
