"""Writing pictures: encoded in memory, with all that their format holds of depth, frames and metadata."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import AppendingTiffWriter

from esc_cli.errors import OutOfMemoryError, OutputError, UsageError
from esc_cli.media import heif, vips
from esc_cli.media.alpha import composite
from esc_cli.media.color import to_srgb
from esc_cli.media.depth import Array, depth_written, quantized, with_depth
from esc_cli.media.embed import embed, pillow_metadata
from esc_cli.media.formats import (
    ALL_METADATA,
    FORMATS,
    Held,
    PictureFormat,
    check_fits,
    stores_gray_as_rgb,
)
from esc_cli.media.frames import encode_frames
from esc_cli.media.header import FLOAT_BITS
from esc_cli.media.jxl import pixel_options
from esc_cli.media.metadata import fitted
from esc_cli.media.picture import Metadata, Picture, PictureFile
from esc_cli.media.pillow import PILLOW_ERRORS, pillow_name, quiet_pillow

WHITE = (255, 255, 255)

# zlib's level 4: measured on 15 MP of upscaled photo 0.035 s/MP and 6.6 % of raw, against 0.066 and 6.0 at
# Pillow's 6, and 0.028 and 8.7 at 1; on a 12 MP photo 0.063 s/MP and 22 %, against 0.129, 21, and 0.042, 24.
_PNG = {"compress_level": 4}
# WebP's lossless effort (quality) and method: 0.027 s/MP at 14.1 % of raw on the photo; the next method takes
# 0.19 s/MP for 13.0 %, and Pillow's defaults (80, 4) no less.
_WEBP_LOSSLESS = {"lossless": True, "quality": 25, "method": 0}

_BMP = {"dpi": (0, 0)}
"""Of a picture whose resolution is not known; Pillow would write 96."""

_FIXED_OPTIONS: dict[str, dict[str, Any]] = {"PNG": _PNG, "BMP": _BMP}

# LZW and differences: 0.023 s/MP and 30 % of raw on the photo; Pillow's Deflate takes 0.086 for 26 %.
_TIFF_COMPRESSION = "tiff_lzw"
_TIFF_PREDICTOR = 317
_HORIZONTAL_DIFFERENCES = 2
_CLASSIC_TIFF_BYTES = 2**32 - 2**24


@dataclass(frozen=True)
class WriteSettings:
    """How pictures are written.

    Attributes:
        quality: 1 to 100 for the lossy formats; None: the format's default.
        keep: The parts of the metadata that are written.
        provenance: What made the picture, for EXIF's ProcessingSoftware; None: not to be said.
    """

    quality: int | None = None
    keep: frozenset[Held] = ALL_METADATA
    provenance: str | None = None


DEFAULT = WriteSettings()


def encode_file(file: PictureFile, format: PictureFormat, settings: WriteSettings = DEFAULT) -> bytes:
    """Encode a still, an animation or pages, with metadata, as far as the format holds them.

    Pictures are written with all their bits, or as many as the format has; those of an animation with 8.
    Where the color profile is not written, colors are converted to sRGB; where the format has no alpha, the
    picture is laid on white. A gray picture is written gray, but WebP (and AVIF, with alpha or more than 8
    bits) stores it as equal colors. Without a quality, JPEG gets 95 and AVIF and HEIC 90, all with full color
    resolution (4:4:4); WebP and JPEG XL are lossless, unless the source was a JPEG, which was not either.

    Args:
        file: What to encode; of several pictures only the first where the format holds one. An animation
            becomes the pages of a TIFF, but pages do not become an animation.
        format: As what.
        settings: How.

    Returns:
        The content of a file.

    Raises:
        OutputError: The format cannot hold it.
        OutOfMemoryError: There is not enough memory to encode it.
        UsageError: There is no such quality.
    """
    _check_quality(settings.quality)
    pictures = held_by(format, file).pictures
    for picture in pictures:
        check_fits(picture.height, picture.width, format)
    try:
        metadata = [_metadata_written(picture, format, settings) for picture in pictures]
        prepared = _prepared(pictures, metadata, format)
        encoded = _encoded(prepared, file, metadata[0], format, settings.quality)
        return embed(encoded, metadata[0], format, metadata[1:])
    except MemoryError as error:
        raise OutOfMemoryError(f"there is not enough memory to write {format.name}") from error


def held_by(format: PictureFormat, file: PictureFile) -> PictureFile:
    """Give what a format can hold of a file: all of its pictures, or the first one."""
    several = format.several == "pages" or (file.motion is not None and format.several == "frames")
    return file if several else PictureFile((file.first,))


def pillow_image(picture: Picture) -> Image.Image:
    """The pixels as a Pillow image, without metadata.

    Returns:
        In mode L, LA, RGB or RGBA, reduced to 8 bits; gray without alpha in mode I;16 or F if it has more.
    """
    if picture.gray and picture.alpha is None and picture.depth_bits > 8:
        return Image.fromarray(_values(picture)[..., 0])
    narrow = with_depth(picture, 8)
    planes = [*narrow.color[0], *(() if narrow.alpha is None else narrow.alpha[0])]  # each (H, W)
    bands = [Image.fromarray(plane.numpy()) for plane in planes]
    image = Image.merge("RGB" if narrow.alpha is None else "RGBA", bands)
    if not picture.gray:
        return image
    return image.convert("L" if narrow.alpha is None else "LA")


# What is written


def _check_quality(quality: int | None) -> None:
    if quality is not None and not 1 <= quality <= 100:
        raise UsageError(f"a quality of {quality} does not exist: it is from 1 to 100")


def _metadata_written(picture: Picture, format: PictureFormat, settings: WriteSettings) -> Metadata:
    keep = settings.keep
    if picture.gray and stores_gray_as_rgb(format, picture.alpha is not None, picture.depth_bits):
        keep -= {"icc_profile"}  # a profile of gray values, which is wrong for three channels
    return fitted(picture.metadata, format, picture.height, picture.width, keep, settings.provenance)


def _prepared(
    pictures: Sequence[Picture], metadata: Sequence[Metadata], format: PictureFormat
) -> list[Picture]:
    """Pictures as the format can hold them; those which are one object are prepared once."""
    animated = len(pictures) > 1 and format.several == "frames"
    depths = (8,) if animated else format.depths_bits
    made: dict[int, Picture] = {}
    for picture, written in zip(pictures, metadata, strict=True):
        if id(picture) not in made:
            made[id(picture)] = _as_held(picture, written, format.alpha, depths)
    return [made[id(picture)] for picture in pictures]


def _as_held(picture: Picture, written: Metadata, alpha: bool, depths: Sequence[int]) -> Picture:
    if written.icc_profile is None and picture.metadata.icc_profile is not None:
        picture = to_srgb(picture)
    if picture.alpha is not None and not alpha:
        picture = replace(picture, color=composite(picture.color, picture.alpha, WHITE), alpha=None)
    return with_depth(picture, depth_written(picture.depth_bits, depths))


# Encoders


def _encoded(
    pictures: Sequence[Picture],
    file: PictureFile,
    metadata: Metadata,
    format: PictureFormat,
    quality: int | None,
) -> bytes:
    """A file of the pictures; its metadata may still be missing."""
    if format.name == "TIFF":
        return _tiff(pictures)
    first = pictures[0]
    if len(pictures) > 1 or format.name == "GIF":
        motion = file.motion if len(pictures) > 1 else None
        options = _pixel_options(first, format, quality) | pillow_metadata(metadata, format)
        return encode_frames([pillow_image(picture) for picture in pictures], motion, format, options)
    if format.name == "HEIC":
        blocks = _blocks(metadata)
        return heif.encode_heif(_values(first), first.depth_bits, quality or format.quality, blocks)
    if first.depth_bits == 8:
        options = _pixel_options(first, format, quality) | pillow_metadata(metadata, format)
        return _saved_by_pillow(first, format, options)
    if format.name == "PNG":
        return vips.encode_png(_values(first))
    return _deep_avif(first, quality or format.quality, metadata)


def _pixel_options(picture: Picture, format: PictureFormat, quality: int | None) -> dict[str, Any]:
    """Pillow's options for the pixels."""
    lossy = quality is not None or picture.format == "JPEG"
    chosen = quality or format.quality
    match format.name:
        case "JPEG":
            return {"quality": chosen, "subsampling": "4:4:4"}
        case "WEBP":
            return {"quality": chosen} if lossy else dict(_WEBP_LOSSLESS)
        case "AVIF":
            # Pillow stores gray as luma alone (4:0:0) unless it is told a sampling.
            sampling = {} if picture.gray else {"subsampling": "4:4:4"}
            return {"quality": chosen, **sampling}
        case "JPEG XL":
            return pixel_options(chosen if lossy else None)
        case _:
            return dict(_FIXED_OPTIONS.get(format.name, {}))


