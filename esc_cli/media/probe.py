"""Read what a file holds from its header alone: no pixels are decoded, and torch is not loaded."""

import itertools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from PIL import Image, ImageFile

from esc_cli.errors import DamageError, InputError
from esc_cli.media.damage import keeping_damaged, keeps_damaged, or_refuse
from esc_cli.media.formats.base import Several
from esc_cli.media.formats.registry import PICTURE_EXTENSIONS, format_by_extension, format_of, sniff
from esc_cli.media.metadata.exif import has_fixed_note
from esc_cli.media.metadata.fitting import metadata_notes, metadata_of_header, part_sizes
from esc_cli.media.metadata.kinds import Held
from esc_cli.media.opening import opened
from esc_cli.media.pillow import (
    LARGEST_INPUT_PX,
    PILLOW_ERRORS,
    WIDE_MODES,
    Opened,
    check_pixels,
    exif_orientation,
    is_gray,
    translated_errors,
)
from esc_cli.media.pixels.bits import FLOAT_BITS, WIDE_INTEGERS_NOTE, depth_class, reduction_note
from esc_cli.media.pixels.orientation import TURNS_WHICH_SWAP_SIDES


def picture_depth_bits(opened: Opened) -> int:
    """Return the bits per channel of a picture made from a file: 8, 10, 12, 16, or 32 for floats."""
    if opened.format.is_floating(opened):
        return FLOAT_BITS
    if opened.format.converted_space(opened.image) is not None:
        return 8
    deep = opened.image.mode in WIDE_MODES or opened.format.is_too_deep_for_pillow(opened)
    return depth_class(opened.format.depth_bits(opened)) if deep else 8


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation that is still to be applied to an image, 1 to 8."""
    format = format_of(image)
    return exif_orientation(image) if format is None else format.orientation(image)


def upright_size(image: ImageFile.ImageFile) -> tuple[int, int]:
    """Return (height, width) in pixels, after the orientation is applied."""
    width, height = image.size
    if orientation(image) in TURNS_WHICH_SWAP_SIDES:
        return width, height
    return height, width


@dataclass(frozen=True, slots=True)
class Probe:
    """The information in a picture's header.

    One probe is kept for every file of a batch, so it contains no bytes objects.

    Attributes:
        format: Name of the format, detected from the content.
        height: Height in pixels, after the orientation is applied.
        width: Width in pixels, after the orientation is applied.
        frames: Number of frames of an animation, or of pages. 1 for a still, and where only the first picture
            is read.
        alpha: Whether the picture has transparency. All of it may still be opaque.
        depth_bits: See `Picture`.
        floating: Whether the file holds floats.
        several: Whether several pictures are frames or pages; None if only one is read.
        parts: The parts of metadata in the file, as far as its header tells.
        gray: Whether the picture is gray.
        notes: Sentences about what reading changes, as far as the header tells.
        shown_by_browsers: Whether all common browsers show the file.
        part_sizes: The sizes of these parts, in bytes; see ``part_sizes``.
        fixed_note: Whether EXIF has a maker note that is valid only at its place.
    """

    format: str
    height: int
    width: int
    frames: int
    alpha: bool
    depth_bits: int = 8
    floating: bool = False
    several: Several | None = None
    parts: frozenset[Held] = frozenset()
    gray: bool = False
    notes: tuple[str, ...] = ()
    shown_by_browsers: bool = False
    part_sizes: Mapping[Held, int] = field(default_factory=dict, hash=False)
    fixed_note: bool = False


def probe(source: Path | bytes, largest_px: int = LARGEST_INPUT_PX, *, keep_damaged: bool = False) -> Probe:
    """Read a picture's header.

    Args:
        source: A path, or the content of a file.
        largest_px: Maximum number of pixels of all frames or pages together.
        keep_damaged: Whether to leave out frames and pages that cannot be read.

    Raises:
        InputError: The file is missing, empty, damaged, too large, a folder, or not a picture that this
            program reads.
    """
    try:
        return _probe(source, largest_px)
    except DamageError as error:
        return or_refuse(error, partial(_probe_of_the_rest, source, largest_px), keep=keep_damaged)


def _probe_of_the_rest(source: Path | bytes, largest_px: int) -> Probe:
    with keeping_damaged():
        return _probe(source, largest_px)


def _probe(source: Path | bytes, largest_px: int) -> Probe:
    with opened(source, largest_px) as file, translated_errors(file.name):
        height, width = upright_size(file.image)
        several = several_of(file)
        frames = frames_of(file) if several else 1
        if several == "frames":  # frames have one size, while pages may be smaller than the first one
            check_pixels(height * width * frames, file.name, largest_px)
        metadata = metadata_of_header(file.image, file.header)
        sizes = part_sizes(metadata)
        return Probe(
            format=file.format.name,
            height=height,
            width=width,
            frames=frames,
            alpha=has_alpha(file.image),
            depth_bits=picture_depth_bits(file),
            floating=file.format.is_floating(file),
            several=several,
            parts=frozenset(sizes),
            gray=is_gray(file.image),
            shown_by_browsers=file.format.is_shown_by_browsers(file.image),
            notes=(*_changed_by_reading(file), *metadata_notes(file.image, metadata)),
            part_sizes=sizes,
            fixed_note=metadata.exif is not None and has_fixed_note(metadata.exif),
        )


def is_picture(path: Path) -> bool:
    """Return whether a file found in a folder is meant to be a picture.

    It is if its content begins like a picture or its name has a picture's extension. So an empty `.png`
    counts as a picture, and reading it fails. Camera raw files count only if they can be developed. Hidden
    files do not count: among them are macOS's `._*.jpg`, which are not pictures, and unfinished results.
    """
    if path.name.startswith("."):
        return False
    format = format_by_extension(path) if path.suffix else None
    if format is not None and not format.counts_in_folders():
        return False
    try:
        if path.suffix.lower() in PICTURE_EXTENSIONS:
            return os.path.lexists(path) and not path.is_dir()  # a broken link is reported when it fails
        return path.is_file() and _begins_like_a_picture(path)
    except OSError:
        return False


def frames_of(file: Opened) -> int:
    """Return how many pictures a file holds, 1 for a still.

    They are the frames of an animation, the pages of a document, or the pictures in an MPO or HEIC.
    """
    return _frames_of(file.image) - file.format.first_frame(file.image)


def _frames_of(image: ImageFile.ImageFile) -> int:
    """Return Pillow's number of frames; if damaged pictures are kept, only of those that can be read."""
    if not (keeps_damaged() and hasattr(type(image), "n_frames")):
        return int(getattr(image, "n_frames", 1))
    for number in itertools.count(1):
        try:
            image.seek(number)
        except PILLOW_ERRORS:
            break
    image.seek(0)
    return number


