"""Read GIF files as browsers show them: find the blocks, then lay the frames on the screen.

Pillow decodes the compressed data of single frames only. As a reader of whole animations, it enlarges the
screen for every frame that reaches beyond it (and loses frames doing so), shows the background color where
browsers show transparency, and looks for comments and the loop count only before the first frame. libvips
also fills an area that is disposed to the background with the background color.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, cast

from PIL import Image
from PIL.ImageFile import ImageFile

if TYPE_CHECKING:  # headers are read without numpy
    import numpy as np
    import numpy.typing as npt

# Source: GIF89a, 17 to 27, and appendix B (the grammar).
_EXTENSION, _FRAME, _TRAILER = b"!", b",", b";"
_GRAPHIC_CONTROL, _COMMENT, _APPLICATION = 0xF9, 0xFE, 0xFF
_HAS_PALETTE, _INTERLACED, _PALETTE_BITS, _HAS_TRANSPARENT_INDEX = 0x80, 0x40, 7, 1
_TICK_MS = 10

# What follows a frame. Some encoders write 4 for "restore"; browsers accept it.
_CLEAR, _RESTORE = 2, (3, 4)

LOOP_NAMES = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
"""Application extensions with the loop count, in their sub-block 1."""

XMP_NAME = b"XMP DataXMP"
"""The application extension with XMP. Source: XMP specification, part 3, 1.1.2."""

XMP_TRAILER = b"\1" + bytes(range(255, -1, -1)) + b"\0"
"""Bytes behind XMP. A reader that takes the text for sub-blocks comes out at their end."""

_PROFILE_NAME = b"ICCRGBG1012"
"""The application extension with a color profile. Source: ICC.1:2022, B.6."""

_PIXELS_AT_A_TIME = 2**16

Box = tuple[int, int, int, int]
"""Top, left, bottom and right, in pixels of the screen."""


@dataclass(frozen=True)
class Frame:
    """A frame as it is stored.

    Attributes:
        box: The area of the screen that the frame covers. It may reach beyond the screen.
        palette: RGB bytes; empty if neither the frame nor the file has a palette.
        flags: The flags of the frame.
        place: Position of the compressed data in the file, beginning with the code size.
        end: Position behind the data.
        delay_ms: How long the frame is shown.
        disposal: What follows the frame.
        transparent: The index that leaves pixels as they are; None if all pixels are opaque.
    """

    box: Box
    palette: bytes
    flags: int
    place: int
    end: int
    delay_ms: int = 0
    disposal: int = 0
    transparent: int | None = None


@dataclass
class Blocks:
    """The content of a GIF, except for the compressed data.

    Attributes:
        height: Height of the screen, in pixels.
        width: Width of the screen, in pixels.
        frames: The frames, in order.
        comments: The comments, wherever they are.
        xmp: The XMP packet.
        profile: The color profile.
        loop: The loop count as it is stored: the repetitions after the first play; 0 means forever.
        is_cut: Whether the file ends within a frame. A file that ends between two frames is not cut, because
            some programs leave out the trailer.
    """

    height: int
    width: int
    frames: list[Frame] = field(default_factory=list)
    comments: list[bytes] = field(default_factory=list)
    xmp: bytes | None = None
    profile: bytes | None = None
    loop: int | None = None
    is_cut: bool = False

    @cached_property
    def may_be_transparent(self) -> bool:
        """Whether some pixels of the screen may be transparent when a frame is shown."""
        hole: Box | None = (0, 0, self.height, self.width)
        for frame in self.frames:
            if hole and (frame.transparent is not None or not _covers(frame.box, hole)):
                return True
            if frame.disposal == _CLEAR:
                hole = frame.box
            elif frame.disposal not in _RESTORE:
                hole = None
        return False

    @cached_property
    def is_gray(self) -> bool:
        """Whether all palettes are gray."""
        palettes = {frame.palette for frame in self.frames}
        return all(palette[::3] == palette[1::3] == palette[2::3] for palette in palettes)


def read_blocks(file: IO[bytes]) -> Blocks:
    """Find the blocks of a GIF. Bytes between blocks that belong to none are skipped.

    The first frame enlarges the screen if it reaches beyond it; later frames do not. This is what Chrome does
    (its decoder is Wuffs) and what libnsgif does ("Allow first frame to grow image dimensions").

    Raises:
        EOFError: The file ends within its header.
    """
    file.seek(0)
    header = _exactly(file, 13)
    width, height, flags = struct.unpack_from("<HHB", header, 6)
    blocks, palette, control = Blocks(height, width), _palette(file, flags), b""
    try:
        while (mark := file.read(1)) not in (b"", _TRAILER):
            if mark == _EXTENSION:
                control = _read_extension(file, blocks) or control
            elif mark == _FRAME:
                blocks.frames.append(_read_frame(file, palette, control, blocks))
                control = b""
        blocks.is_cut |= bool(control) and not mark
    except EOFError:
        blocks.is_cut = True
    return blocks


def _read_extension(file: IO[bytes], blocks: Blocks) -> bytes:
    """Read an extension into the blocks, and return its data if it is a graphic control extension."""
    label, start = _exactly(file, 1)[0], file.tell()
    pieces = list(_sub_blocks(file))
    if label == _GRAPHIC_CONTROL and pieces and len(pieces[0]) >= 4:
        return pieces[0]
    if label == _COMMENT:
        blocks.comments.append(b"".join(pieces))
    elif label == _APPLICATION and pieces:
        name, *rest = pieces
        if name in LOOP_NAMES:
            counts = (struct.unpack_from("<H", piece, 1)[0] for piece in rest if _is_count(piece))
            blocks.loop = next(counts, blocks.loop)
        elif name == XMP_NAME:
            blocks.xmp = _xmp(file, start + 1 + len(name)) or b"".join(rest)
        elif name == _PROFILE_NAME:
            blocks.profile = b"".join(rest)
    return b""


def _is_count(piece: bytes) -> bool:
    return len(piece) >= 3 and piece[0] & 7 == 1


def _xmp(file: IO[bytes], start: int) -> bytes:
    """Return XMP whose text is not cut into sub-blocks; nothing if it is."""
    end = file.tell()
    file.seek(start)
    content = file.read(end - start)
    return content[: -len(XMP_TRAILER)] if content.endswith(XMP_TRAILER) else b""


def _read_frame(file: IO[bytes], palette: bytes, control: bytes, blocks: Blocks) -> Frame:
    """Read a frame; the first one may enlarge the screen. A frame that ends too early is kept, too."""
    left, top, width, height, flags = struct.unpack("<HHHHB", _exactly(file, 9))
    if not blocks.frames:
        blocks.height, blocks.width = max(blocks.height, top + height), max(blocks.width, left + width)
    own_palette, place = _palette(file, flags), file.tell()
    _exactly(file, 1)  # the code size
    try:
        for _ in _sub_blocks(file):
            pass
    except EOFError:
        blocks.is_cut = True
    box = (top, left, top + height, left + width)
    frame = Frame(box, own_palette or palette, flags, place, file.tell())
    if not control:
        return frame
    what, delay, index = struct.unpack_from("<BHB", control)
    transparent = index if what & _HAS_TRANSPARENT_INDEX else None
    return Frame(box, frame.palette, flags, place, frame.end, delay * _TICK_MS, what >> 2 & 7, transparent)


def _palette(file: IO[bytes], flags: int) -> bytes:
    """Read the palette of the screen or of a frame; nothing if the flags say that there is none."""
    return _exactly(file, 3 << (flags & _PALETTE_BITS) + 1) if flags & _HAS_PALETTE else b""


def _sub_blocks(file: IO[bytes]) -> Iterator[bytes]:
    while length := _exactly(file, 1)[0]:
        yield _exactly(file, length)


def _exactly(file: IO[bytes], count: int) -> bytes:
    content = file.read(count)
    if len(content) < count:
        raise EOFError("the file ends too early")
    return content


def _covers(outer: Box, inner: Box) -> bool:
    (top, left, bottom, right), (top_in, left_in, bottom_in, right_in) = outer, inner
    return top <= top_in and left <= left_in and bottom >= bottom_in and right >= right_in


class GifFile(ImageFile):
    """An opened GIF, whose frames are complete screens in mode L, LA, RGB or RGBA.

    Pixels that no frame has covered, and areas that are disposed to the background, are transparent, as in
    browsers. The background color of the file is not used.
    """

    format = "GIF"
    format_description = "GIF"
    blocks: Blocks

    def _open(self) -> None:
        self._file = cast(IO[bytes], self.fp)
        self.blocks = read_blocks(self._file)
        if not self.blocks.frames:
            raise SyntaxError("there is no frame in it")
        self._size = self.blocks.width, self.blocks.height
        is_gray = self.blocks.is_gray and self.blocks.profile is None  # the profile is for RGB
        color = "L" if is_gray else "RGB"
        self._mode = color + ("A" if self.blocks.may_be_transparent else "")
        self.n_frames = len(self.blocks.frames)
        self.is_animated = self.n_frames > 1
        self._set_info()
        self._screen: _Screen | None = None
        self._show(0)

    def _set_info(self) -> None:
        found = {
            "loop": self.blocks.loop,
            "comment": b"\n".join(self.blocks.comments) or None,
            "xmp": self.blocks.xmp,
            "icc_profile": self.blocks.profile,
        }
        self.info.update({name: value for name, value in found.items() if value is not None})

    def _show(self, number: int) -> None:
        self._number = number
        self._is_decoded = False
        self.info["duration"] = self.blocks.frames[number].delay_ms

    def seek(self, frame: int) -> None:
        """Go to a frame without decoding it."""
        if self._seek_check(frame):
            self._show(frame)

    def tell(self) -> int:
        """Return the number of the current frame."""
        return self._number

    def load(self) -> Any:
        """Decode the frames up to the current one, and lay them on the screen."""
        if not self._is_decoded:
            if self._screen is None or self._screen.drawn > self._number:
                self._screen = _Screen(self.blocks, self.mode)
            while self._screen.drawn <= self._number:
                self._screen.draw_next(self._file)
            self.im = Image.fromarray(self._screen.pixels).im
            self._is_decoded = True
        return Image.Image.load(self)


class _Screen:
    """The pixels that are shown.

    Attributes:
        pixels: Array of shape (H, W, C), or (H, W) for gray.
        drawn: Number of frames that were drawn.
    """

    def __init__(self, blocks: Blocks, mode: str) -> None:
        import numpy as np

        self._frames, self._mode = blocks.frames, mode
        shape = (blocks.height, blocks.width, len(mode))
        self.pixels = np.zeros(shape[:2] if mode == "L" else shape, np.uint8)
        self.drawn = 0
        self._before: npt.NDArray[np.uint8] | None = None

    def draw_next(self, file: IO[bytes]) -> None:
        """Dispose of the last frame, and draw the next one."""
        if self.drawn:
            self._dispose_of(self._frames[self.drawn - 1])
        frame = self._frames[self.drawn]
        area = self._area(frame)
        self._before = area.copy() if frame.disposal in _RESTORE else None
        if area.size:
            self._draw(area, frame, _indices(file, frame))
        self.drawn += 1

    def _area(self, frame: Frame) -> "npt.NDArray[np.uint8]":
        top, left, bottom, right = frame.box
        return self.pixels[top:bottom, left:right]

    def _dispose_of(self, frame: Frame) -> None:
        if frame.disposal == _CLEAR:
            self._area(frame)[:] = 0
        elif self._before is not None:
            self._area(frame)[:] = self._before

    def _draw(self, area: "npt.NDArray[np.uint8]", frame: Frame, indices: "npt.NDArray[np.uint8]") -> None:
        """Draw some rows at a time, since the colors of all indices together would take much memory."""
        colors = _colors(frame.palette, self._mode)
        height, width = area.shape[:2]  # the screen may end before the frame
        step = max(1, _PIXELS_AT_A_TIME // width)
        for top in range(0, height, step):
            rows = area[top : top + step]
            found = indices[top : top + step, :width][: len(rows)]
            if frame.transparent is None:
                rows[:] = colors[found]
            else:
                seen = found != frame.transparent
                rows[seen] = colors[found[seen]]


def _colors(palette: bytes, mode: str) -> "npt.NDArray[np.uint8]":
    """Return the colors of all indices in a mode. Those beyond the palette are black."""
    import numpy as np

    gray_ramp = bytes(value for value in range(256) for _ in range(3))
    table = np.frombuffer((palette or gray_ramp).ljust(768, b"\0"), np.uint8).reshape(256, 3)
    if mode == "L":
        return table[:, 0]
    table = table[:, :1] if mode == "LA" else table
    opaque = np.full((256, 1), 255, np.uint8)
    return np.hstack((table, opaque)) if mode.endswith("A") else table


def _indices(file: IO[bytes], frame: Frame) -> "npt.NDArray[np.uint8]":
    """Decode the indices of a frame, (H, W), by giving it to Pillow as a GIF without a palette.

    Pillow's `LOAD_TRUNCATED_IMAGES` decides whether a damaged frame is decoded. What is missing has the
    transparent index, if there is one.
    """
    import numpy as np

    top, left, bottom, right = frame.box
    sides = struct.pack("<HH", right - left, bottom - top)
    file.seek(frame.place)
    data = file.read(frame.end - frame.place)
    control = b"" if frame.transparent is None else b"!\xf9\4\1\0\0" + bytes((frame.transparent, 0))
    flags = bytes((frame.flags & _INTERLACED,))
    alone = b"GIF89a" + sides + bytes(3) + control + _FRAME + bytes(4) + sides + flags + data + _TRAILER
    with Image.open(io.BytesIO(alone), formats=("GIF",)) as image:
        return np.asarray(image)