def _saved_by_pillow(picture: Picture, format: PictureFormat, options: dict[str, Any]) -> bytes:
    """A file of a picture of 8 bits."""
    content = io.BytesIO()
    try:
        with quiet_pillow():
            pillow_image(picture).save(content, pillow_name(format.name), **options)
    except PILLOW_ERRORS as error:
        raise OutputError(f"the picture cannot be written as {format.name} ({error})") from error
    return content.getvalue()


def _tiff(pictures: Sequence[Picture]) -> bytes:
    """A TIFF of pages, each of its own depth and size."""
    large = sum(_values_bytes(picture) for picture in pictures) > _CLASSIC_TIFF_BYTES
    pages = (_tiff_page(picture, large) for picture in pictures)
    if len(pictures) == 1:
        return next(pages)
    content = io.BytesIO()
    with AppendingTiffWriter(content) as writer:  # through which Pillow, too, writes several pages
        for page in pages:
            writer.write(page)
            writer.newFrame()
    return content.getvalue()


def _tiff_page(picture: Picture, large: bool) -> bytes:
    if picture.depth_bits > 8:
        return vips.encode_tiff(_values(picture), large)
    options = {
        "compression": _TIFF_COMPRESSION,
        "tiffinfo": {_TIFF_PREDICTOR: _HORIZONTAL_DIFFERENCES},
        "big_tiff": large,
    }
    return _saved_by_pillow(picture, FORMATS["TIFF"], options)


