"""What a file holds, from its header alone: no pixels are decoded, and torch is not loaded."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from esc_cli.media.formats import PICTURE_EXTENSIONS, sniff
from esc_cli.media.header import upright_size
from esc_cli.media.pillow import Opened, opened, translated_errors


@dataclass(frozen=True)
class Probe:
    """What a picture's header says.

    Attributes:
        format: Its format's name, by its content.
        height: In pixels, once upright.
        width: In pixels, once upright.
        frames: Frames of an animation, or pages; 1 for a still.
        alpha: Whether it has transparency.
    """

    format: str
    height: int
    width: int
    frames: int
    alpha: bool


def probe(source: Path | bytes) -> Probe:
    """Read a picture's header.

    Args:
        source: A path, or a file's content.

    Raises:
        InputError: It is missing, a folder, empty, damaged, too large or no picture that this program reads.
    """
    with opened(source) as file, translated_errors(file.name):
        height, width = upright_size(file.image)
        return Probe(format_of(file), height, width, frames_of(file), has_alpha(file.image))


def is_picture(path: Path) -> bool:
    """Whether a file found in a folder is meant to be a picture.

    It is when it begins or is named like one, so that an empty `.png` counts as a picture, which then fails.
    Hidden files are not: among them are macOS's `._*.jpg`, which are no pictures, and half-written results.
    """
    if path.name.startswith("."):
        return False
    try:
        return path.is_file() and (path.suffix.lower() in PICTURE_EXTENSIONS or _begins_like_a_picture(path))
    except OSError:
        return False


def format_of(file: Opened) -> str:
    """The format's name; an MPO (several JPEGs in one file) is a JPEG to anybody else."""
    format = str(file.image.format)
    return "JPEG" if format == "MPO" else format


def frames_of(file: Opened) -> int:
    """Frames of an animation, pages of a document, pictures in an MPO; 1 for a still."""
    return int(getattr(file.image, "n_frames", 1))


def has_alpha(image: Image.Image) -> bool:
    """Whether a picture has an alpha channel, a transparent color or a transparent palette entry."""
    return image.has_transparency_data


def _begins_like_a_picture(path: Path) -> bool:
    with path.open("rb") as file:
        return sniff(file.read(16)) is not None
