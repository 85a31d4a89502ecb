"""Several pictures in one file: the frames of animations with their timing, and pages."""

import io
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Any

from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile

from esc_cli.errors import InputError, OutOfMemoryError, OutputError
from esc_cli.media.apng import composed_frames, first_frame
from esc_cli.media.formats import PictureFormat
from esc_cli.media.gif import encode_gif, ends_within_a_frame
from esc_cli.media.picture import Motion
from esc_cli.media.pillow import (
    PILLOW_ERRORS,
    Opened,
    check_pixels,
    check_size,
    quiet_pillow,
    translated_errors,
)

_ANIMATED = ("PNG", "GIF", "WEBP", "AVIF")
_SEVERAL = (*_ANIMATED, "TIFF")

# Source: PNG (third edition), 11.3.6.2 (fcTL): numerator and denominator of a delay have 16 bits.
_APNG_LARGEST = 2**16 - 1

# Source: WebP RFC 9649, 2.7.1.1 (loop count): 16 bits.
_MOST_PLAYS = 2**16 - 1


def motion_of(file: Opened) -> Motion | None:
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
        if file.image.format not in _ANIMATED or len(_numbers(file.image)) < 2:
            return None
        durations_ms = tuple(_duration_ms(file.image) for _ in _visited(file))
        file.image.seek(0)
        return Motion(durations_ms, _plays(file.image))


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
        _check_end(file)
        if isinstance(file.image, PngImageFile) and len(_numbers(file.image)) > 1:
            yield from composed_frames(file.image, _visited(file))
            return
        for _ in _visited(file):
            file.image.load()
            yield file.image.copy()


def encode_frames(
    images: Sequence[Image.Image],
    motion: Motion | None,
    format: PictureFormat,
    options: Mapping[str, Any],
) -> bytes:
    """Encode an animation, or a still.

    Frames next to each other that are equal may become one, which is shown as long as all of them: PNG's and
    WebP's encoders do that.

    Args:
        images: In mode L, LA, RGB or RGBA, and of one size.
        motion: The timing of frames; None for a still.
        format: GIF, PNG, WEBP or AVIF.
        options: Pillow's options for pixels and metadata; for GIF only a comment.

    Raises:
        OutputError: The format cannot hold them, or they cannot be encoded.
        OutOfMemoryError: There is not enough memory to encode them.
    """
    try:
        with quiet_pillow():
            if format.name == "GIF":
                return encode_gif(_of_one_mode(images), motion, options.get("comment"))
            if motion is None:
                return _saved(images, format, options)
            return _animation(_of_one_mode(images), format, {**options, **_timing(motion, format)})
    except MemoryError as error:
        raise OutOfMemoryError(f"there is not enough memory to write {format.name}") from error
    except PILLOW_ERRORS as error:
        raise OutputError(f"the pictures cannot be written as {format.name} ({error})") from error


# Reading


def _check_end(file: Opened) -> None:
    """Refuse a GIF that is cut in the header of a frame: Pillow takes what comes before for all of it."""
    stream = file.image.fp
    if isinstance(file.image, GifImageFile) and stream is not None and ends_within_a_frame(stream):
        raise InputError(f"{file.name} is damaged or incomplete: it ends within a frame")


def _numbers(image: ImageFile) -> range:
    """Pillow's numbers of the frames that are shown, or of the pages; 0 for the one of another format."""
    if image.format not in _SEVERAL:
        return range(1)
    first = first_frame(image) if isinstance(image, PngImageFile) else 0
    return range(first, int(getattr(image, "n_frames", 1)))


def _visited(file: Opened) -> Iterator[int]:
    """Go to one frame or page after the other; all of them together are held against the limit on pixels."""
    check_pixels(_total_px(file.image), file.name, file.largest_px)
    for number in _numbers(file.image):
        _go_to(file.image, number)
        check_size(file)  # a frame of a GIF may make it larger
        yield number