def _deep_avif(picture: Picture, quality: int, metadata: Metadata) -> bytes:
    bits = picture.depth_bits
    values = quantized(_values(picture), bits) << (16 - bits)  # libvips takes the upper bits as they are
    return vips.encode_avif(values, bits, quality, _blocks(metadata))


def _blocks(metadata: Metadata) -> dict[str, bytes]:
    """Metadata of formats from the HEIF family."""
    held = {"icc_profile": metadata.icc_profile, "exif": metadata.exif, "xmp": metadata.xmp}
    return {name: block for name, block in held.items() if block is not None}


def _values_bytes(picture: Picture) -> int:
    channels = (1 if picture.gray else 3) + (picture.alpha is not None)
    return picture.height * picture.width * channels * picture.color.element_size()


def _values(picture: Picture) -> Array:
    """(H, W, C) as a file holds them: one channel for gray, and floats in their own range."""
    planes = list(picture.color[0, :1] if picture.gray else picture.color[0])
    values = [plane.numpy() for plane in planes]
    if picture.depth_bits == FLOAT_BITS:
        black, white = picture.value_range
        values = [plane * np.float32(white - black) + np.float32(black) for plane in values]
    if picture.alpha is not None:
        values.append(picture.alpha[0, 0].numpy())
    return np.stack(values, axis=2)
