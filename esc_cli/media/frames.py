"""Several pictures in one file: the frames of animations with their timing, and pages."""

from collections.abc import Iterator

from PIL import Image

from esc_cli.media.picture import AnimationTiming
from esc_cli.media.pillow import Opened, check_pixels, check_size, translated_errors


def timing_of(file: Opened) -> AnimationTiming | None:
    """Read the timing of an animation, which for WebP and AVIF means to decode it.

    Returns:
        The duration of each frame as the file has it, where 0 is "as fast as possible", and how often it is
        played. None for a still, for pages, and for the pictures of an MPO or HEIC. Pillow does not tell how
        often an AVIF is played: it is taken as for ever.

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
    """Decode a file's frames or pages, one after the other; the only or first picture of most formats.

    Frames are complete: what is shown at their time. Of an MPO or HEIC, the main picture is the only one. The
    default image of an animated PNG that is no frame of it is left out, as it is when it is shown.

    Yields:
        Images of their own, in any mode of Pillow's, with the file's metadata in `info`.

    Raises:
        InputError: The file is damaged or incomplete, or all frames together have too many pixels.
        OutOfMemoryError: A frame does not fit in memory.
    """
    with translated_errors(file.name):
        yield from file.format.frames(file.image, _visited(file))


def _numbers(file: Opened) -> range:
    """Pillow's numbers of the frames that are shown, or of the pages; 0 for the one of another format."""
    if file.format.several is None:
        return range(1)
    return range(file.format.first_frame(file.image), int(getattr(file.image, "n_frames", 1)))


def _visited(file: Opened) -> Iterator[int]:
    """Go to one frame or page after the other; all of them together are held against the limit on pixels."""
    check_pixels(_total_px(file), file.name, file.largest_px)
    for number in _numbers(file):
        file.format.go_to(file.image, number)
        check_size(file)  # a frame of a GIF may make it larger
        yield number


def _total_px(file: Opened) -> int:
    """Pixels of all frames or pages, without decoding them."""
    numbers, image = _numbers(file), file.image
    if file.format.several != "pages":
        return len(numbers) * image.height * image.width
    total_px = 0
    for number in numbers:
        file.format.go_to(image, number)
        total_px += image.height * image.width
    return total_px