def _total_px(image: ImageFile) -> int:
    """Pixels of all frames or pages, without decoding them."""
    numbers = _numbers(image)
    if image.format != "TIFF":
        return len(numbers) * image.height * image.width
    total_px = 0
    for number in numbers:
        _go_to(image, number)
        total_px += image.height * image.width
    return total_px


def _go_to(image: ImageFile, number: int) -> None:
    if isinstance(image, GifImageFile):
        # Pillow goes on with the last method where a frame has none, which means to leave it as it is.
        image.disposal_method = 0
    if image.format in _SEVERAL:  # the main picture of a HEIC need not be the first
        image.seek(number)


def _duration_ms(image: ImageFile) -> float:
    if image.format in ("WEBP", "AVIF"):
        image.load()
    return float(image.info.get("duration", 0))


def _plays(image: ImageFile) -> int:
    """How often an animation is played, 0 for ever.

    Source: PNG (third edition), 11.3.6.1 (num_plays); WebP RFC 9649, 2.7.1.1 (loop count). GIF has no word
    on it: the Netscape block counts repetitions after the first time, and without one there are none, as all
    browsers have it.
    """
    loop = image.info.get("loop")
    if image.format == "GIF":
        return 1 if loop is None else loop and int(loop) + 1
    return int(loop or 0)


# Writing


def _saved(images: Sequence[Image.Image], format: PictureFormat, options: Mapping[str, Any]) -> bytes:
    content = io.BytesIO()
    first, *others = (_bare(image) for image in images)
    several = {"save_all": True, "append_images": others} if others else {}
    first.save(content, format.name, **several, **options)
    return content.getvalue()


def _animation(images: Sequence[Image.Image], format: PictureFormat, options: Mapping[str, Any]) -> bytes:
    content = _saved(images, format, options)
    if format.name == "WEBP" and images[0].mode == "RGBA":
        return _with_alpha_flag(content)
    return content


def _with_alpha_flag(webp: bytes) -> bytes:
    """Say that a WebP has transparency: libwebp does not where that is only around its opaque frames.

    Source: RFC 9649, 2.7.1 (VP8X; the flags follow three fields of four bytes, and the chunk's two).
    """
    flags = 20
    if webp[12:16] != b"VP8X":
        return webp
    return webp[:flags] + bytes([webp[flags] | 0x10]) + webp[flags + 1 :]


def _bare(image: Image.Image) -> Image.Image:
    """The pixels alone: Pillow would write what the source said of disposal, a default image and more."""
    if not image.info:
        return image
    bare = image.copy()
    bare.info = {}
    return bare


def _of_one_mode(images: Sequence[Image.Image]) -> list[Image.Image]:
    """Frames as gray, color, and with alpha as all of them together need it."""
    modes = {image.mode for image in images}
    color = "L" if modes <= {"L", "LA"} else "RGB"
    mode = color + ("A" if modes & {"LA", "RGBA"} else "")
    return [image if image.mode == mode else image.convert(mode) for image in images]


def _timing(motion: Motion, format: PictureFormat) -> dict[str, Any]:
    """Pillow's options for durations and repetitions."""
    if format.name == "PNG":
        durations = [_apng_duration_ms(duration) for duration in motion.durations_ms]
        return {"duration": durations, "loop": motion.loop}
    ends = [round(end) for end in accumulate(motion.durations_ms)]
    return {
        "duration": [end - start for start, end in pairwise((0, *ends))],
        "loop": min(motion.loop, _MOST_PLAYS),
    }


def _apng_duration_ms(duration_ms: float) -> float:
    """The nearest duration whose numerator Pillow can write, too: it looks at the denominator only."""
    seconds = min(duration_ms / 1000, _APNG_LARGEST)
    largest = int(_APNG_LARGEST / max(seconds, 1))
    return float(Fraction(seconds).limit_denominator(largest) * 1000)
