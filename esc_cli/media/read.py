"""Reading pictures: a file becomes upright pixels of all its bits, and the metadata that belongs to them."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image, JpegImagePlugin, TiffImagePlugin
from torch import Tensor

from esc_cli.errors import InputError
from esc_cli.media import heif, vips
from esc_cli.media.depth import (
    Array,
    Pixels,
    from_floats,
    from_integers,
    from_wide_integers,
    with_depth,
)
from esc_cli.media.frames import frames, motion_of
from esc_cli.media.header import (
    WIDE_MODES,
    depth_bits,
    depth_class,
    is_floating,
    is_too_deep_for_pillow,
    orientation,
    reduction_note,
    tiff_orientation,
    turned,
)
from esc_cli.media.jpeg_traces import table_step
from esc_cli.media.metadata import metadata_notes, read_metadata
from esc_cli.media.modes import pixels_of
from esc_cli.media.picture import Metadata, Picture, PictureFile
from esc_cli.media.pillow import (
    LARGEST_INPUT_PX,
    Opened,
    check_pixels,
    opened,
    own_name,
    quiet_pillow,
    translated_errors,
)
from esc_cli.media.png import pixels_are_intact
from esc_cli.media.probe import first_only, frames_of, several_of
from esc_cli.media.tiff_kinds import know_deep_tiffs


def read_file(source: Path | bytes, largest_px: int = LARGEST_INPUT_PX) -> PictureFile:
    """Read all that a picture file holds, with all its bits.

    Of the pictures in an MPO only the first is read. Frames and pages that are equal become one object.

    Args:
        source: A path, or a file's content.
        largest_px: The most pixels that are read, of all frames or pages together.

    Raises:
        InputError: It is missing, a folder, empty, damaged, too large or no picture that this program reads.
        OutOfMemoryError: Its pixels do not fit in memory.
    """
    with _readable(source, largest_px) as file:
        match several_of(file):
            case "pages":
                return PictureFile(tuple(_shared(_pages(file, source))))
            case "frames":
                return PictureFile(tuple(_shared(_frames(file))), motion_of(file))
            case _:
                first = _still(file, source)
                return PictureFile((replace(first, notes=(*first_only(file), *first.notes)),))


def read_picture(source: Path | bytes) -> Picture:
    """Read a still picture, or the first frame or page, reduced to 8 bits.

    Args:
        source: A path, or a file's content.

    Raises:
        InputError: It is missing, a folder, empty, damaged, too large or no picture that this program reads.
        OutOfMemoryError: Its pixels do not fit in memory.
    """
    with _readable(source, LARGEST_INPUT_PX) as file:
        picture = _still(file, source)
        notes = (*first_only(file), *picture.notes)
    if picture.depth_bits > 8:
        notes = (*notes, reduction_note(picture.depth_bits, 8))
    return replace(with_depth(picture, 8), notes=notes)


def picture_from_image(image: Image.Image) -> Picture:
    """Take over a Pillow image of any mode, as if it came from a file, with all the bits that its mode has.

    Args:
        image: Opened or made by the caller; it is decoded if it was not yet. Of an animation, the frame
            which is shown is taken.

    Raises:
        InputError: It comes from a file which is damaged.
        OutOfMemoryError: Its pixels do not fit in memory.
    """
    if 0 in image.size:
        raise InputError("the image has no pixels")
    with quiet_pillow(), translated_errors("the image"):
        turn = orientation(image)
        image.load()
        pixels = pixels_of(image, 16 if image.mode in WIDE_MODES else 8)
        format = own_name(image) if image.format else "PNG"
        return _picture(replace(pixels, values=turned(pixels.values, turn)), image, format)


@contextmanager
def _readable(source: Path | bytes, largest_px: int) -> Iterator[Opened]:
    know_deep_tiffs()
    with opened(source, largest_px) as file, translated_errors(file.name):
        _check_sums(file)
        yield file


def _check_sums(file: Opened) -> None:
    stream = file.image.fp
    if file.image.format == "PNG" and stream is not None and not pixels_are_intact(stream):
        raise InputError(f"{file.name} is damaged: a checksum in it is wrong")


# One picture, and several


def _still(file: Opened, source: Path | bytes, page: int = 0) -> Picture:
    """The picture, or the page of a TIFF at which the file stands."""
    pixels = _deep_pixels(file, source, page) if is_too_deep_for_pillow(file) else _pillow_pixels(file)
    return _picture(pixels, file.image, own_name(file.image), file.header)


def _pages(file: Opened, source: Path | bytes) -> Iterator[Picture]:
    total_px = 0
    for page in range(frames_of(file)):
        file.image.seek(page)
        total_px += file.image.height * file.image.width
        check_pixels(total_px, file.name, file.largest_px)
        picture = _still(file, source, page)
        yield picture if page == 0 else replace(picture, metadata=_of_every_page(picture.metadata))


def _frames(file: Opened) -> Iterator[Picture]:
    """The frames of an animation, in 8 bits, as that is how Pillow puts them together."""
    turn, first = orientation(file.image), None
    for image in frames(file):
        pixels = pixels_of(image, depth_bits(file) if first is None else 8)
        pixels = replace(pixels, values=turned(pixels.values, turn))
        if first is None:
            first = _picture(pixels, file.image, own_name(file.image), file.header)
            yield first
        else:
            color, alpha = _tensors(pixels)
            yield Picture(color, alpha, pixels.gray, _of_every_page(first.metadata), first.format)


def _of_every_page(metadata: Metadata) -> Metadata:
    return Metadata(icc_profile=metadata.icc_profile, dpi=metadata.dpi)


def _shared(pictures: Iterable[Picture]) -> Iterator[Picture]:
    """The pictures, those which look the same being one object, so that they are enlarged once."""
    known: dict[tuple[object, ...], Picture] = {}
    for picture in pictures:
        digest = hashlib.sha256(picture.color.numpy().data)
        if picture.alpha is not None:
            digest.update(picture.alpha.numpy().data)
        looks = (digest.digest(), picture.color.shape, picture.value_range, _of_every_page(picture.metadata))
        yield known.setdefault(looks, picture)


# Pixels


def _pillow_pixels(file: Opened) -> Pixels:
    turn = orientation(file.image)
    file.image.load()
    pixels = pixels_of(file.image, depth_bits(file))
    return replace(pixels, values=turned(pixels.values, turn))


def _deep_pixels(file: Opened, source: Path | bytes, page: int) -> Pixels:
    """Pixels of more than 8 bits, of which Pillow read the header alone."""
    image, bits = file.image, depth_bits(file)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _of_tiff(image, vips.decode(source, "TIFF", file.name, page), is_floating(file))
    if image.format == "AVIF":  # libvips has 10 and 12 bits as the upper ones of 16, and turns the picture
        return from_integers(vips.decode(source, "AVIF", file.name) >> (16 - bits), bits)
    if own_name(image) == "HEIC":
        return Pixels(heif.deep_pixels(source, file.name), depth_class(bits))
    image.load()  # for the metadata behind the pixels, which Pillow reads no sooner: 0.025 s/MP
    values = vips.decode(source, "PNG", file.name)
    return from_integers(turned(values, orientation(image)), bits)


def _of_tiff(image: TiffImagePlugin.TiffImageFile, values: Array, floating: bool) -> Pixels:
    """Channels that are no color and no alpha are left out; libvips has divided by associated alpha."""
    values = turned(values[..., : len(image.getbands())], tiff_orientation(image))
    if floating:
        return from_floats(values)
    return from_integers(values, 16) if values.dtype.itemsize == 2 else from_wide_integers(values)


def _picture(pixels: Pixels, image: Image.Image, format: str, header: bytes = b"") -> Picture:
    metadata = read_metadata(image, pixels.gray, header)
    notes = (*pixels.notes, *metadata_notes(image, metadata))
    color, alpha = _tensors(pixels)
    return Picture(
        color,
        alpha,
        pixels.gray,
        metadata,
        format,
        notes,
        pixels.depth_bits,
        pixels.value_range,
        _jpeg_step(image),
    )


def _jpeg_step(image: Image.Image) -> float:
    """Ask a JPEG for what it has rounded; its first table is that of the luma."""
    if isinstance(image, JpegImagePlugin.JpegImageFile) and 0 in image.quantization:
        return table_step(image.quantization[0])
    return 0.0


def _tensors(pixels: Pixels) -> tuple[Tensor, Tensor | None]:
    """(1, 3, H, W) colors and (1, 1, H, W) alpha."""
    planes = torch.from_numpy(pixels.values.transpose(2, 0, 1).copy()).unsqueeze(0)
    color = planes[:, :-1] if pixels.has_alpha else planes  # (1, 1 or 3, H, W)
    alpha = planes[:, -1:].contiguous() if pixels.has_alpha else None
    return color.expand(-1, 3, -1, -1).contiguous(), alpha
