"""The frames of an animated PNG, laid over each other as the format says.

Pillow decodes the patches rightly, but lays them wrongly: where a half transparent one goes over others, it
mixes the two opacities instead of adding them up, and it begins on the default image instead of on nothing.
"""

from collections.abc import Iterable, Iterator

from PIL import Image
from PIL.PngImagePlugin import Blend, Disposal, PngImageFile

_GRAY_MODES = ("1", "L", "LA", "I;16")


def first_frame(image: PngImageFile) -> int:
    """Pillow's number of the first frame: a default image comes before it, if that is not a frame itself.

    It is for programs which do not know animations, and is not shown by others. Source: PNG 3, 4.9.
    """
    return 1 if image.info.get("default_image") else 0


def composed_frames(image: PngImageFile, visited: Iterable[int]) -> Iterator[Image.Image]:
    """Yield what is shown at each frame, in mode L, LA, RGB or RGBA, without alpha where it is opaque.

    Args:
        image: Opened by Pillow.
        visited: Moves it to one frame after the other, from `first_frame` on.

    Raises:
        OSError: The file is damaged or incomplete; and others of `PILLOW_ERRORS`.

    Source:
        PNG (third edition), 11.3.6.2: dispose_op, blend_op.
    """
    canvas = Image.new("RGBA", image.size)
    for _ in visited:
        patch, corner = _patch(image)
        before = canvas.copy()
        if image.info.get("blend") == Blend.OP_OVER:
            canvas.alpha_composite(patch, corner)
        else:
            canvas.paste(patch, corner)
        yield _slim(canvas, image)
        canvas = _disposed(canvas, before, image, patch.size, corner)


def _patch(image: PngImageFile) -> tuple[Image.Image, tuple[int, int]]:
    """The pixels which are stored for the frame, in mode RGBA, and where their upper left corner goes."""
    image.blend_op = Blend.OP_SOURCE  # so that Pillow leaves them as they are
    image.load()
    left, top, right, bottom = image.info["bbox"]
    return image.crop((left, top, right, bottom)).convert("RGBA"), (left, top)


def _disposed(
    canvas: Image.Image,
    before: Image.Image,
    image: PngImageFile,
    size: tuple[int, int],
    corner: tuple[int, int],
) -> Image.Image:
    """What the next frame is laid on; there is nothing to go back to after the first one."""
    disposal = image.info.get("disposal")
    if disposal == Disposal.OP_PREVIOUS and image.tell() > first_frame(image):
        return before
    if disposal in (Disposal.OP_BACKGROUND, Disposal.OP_PREVIOUS):
        canvas.paste(Image.new("RGBA", size), corner)
    return canvas


def _slim(canvas: Image.Image, image: PngImageFile) -> Image.Image:
    """A copy of the canvas in the mode that its content needs, with the file's metadata."""
    opaque = canvas.getchannel("A").getextrema() == (255, 255)
    gray = image.mode in _GRAY_MODES
    copy = canvas.convert(("L" if gray else "RGB") + ("" if opaque else "A"))
    copy.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return copy
