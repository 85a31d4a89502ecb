"""Encoding code that several formats share: pixel layouts for other libraries, and encoding with Pillow."""

import io
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from esc_cli.errors import OutOfMemoryError, OutputError
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.picture import AnimationTiming, Picture
from esc_cli.media.pillow import PILLOW_ERRORS, quiet_pillow
from esc_cli.media.pixels.bits import FLOAT_BITS
from esc_cli.media.pixels.depth import Array, with_depth

if TYPE_CHECKING:
    from esc_cli.media.formats.base import PictureFormat

_HALF = 0.5
_MOST_PLAYS = 2**16 - 1
"""The loop count has 16 bits. Source: WebP RFC 9649, 2.7.1.1."""


def pillow_image(picture: Picture) -> Image.Image:
    """Return the pixels as a Pillow image, without metadata.

    Returns:
        An image in mode L, LA, RGB or RGBA, reduced to 8 bits. Gray without alpha and with more than 8 bits
        has mode I;16 or F.
    """
    if picture.gray and picture.depth_bits > 8 and (picture.alpha is None or picture.no_data is not None):
        return Image.fromarray(values_of(picture)[..., 0])
    narrow = with_depth(picture, 8)
    planes = [*narrow.color[0], *(() if narrow.alpha is None else narrow.alpha[0])]  # each (H, W)
    bands = [Image.fromarray(plane.numpy()) for plane in planes]
    image = Image.merge("RGB" if narrow.alpha is None else "RGBA", bands)
    if not picture.gray:
        return image
    return image.convert("L" if narrow.alpha is None else "LA")


def images_of(pictures: Sequence[Picture]) -> list[Image.Image]:
    """Return pictures as Pillow images in one common mode that suits all of them."""
    images = [pillow_image(picture) for picture in pictures]
    modes = {image.mode for image in images}
    color = "L" if modes <= {"L", "LA"} else "RGB"
    mode = color + ("A" if modes & {"LA", "RGBA"} else "")
    return [image if image.mode == mode else image.convert(mode) for image in images]


def values_of(picture: Picture) -> Array:
    """Return the pixels, (H, W, C), as stored in a file: one channel for gray, floats in their own range.

    Where less than half of a pixel has data, it has the value for none.
    """
    planes = list(picture.color[0, :1] if picture.gray else picture.color[0])
    values = [plane.numpy() for plane in planes]
    if picture.depth_bits == FLOAT_BITS:
        black, white = picture.value_range
        values = [plane * np.float32(white - black) + np.float32(black) for plane in values]
    if picture.alpha is not None and picture.no_data is not None:
        has_data = picture.alpha[0, 0].numpy() >= _HALF
        values = [np.where(has_data, plane, np.float32(picture.no_data)) for plane in values]
    elif picture.alpha is not None:
        values.append(picture.alpha[0, 0].numpy())
    return np.stack(values, axis=2)


def metadata_blocks(metadata: Metadata) -> dict[str, bytes]:
    """Return metadata as formats of the HEIF family take it: any of "icc_profile", "exif" and "xmp"."""
    held = {"icc_profile": metadata.icc_profile, "exif": metadata.exif, "xmp": metadata.xmp}
    return {name: block for name, block in held.items() if block is not None}


def whole_milliseconds(timing: AnimationTiming) -> dict[str, Any]:
    """Return Pillow's timing options in whole milliseconds; no frame is more than half a millisecond late."""
    ends = [round(end) for end in accumulate(timing.durations_ms)]
    return {
        "duration": [end - start for start, end in pairwise((0, *ends))],
        "loop": min(timing.loop, _MOST_PLAYS),
    }


def encode_with_pillow(
    pictures: Sequence[Picture],
    timing: AnimationTiming | None,
    format: "PictureFormat",
    options: Mapping[str, Any],
) -> bytes:
    """Encode a still or an animation in 8 bits.

    The encoders of PNG and WebP may merge equal adjacent frames into one, which is shown as long as all of
    them.

    Args:
        pictures: One picture, or frames of one size.
        timing: The timing of frames; None for a still.
        format: The format to write.
        options: Pillow's options for pixels and metadata.

    Raises:
        OutputError: The format does not support the pictures, or they cannot be encoded.
        OutOfMemoryError: There is not enough memory to encode the pictures.
    """
    try:
        first, *others = images_of(pictures)
        frame_times = format.timing_options(timing) if timing is not None else {}
        several = {"save_all": True, "append_images": others} if others else {}
        content = io.BytesIO()
        with quiet_pillow():
            format.load_plugin()
            first.save(content, format.pillow_name, **several, **options, **frame_times)
    except MemoryError as error:
        raise OutOfMemoryError(f"there is not enough memory to write {format.name}") from error
    except PILLOW_ERRORS as error:
        raise OutputError(
            f"the picture cannot be written as {format.name}", hint="choose another format with -f"
        ) from error
    return content.getvalue()
