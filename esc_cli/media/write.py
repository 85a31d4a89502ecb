"""Writing pictures: encoded in memory, then put on the disk completely or not at all."""

import io
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image, PngImagePlugin

from esc_cli.errors import OutOfMemoryError, OutputError, UsageError
from esc_cli.media.alpha import composite
from esc_cli.media.formats import ALL_METADATA, Held, PictureFormat, check_fits
from esc_cli.media.metadata import exif_of_size, exif_tags, holds
from esc_cli.media.picture import Picture, PictureFile
from esc_cli.media.pillow import PILLOW_ERRORS, quiet_pillow

WHITE = (255, 255, 255)

# zlib's level 4: measured on 15 MP of upscaled photo 0.035 s/MP and 6.6 % of raw, against 0.066 and 6.0 at
# Pillow's 6, and 0.028 and 8.7 at 1; on a 12 MP photo 0.063 s/MP and 22 %, against 0.129, 21, and 0.042, 24.
_PNG_LEVEL = 4
# WebP's lossless effort (quality) and method: 0.027 s/MP at 14.1 % of raw on the photo; the next method takes
# 0.19 s/MP for 13.0 %, and Pillow's defaults (80, 4) no less.
_WEBP_LOSSLESS = {"lossless": True, "quality": 25, "method": 0}

_TIFF_XMP = 700
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

    A gray picture is written gray, but WebP (and AVIF, with alpha) stores it as equal colors. Without a
    quality, JPEG gets 95 and AVIF 90, both with full color resolution (4:4:4), and WebP is lossless, unless
    the source was a JPEG, which was not either: then 95.

    Args:
        file: What to encode; laid on white if it has alpha and the format does not.
        format: As what.
        settings: How.

    Returns:
        The content of a file.

    Raises:
        OutputError: The format cannot hold it.
        OutOfMemoryError: There is not enough memory to encode it.
        UsageError: There is no such quality.
    """
    return encode_picture(file.first, format, settings.quality)


def encode_picture(picture: Picture, format: PictureFormat, quality: int | None = None) -> bytes:
    """Encode a still; see `encode_file`."""
    if quality is not None and not 1 <= quality <= 100:
        raise UsageError(f"a quality of {quality} does not exist: it is from 1 to 100")
    check_fits(picture.height, picture.width, format)
    file = io.BytesIO()
    try:
        with quiet_pillow():
            options = _options(picture, format, quality) | _metadata_options(picture, format)
            pillow_image(picture if format.alpha else _on_white(picture)).save(file, format.name, **options)
    except MemoryError as error:
        raise OutOfMemoryError(f"there is not enough memory to write {format.name}") from error
    except PILLOW_ERRORS as error:
        raise OutputError(f"the picture cannot be written as {format.name}: {error}") from error
    return file.getvalue()


def pillow_image(picture: Picture) -> Image.Image:
    """The pixels as a Pillow image in mode L, LA, RGB or RGBA, without metadata."""
    alpha = picture.alpha
    planes = [*picture.color[0], *(() if alpha is None else alpha[0])]  # each (H, W)
    bands = [Image.fromarray(plane.cpu().numpy()) for plane in planes]
    image = Image.merge("RGB" if alpha is None else "RGBA", bands)
    if not picture.gray:
        return image
    return image.convert("L" if alpha is None else "LA")


def _on_white(picture: Picture) -> Picture:
    if picture.alpha is None:
        return picture
    return replace(picture, color=composite(picture.color, picture.alpha, WHITE), alpha=None)


def _options(picture: Picture, format: PictureFormat, quality: int | None) -> dict[str, Any]:
    """Pillow's options for the pixels."""
    match format.name:
        case "PNG":
            return {"compress_level": _PNG_LEVEL}
        case "JPEG":
            return {"quality": quality or format.quality, "subsampling": "4:4:4"}
        case "WEBP":
            lossy = quality is not None or picture.format == "JPEG"
            return {"quality": quality or format.quality} if lossy else dict(_WEBP_LOSSLESS)
        case "AVIF":
            # Pillow stores gray as luma alone (4:0:0) unless it is told a sampling.
            sampling = {} if picture.gray else {"subsampling": "4:4:4"}
            return {"quality": quality or format.quality, **sampling}
        case "TIFF":
            return {"big_tiff": picture.height * picture.width * 4 > _CLASSIC_TIFF_BYTES}
        case _:
            return {}


def _metadata_options(picture: Picture, format: PictureFormat) -> dict[str, Any]:
    """Pillow's options for the metadata that the format holds."""
    metadata = picture.metadata
    held = (part for part in format.holds if holds(format, part, metadata))
    options: dict[str, Any] = {part: value for part in held if (value := getattr(metadata, part)) is not None}
    if "exif" in options:
        options["exif"] = exif_of_size(options["exif"], picture.height, picture.width)
    if format.name == "TIFF":
        return _tiff_options(options)
    if format.name == "PNG" and "xmp" in options:
        options["pnginfo"] = _png_text(options.pop("xmp"))
    return options


def _png_text(xmp: bytes) -> PngImagePlugin.PngInfo:
    """Source: XMP specification part 3, 1.1.5: an uncompressed iTXt chunk of this name."""
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", errors="replace"))
    return text


def _tiff_options(options: dict[str, Any]) -> dict[str, Any]:
    """TIFF has no block of EXIF: its tags are the file's own, as are XMP and the predictor.

    With a camera's EXIF, the pixels are not compressed: Pillow compresses through libtiff, and cannot make it
    write nested directories (it fails on tag 34665). Only plain text is sure to pass.
    """
    tags = exif_tags(options.get("exif", b""))
    if all(isinstance(value, str) for value in tags.values()):
        # LZW and differences: 0.023 s/MP and 30 % of raw on the photo; Deflate takes 0.086 for 26 %.
        options["compression"] = "tiff_lzw"
        tags[_TIFF_PREDICTOR] = _HORIZONTAL_DIFFERENCES
    if "xmp" in options:
        tags[_TIFF_XMP] = options.pop("xmp")
    return {**options, "exif": tags}
