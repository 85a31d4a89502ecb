"""Read the frames of animations with their timing, and the pages of documents."""

from collections.abc import Iterator

from PIL import Image

from esc_cli.media.damage import keeps_damaged
from esc_cli.media.picture import AnimationTiming
from esc_cli.media.pillow import PILLOW_ERRORS, Opened, check_pixels, check_size, translated_errors


def timing_of(file: Opened) -> AnimationTiming | None:
    """Read the timing of an animation. For WebP and AVIF, this decodes the frames.

    Returns:
        The duration of each frame as the file states it, where 0 means "as fast as possible", and the number
        of times that the animation is played. None for a still, for pages, and for the pictures of an MPO or
        HEIC. Pillow does not report how often an AVIF is played, so it is assumed to be played forever.

    Raises:
        InputError: The file is damaged or incomplete.
        OutOfMemoryError: A frame does not fit in memory.
    """
    with translated_errors(file.name):
        if file.format.several != "frames" or len(_numbers(file)) < 2:
            return None
        durations_ms = tuple(file.format.duration_ms(file.image) for _ in _visited(file))
        file.image.seek(0)
        return AnimationTiming(durations_ms, file.format.plays(file.image))


def frames(file: Opened) -> Iterator[Image.Image]:
    """Decode the frames or pages of a file, one after the other.

    Frames are complete canvases, as they are shown. A format that holds one picture yields that picture, and
    an MPO or HEIC yields only its main picture. If the default image of an animated PNG is not one of its
    frames, it is left out, as it is when the animation is shown.

    Yields:
        Independent images, in any of Pillow's modes, with the file's metadata in `info`.

    Raises:
        InputError: The file is damaged or incomplete, or all frames together have too many pixels.
        OutOfMemoryError: A frame does not fit in memory.
    """
    with translated_errors(file.name):
        yield from file.format.frames(file.image, _visited(file))


def _numbers(file: Opened) -> range:
    """Return Pillow's numbers of the frames that are shown, or of the pages; only 0 for other formats."""
    if file.format.several is None:
        return range(1)
    return range(file.format.first_frame(file.image), int(getattr(file.image, "n_frames", 1)))


def _visited(file: Opened) -> Iterator[int]:
    """Move to one frame or page after the other, and yield its number.

    The limit on pixels applies to all of them together.
    """
    check_pixels(_total_px(file), file.name, file.largest_px)
    for number in _numbers(file):
        if not could_go_to(file, number):
            return
        check_size(file)  # a page may be larger than the first one
        yield number


def could_go_to(file: Opened, number: int) -> bool:
    """Move to a frame or page. A damaged one ends the file if damaged pictures are kept.

    Returns:
        Whether the frame or page can be read. Errors of the first one, and of others if damaged pictures are
        refused, are raised.
    """
    try:
        file.format.go_to(file.image, number)
    except PILLOW_ERRORS:
        if number == _numbers(file).start or not keeps_damaged():
            raise
        return False
    return True


def _total_px(file: Opened) -> int:
    """Return the number of pixels of all frames or pages, without decoding them."""
    numbers, image = _numbers(file), file.image
    if file.format.several != "pages":
        return len(numbers) * image.height * image.width
    total_px = 0
    for number in numbers:
        if not could_go_to(file, number):
            break
        total_px += image.height * image.width
    return total_px