def several_of(file: Opened) -> Several | None:
    """Return "frames" or "pages" if several pictures are read from a file, otherwise None.

    Only one picture is read from an MPO or HEIC.
    """
    return file.format.several if frames_of(file) > 1 else None


def first_only(file: Opened) -> tuple[str, ...]:
    """Return a note if a file has several pictures, for callers that read only the first one."""
    count = frames_of(file)
    if count == 1:
        return ()
    return (f"only the first of {count} {several_of(file) or 'pictures'} was read",)


def unread(file: Opened) -> tuple[str, ...]:
    """Return notes on what a file holds besides its first picture and that picture's metadata."""
    return (*first_only(file), *file.format.companions(file))


def _changed_by_reading(file: Opened) -> Iterator[str]:
    yield from file.format.oddities(file)
    yield from unread(file) if several_of(file) is None else file.format.companions(file)
    yield from _conversion(file)
    depth_bits = file.format.depth_bits(file)
    if picture_depth_bits(file) == 8 < depth_bits:
        yield reduction_note(depth_bits, 8)
    elif depth_bits > 16 and not file.format.is_floating(file):
        yield WIDE_INTEGERS_NOTE
    yield from file.format.reading_notes(file)


def _conversion(file: Opened) -> Iterator[str]:
    space = file.format.converted_space(file.image)
    if space is None:
        return
    from esc_cli.media.color.converted import conversion_note  # it loads littlecms

    note = conversion_note(space, file.image.info.get("icc_profile"))
    if note is not None:
        yield note


def has_alpha(image: Image.Image) -> bool:
    """Return whether a picture has an alpha channel, a transparent color or a transparent palette entry."""
    return image.has_transparency_data


def _begins_like_a_picture(path: Path) -> bool:
    with path.open("rb") as file:
        format = sniff(file.read(16))
    return format is not None and format.counts_in_folders()


def find_pictures(folder: Path) -> tuple[Path, ...]:
    """List the pictures in a folder and its subfolders, in a stable order.

    Raises:
        InputError: The folder does not exist, or there are no pictures in it.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {str(folder)!r}")
    files = (path for path in folder.rglob("*") if path.is_file() and is_picture(path))
    pictures = tuple(sorted(files, key=lambda path: path.relative_to(folder).as_posix()))
    if not pictures:
        raise InputError(f"there are no pictures in {str(folder)!r}")
    return pictures
