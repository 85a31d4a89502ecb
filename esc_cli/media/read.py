"""Reading pictures: a file becomes upright 8-bit pixels and the metadata that belongs to them."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from esc_cli.errors import InputError
from esc_cli.media.header import TURNS, depth_bits, depth_bits_of_mode, orientation
from esc_cli.media.metadata import metadata_notes, read_metadata
from esc_cli.media.modes import to_eight_bits
from esc_cli.media.picture import Metadata, Picture, PictureFile
from esc_cli.media.pillow import Opened, opened, quiet_pillow, translated_errors
from esc_cli.media.png import pixels_are_intact
from esc_cli.media.probe import format_of, frames_of

_WHAT_A_FILE_HAS_SEVERAL_OF = {"TIFF": "pages", "JPEG": "pictures"}


def read_file(source: Path | bytes) -> PictureFile:
    """Read all that a picture file holds.

    Args:
        source: A path, or a file's content.

    Raises:
        InputError: It is missing, a folder, empty, damaged, too large or no picture that this program reads.
        OutOfMemoryError: Its pixels do not fit in memory.
    """
    return PictureFile((read_picture(source),))


def read_picture(source: Path | bytes) -> Picture:
    """Read a still picture, or the first frame of an animation.

    Args:
        source: A path, or a file's content.

    Raises:
        InputError: It is missing, a folder, empty, damaged, too large or no picture that this program reads.
        OutOfMemoryError: Its pixels do not fit in memory.
    """
    with opened(source) as file:
        with translated_errors(file.name):
            _check_pixels(file)
            narrow, metadata, notes = _decoded(file.image, depth_bits(file))
            notes = (*_frame_note(file), *notes)
        return _picture(narrow, metadata, format_of(file), notes)


def picture_from_image(image: Image.Image) -> Picture:
    """Take over a Pillow image of any mode, as if it came from a file.

    Args:
        image: Opened or made by the caller; it is decoded if it was not yet.

    Raises:
        InputError: It comes from a file which is damaged.
        OutOfMemoryError: Its pixels do not fit in memory.
    """
    with quiet_pillow(), translated_errors("the image"):
        narrow, metadata, notes = _decoded(image, depth_bits_of_mode(image.mode))
    return _picture(narrow, metadata, image.format or "PNG", notes)


def _decoded(image: Image.Image, depth_bits: int) -> tuple[Image.Image, Metadata, tuple[str, ...]]:
    """Upright pixels in mode L, LA, RGB or RGBA; metadata; and what was changed on the way."""
    turn = TURNS.get(orientation(image))
    image.load()
    narrow, notes = to_eight_bits(image, depth_bits)
    metadata = read_metadata(image, _is_gray(narrow))
    upright = narrow if turn is None else narrow.transpose(turn)
    return upright, metadata, (*notes, *metadata_notes(image, metadata))


def _picture(narrow: Image.Image, metadata: Metadata, format: str, notes: tuple[str, ...]) -> Picture:
    color, alpha = _tensors(narrow)
    return Picture(color, alpha, _is_gray(narrow), metadata, format, notes)


def _is_gray(narrow: Image.Image) -> bool:
    return narrow.mode in ("L", "LA")


def _check_pixels(file: Opened) -> None:
    stream = file.image.fp
    if file.image.format == "PNG" and stream is not None and not pixels_are_intact(stream):
        raise InputError(f"{file.name} is damaged: a checksum in it is wrong")


def _frame_note(file: Opened) -> tuple[str, ...]:
    frames = frames_of(file)
    if frames == 1:
        return ()
    what = _WHAT_A_FILE_HAS_SEVERAL_OF.get(format_of(file), "frames")
    return (f"only the first of {frames} {what} was read",)


def _tensors(image: Image.Image) -> tuple[Tensor, Tensor | None]:
    """(1, 3, H, W) colors and (1, 1, H, W) alpha of a picture in mode L, LA, RGB or RGBA."""
    pixels = np.atleast_3d(np.asarray(image))  # (H, W, C)
    planes = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).unsqueeze(0)  # (1, C, H, W)
    has_alpha = image.mode in ("LA", "RGBA")
    color = planes[:, :-1] if has_alpha else planes
    return color.expand(-1, 3, -1, -1).contiguous(), planes[:, -1:].contiguous() if has_alpha else None
