"""GIF: written through libvips, whose palettes are better than Pillow's; and whether one is complete.

Measured on photos, 512 x 341 and 640 x 427 pixels: 42.0 and 40.5 dB in 0.16 and 0.33 s. Pillow's median cut
gives 39.0 and 36.1 in 0.05 and 0.08 s; refined by k-means 41.5 and 38.6 in 0.64 and 0.87 s. Blurred, as eyes
do, 49.4 and 48.7 dB against 45.6 and 41.2, and 48.9 and 45.8. Up to 255 colors stay as they are.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import IO, TYPE_CHECKING, Any

from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile

from esc_cli.errors import InputError, OutputError
from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.pillow import Opened

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from esc_cli.media.picture import AnimationTiming, Metadata, Picture
    from esc_cli.media.probe import Probe

# The next efforts take up to twice the time for 0.05 dB. Dithering, which is on, costs 0.1 dB at most.
_EFFORT = 7

# Source: GIF89a, 23 (graphic control extension): a delay has 16 bits, in hundredths of a second. The number
# of repetitions (Netscape's application extension) has 16 bits, too; an animation is played once more.
_TICK_MS = 10
_LONGEST_TICKS = 2**16 - 1
_MOST_PLAYS = 2**16

_LOOP, _COMMENT = b"\x21\xff\x0bNETSCAPE2.0", b"\x21\xfe"
_GRAPHIC_CONTROL = b"\xf9"


class Gif(PictureFormat):
    """GIF. Source: GIF89a: 17 (signature), 18 (sides have 16 bits)."""

    name = "GIF"
    extensions = (".gif",)
    signature = rb"GIF8[79]a"
    largest_side_px = 65_535
    holds = frozenset(("comment",))
    several = "frames"
    bytes_a_value = 0.16

    def stores_gray_as_rgb(self, *, alpha: bool, depth_bits: int) -> bool:
        """A palette has colors only."""
        return True

    def limitations(self, probe: "Probe") -> Iterator[str]:
        """Tell of half transparent pixels, and of palettes."""
        if probe.alpha and probe.format != self.name:
            yield "what is half transparent becomes opaque or vanishes: GIF holds nothing between"
        yield "the colors of each picture become 256 at most: GIF holds no more"

    def check(self, opened: Opened) -> None:
        """Refuse one that is cut in the header of a frame: Pillow takes what comes before for all of it."""
        stream = opened.image.fp
        if stream is not None and ends_within_a_frame(stream):
            raise InputError(f"{opened.name} is damaged or incomplete: it ends within a frame")

    def go_to(self, image: ImageFile, number: int) -> None:
        """Reset the disposal method: Pillow keeps the last one where a frame has none, which means "keep"."""
        if isinstance(image, GifImageFile):
            image.disposal_method = 0
        super().go_to(image, number)

    def plays(self, image: ImageFile) -> int:
        """Add the first time to the repetitions.

        GIF89a does not define them: the Netscape block counts repetitions after the first time. Without one,
        browsers play an animation once.
        """
        loop = image.info.get("loop")
        return 1 if loop is None else loop and int(loop) + 1

    def encode_pixels(
        self,
        pictures: "Sequence[Picture]",
        timing: "AnimationTiming | None",
        metadata: "Metadata",
        quality: int | None,
    ) -> bytes:
        """Encode with libvips."""
        from esc_cli.media.formats.encoding import images_of

        return encode_gif(images_of(pictures), timing, metadata.comment)


def encode_gif(
    images: Sequence[Image.Image], timing: "AnimationTiming | None", comment: bytes | None = None
) -> bytes:
    """Encode a still or an animation; each frame has a palette of its own, and equal ones stay frames.

    A pixel in a GIF is opaque or not there: it is opaque from an alpha of 128 on.

    Args:
        images: Frames of one size, all in the mode L, LA, RGB or RGBA.
        timing: Their timing; None for a still.
        comment: If there is one.

    Raises:
        OutputError: A frame is shown for longer than a GIF can say, or it cannot be encoded.
    """
    import numpy as np

    from esc_cli.media.vips import libvips, translated

    vips = libvips()
    pixels = [np.ascontiguousarray(image) for image in images]  # libvips reads them when it encodes
    with translated(OutputError, "the picture cannot be written as GIF"):
        # A copy, since its properties are set, and libvips shares what was made from the same.
        whole = vips.Image.arrayjoin([_vips_image(frame) for frame in pixels], across=1).copy()
        if timing is not None:
            whole.set_type(vips.GValue.gint_type, "page-height", images[0].height)
            whole.set_type(vips.GValue.array_int_type, "delay", delays_ms(timing.durations_ms))
            whole.set_type(vips.GValue.gint_type, "loop", min(timing.loop, _MOST_PLAYS))
        content: bytes = whole.gifsave_buffer(effort=_EFFORT, keep_duplicate_frames=True)
    return content if comment is None else _with_comment(content, comment)


def _with_comment(gif: bytes, comment: bytes) -> bytes:
    """Put a comment before the first picture. Source: GIF89a, 18 (the table of colors), 24 and 15."""
    flags = gif[10]
    place = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    if gif.startswith(_LOOP, place):
        place += len(_LOOP) + 5  # which is to come first, with the number of times
    blocks = (comment[at : at + 255] for at in range(0, len(comment), 255))
    extension = _COMMENT + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"
    return gif[:place] + extension + gif[place:]


def delays_ms(durations_ms: Sequence[float]) -> list[int]:
    """Round durations to hundredths of a second, such that no frame comes more than half of one too late.

    Raises:
        OutputError: One is longer than a GIF can say.
    """
    ends = [round(end / _TICK_MS) for end in accumulate(durations_ms)]
    ticks = [end - start for start, end in pairwise((0, *ends))]
    if max(ticks) > _LONGEST_TICKS:
        longest_s = _LONGEST_TICKS * _TICK_MS // 1000
        raise OutputError(f"GIF cannot show a frame for longer than {longest_s} seconds")
    return [count * _TICK_MS for count in ticks]


def _vips_image(pixels: "npt.NDArray[np.uint8]") -> Any:
    """A libvips image over the memory of (H, W) or (H, W, C) bytes."""
    from esc_cli.media.vips import libvips

    height, width, channels = (*pixels.shape, 1)[:3]
    image = libvips().Image.new_from_memory(pixels.data, width, height, channels, "uchar")
    return image.copy(interpretation="b-w" if channels <= 2 else "srgb")


def ends_within_a_frame(file: IO[bytes]) -> bool:
    """Whether a GIF is cut off, unless that is between frames: some programs leave out the trailer.

    The file is left where it was read. What makes no sense in it is left to decoders.

    Source: GIF89a, 17 to 27, and appendix B (the grammar).
    """
    here = file.tell()
    try:
        file.seek(10)
        _skip_palette(file, file.read(3))
        announced = False  # a frame, by the extension with its delay
        while (mark := file.read(1)) in (b"!", b","):
            announced = _skip_block(file, mark)
        return announced and not mark
    except EOFError:
        return True
    finally:
        file.seek(here)


def _skip_block(file: IO[bytes], mark: bytes) -> bool:
    """Step over an extension or a frame; whether a frame has to follow."""
    if mark == b"!":
        label = _exactly(file, 1)
        _skip_data(file)
        return label == _GRAPHIC_CONTROL
    _skip_palette(file, _exactly(file, 9)[8:])
    _exactly(file, 1)  # the code size
    _skip_data(file)
    return False


def _skip_palette(file: IO[bytes], descriptor: bytes) -> None:
    """Step over the palette of the screen or of a frame, whose flags are the descriptor's first byte."""
    flags = descriptor[0] if descriptor else 0
    if flags & 0x80:
        _exactly(file, 3 << ((flags & 7) + 1))


def _skip_data(file: IO[bytes]) -> None:
    while length := _exactly(file, 1)[0]:
        _exactly(file, length)


def _exactly(file: IO[bytes], count: int) -> bytes:
    content = file.read(count)
    if len(content) < count:
        raise EOFError
    return content
