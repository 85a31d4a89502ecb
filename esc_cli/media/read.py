"""Read a picture file into upright pixels at full bit depth, and the metadata that belongs to them."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from esc_cli.errors import DamageError, InputError
from esc_cli.media.damage import damage_note, keeping_damaged, or_refuse
from esc_cli.media.formats.registry import DEFAULT_FORMAT, format_of
from esc_cli.media.frames import could_go_to, frames, timing_of
from esc_cli.media.libtiff import notes_on_damage
from esc_cli.media.light import to_screen
from esc_cli.media.metadata.fitting import metadata_notes, read_metadata
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.opening import opened
from esc_cli.media.picture import Picture, PictureFile
from esc_cli.media.pillow import (
    LARGEST_INPUT_PX,
    PILLOW_ERRORS,
    WIDE_MODES,
    Opened,
    check_pixels,
    quiet_pillow,
    translated_errors,
)
from esc_cli.media.pixels.bits import FLOAT_BITS, reduction_note
from esc_cli.media.pixels.depth import Array, Pixels, with_depth
from esc_cli.media.pixels.modes import pixels_of
from esc_cli.media.pixels.orientation import turned
from esc_cli.media.probe import frames_of, orientation, several_of, unread


def read_file(
    source: Path | bytes, largest_px: int = LARGEST_INPUT_PX, *, keep_damaged: bool = False
) -> PictureFile:
    """Read everything that a picture file holds, at full bit depth.

    Only the first picture of an MPO is read. Equal frames become one object, and equal pages share their
    pixels.

    Args:
        source: A path, or the content of a file.
        largest_px: Maximum number of pixels of all frames or pages together.
        keep_damaged: Whether to return what can be read of a damaged picture, with a note.

    Raises:
        InputError: The file is missing, empty, damaged, too large, a folder, or not a picture that this
            program reads.
        OutOfMemoryError: The pixels do not fit in memory.
    """
    try:
        with _readable(source, largest_px) as file:
            return _everything(file, source)
    except DamageError as error:
        return or_refuse(error, partial(_what_is_left, source, largest_px), keep=keep_damaged)


def _what_is_left(source: Path | bytes, largest_px: int) -> PictureFile:
    """Return what can be read of a damaged picture; the first note says how much is missing."""
    with keeping_damaged(), opened(source, largest_px) as file, translated_errors(file.name):
        left = _everything(file, source)
    share = None
    if len(left.pictures) == 1:
        with opened(source, largest_px) as file, translated_errors(file.name):
            content = source if isinstance(source, bytes) else source.read_bytes()
            share = file.format.missing_share(file, content)
    first = replace(left.first, notes=(damage_note(file.name, share), *left.first.notes))
    return replace(left, pictures=(first, *left.pictures[1:]))


def _everything(file: Opened, source: Path | bytes) -> PictureFile:
    match several_of(file):
        case "pages":
            return PictureFile(tuple(_shared(_pages(file, source), own_metadata=True)))
        case "frames":
            return PictureFile(tuple(_shared(_frames(file), own_metadata=False)), timing_of(file))
        case _:
            first = _still(file, source)
            return PictureFile((replace(first, notes=(*unread(file), *first.notes)),))


def read_picture(source: Path | bytes) -> Picture:
    """Read a still picture, or the first frame or page, reduced to 8 bits.

    Args:
        source: A path, or the content of a file.

    Raises:
        InputError: The file is missing, empty, damaged, too large, a folder, or not a picture that this
            program reads.
        OutOfMemoryError: The pixels do not fit in memory.
    """
    with _readable(source, LARGEST_INPUT_PX) as file:
        picture = _still(file, source)
        notes = (*unread(file), *picture.notes)
    if picture.depth_bits > 8:
        notes = (*notes, reduction_note(picture.depth_bits, 8))
    return replace(with_depth(to_screen(picture), 8), notes=notes)


def read_small(source: Path, side_px: int) -> Picture:
    """Read the first picture of a file for a thumbnail, as far as it can be read, with 8 bits.

    Args:
        source: A path.
        side_px: Largest side of the thumbnail. A JPEG is decoded at the smallest size that is enough for it.

    Raises:
        InputError: The file is missing, empty, too large, a folder, or not a picture that this program reads.
        OutOfMemoryError: The pixels do not fit in memory.
    """
    with keeping_damaged(), opened(source) as file, translated_errors(file.name):
        file.image.draft(None, (side_px, side_px))
        return with_depth(to_screen(_still(file, source)), 8)


def picture_from_image(image: Image.Image, *, keep_damaged: bool = False) -> Picture:
    """Convert a Pillow image of any mode to a picture, with full bit depth, as if it came from a file.

    Args:
        image: Image that the caller has opened or made. It is decoded if necessary. If it is an animation,
            the current frame is used.
        keep_damaged: Whether to use what can be read if the image comes from a damaged file.

    Raises:
        InputError: The image has no pixels, or it comes from a damaged file.
        OutOfMemoryError: The pixels do not fit in memory.
    """
    if 0 in image.size:
        raise InputError("the image has no pixels")
    with quiet_pillow(), translated_errors("the image"):
        turn = orientation(image)
        notes = _load(image, keep_damaged=keep_damaged)
        pixels = pixels_of(image, 16 if image.mode in WIDE_MODES else 8)
        known = format_of(image)
        format_name = known.name if known is not None else str(image.format or DEFAULT_FORMAT.name)
        notes = (*notes, *pixels.notes)
        return _picture(replace(pixels, values=turned(pixels.values, turn), notes=notes), image, format_name)


def picture_from_array(array: Array) -> Picture:
    """Convert an array to a picture. The result does not share its memory.

    Args:
        array: Pixels of shape (H, W) for gray, or (H, W, C) for gray, gray and alpha, RGB, or RGB and alpha:
            uint8, uint16, or floats in [0, 1].

    Raises:
        InputError: The array has another shape or type.
    """
    plain = np.asarray(array)  # subclasses, such as a matrix, may behave differently
    values = plain[..., None] if plain.ndim == 2 else plain
    if values.ndim != 3 or 0 in values.shape or values.shape[2] > 4:
        raise InputError(f"an array must have the shape (H, W) or (H, W, 1 to 4), not {array.shape}")
    values = values.astype(np.float32 if array.dtype.kind == "f" else array.dtype.newbyteorder("="))
    if values.dtype not in (np.uint8, np.uint16, np.float32):
        raise InputError(f"an array must hold uint8, uint16 or floats in [0, 1], not {array.dtype}")
    depth_bits = FLOAT_BITS if values.dtype == np.float32 else 8 * values.itemsize
    pixels = Pixels(values, depth_bits)
    color, alpha = _tensors(pixels)
    return Picture(color, alpha, pixels.gray, Metadata(), DEFAULT_FORMAT.name, depth_bits=depth_bits)


def _load(image: Image.Image, *, keep_damaged: bool) -> tuple[str, ...]:
    """Decode an image, and return a note if it is damaged."""
    try:
        image.load()
    except PILLOW_ERRORS:
        if not keep_damaged:
            raise
    else:
        return ()
    with keeping_damaged():
        image.load()
    return (damage_note("the image", None),)


@contextmanager
def _readable(source: Path | bytes, largest_px: int) -> Iterator[Opened]:
    with opened(source, largest_px) as file, translated_errors(file.name):
        file.format.check(file)
        yield file


# Stills, pages and frames


def _still(file: Opened, source: Path | bytes, page: int = 0) -> Picture:
    """Read the picture, or the page of a TIFF at which the file stands."""
    deep = file.format.is_too_deep_for_pillow(file)
    pixels = file.format.decode_deep(file, source, page) if deep else _pillow_pixels(file)
    return _picture(pixels, file.image, file.format.name, file.header)


def _pages(file: Opened, source: Path | bytes) -> Iterator[Picture]:
    total_px = 0
    for page in range(frames_of(file)):
        if not could_go_to(file, page):
            return
        total_px += file.image.height * file.image.width
        check_pixels(total_px, file.name, file.largest_px)
        yield _still(file, source, page)


def _frames(file: Opened) -> Iterator[Picture]:
    """Yield the frames of an animation, in 8 bits, since Pillow composes them in 8 bits."""
    turn, first = orientation(file.image), None
    for image in frames(file):
        pixels = pixels_of(image, file.format.depth_bits(file) if first is None else 8)
        pixels = replace(pixels, values=turned(pixels.values, turn))
        if first is None:
            first = _picture(pixels, file.image, file.format.name, file.header)
            yield first
        else:
            color, alpha = _tensors(pixels)
            yield Picture(color, alpha, pixels.gray, _of_every_page(first.metadata), first.format)


def _of_every_page(metadata: Metadata) -> Metadata:
    return Metadata(icc_profile=metadata.icc_profile, dpi=metadata.dpi, geo=metadata.geo)


def _shared(pictures: Iterable[Picture], *, own_metadata: bool) -> Iterator[Picture]:
    """Yield the pictures; those that look the same share their pixels, so that they are upscaled once.

    Args:
        pictures: The frames or pages of a file.
        own_metadata: Whether each picture keeps its own metadata. If not, equal pictures become one object.
    """
    known: dict[tuple[object, ...], Picture] = {}
    for picture in pictures:
        digest = hashlib.sha256(picture.color.numpy().data)
        if picture.alpha is not None:
            digest.update(picture.alpha.numpy().data)
        looks = (digest.digest(), picture.color.shape, picture.value_range, _of_every_page(picture.metadata))
        same = known.setdefault(looks, picture)
        yield replace(same, metadata=picture.metadata) if own_metadata and same is not picture else same


# Pixels


def _pillow_pixels(file: Opened) -> Pixels:
    turn = orientation(file.image)
    with notes_on_damage() as notes:
        file.image.load()
    pixels = pixels_of(file.image, file.format.depth_bits(file))
    return replace(pixels, values=turned(pixels.values, turn), notes=(*pixels.notes, *notes))


def _picture(pixels: Pixels, image: Image.Image, format_name: str, header: bytes = b"") -> Picture:
    metadata = read_metadata(image, pixels.gray, header)
    notes = (*pixels.notes, *metadata_notes(image, metadata))
    color, alpha = _tensors(pixels)
    known = format_of(image)
    return Picture(
        color,
        alpha,
        pixels.gray,
        metadata,
        format_name,
        notes,
        pixels.depth_bits,
        pixels.value_range,
        jpeg_step=0.0 if known is None else known.jpeg_step(image),
        no_data=pixels.no_data,
    )


def _tensors(pixels: Pixels) -> tuple[Tensor, Tensor | None]:
    """Return the colors, of shape (1, 3, H, W), and the alpha, of shape (1, 1, H, W)."""
    planes = torch.from_numpy(pixels.values.transpose(2, 0, 1).copy()).unsqueeze(0)
    color = planes[:, :-1] if pixels.has_alpha else planes  # (1, 1 or 3, H, W)
    alpha = planes[:, -1:].contiguous() if pixels.has_alpha else None
    return color.expand(-1, 3, -1, -1).contiguous(), alpha
