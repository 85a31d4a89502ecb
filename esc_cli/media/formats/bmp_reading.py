"""Read BMP files.

Pillow reads the usual kinds, but RLE4 with stripes, and a palette of black and white as if each pixel had one
bit. It refuses most bit fields, and does not report color profiles. libvips reads no BMP.

Source: Microsoft, "Bitmap Storage" (BITMAPFILEHEADER to BITMAPV5HEADER) and "Bitmap Compression"; the notes
of BMP Suite by Jason Summers on what the standard leaves open.
"""

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, cast

from PIL import Image, ImageFile

from esc_cli.media.metadata.kinds import METERS_AN_INCH

if TYPE_CHECKING:  # headers are read without numpy
    import numpy as np
    import numpy.typing as npt

_FILE_HEADER_BYTES = 14
_CORE_HEADER_BYTES, _OS2_HEADER_BYTES, _INFO_HEADER_BYTES, _MASKS_BYTES = 12, 64, 40, 52
_MOST_HEADER_BYTES = 124

_PLAIN, _RLE8, _RLE4, _BIT_FIELDS, _ALPHA_BIT_FIELDS = 0, 1, 2, 3, 6
RUNS = (_RLE8, _RLE4)
"""Compressions that store runs of equal pixels."""

_OTHER_COMPRESSIONS = {4: "a JPEG", 5: "a PNG", 11: "CMYK", 12: "CMYK", 13: "CMYK"}
_OS2_COMPRESSIONS = {3: "Huffman codes", 4: "24-bit runs"}
_BITS = {_PLAIN: (1, 2, 4, 8, 16, 24, 32), _RLE8: (8,), _RLE4: (4,)}
_USUAL_MASKS = {
    16: (0x7C00, 0x3E0, 0x1F, 0),
    24: (0xFF0000, 0xFF00, 0xFF, 0),
    32: (0xFF0000, 0xFF00, 0xFF, 0),
}

_EMBEDDED_PROFILE = b"DEBM"  # "MBED" as a number

_END_OF_ROW, _END, _MOVE = 0, 1, 2
_NIBBLES = [bytes((value >> 4, value & 15)) for value in range(256)]

Masks = tuple[int, int, int, int]
"""The bits of red, green, blue and alpha in a pixel; a channel that is not there has none."""


@dataclass(frozen=True)
class Header:
    """The content of a BMP, except for its pixels.

    Attributes:
        height: Height in pixels.
        width: Width in pixels.
        is_top_down: Whether the first row is the top one.
        bits: Bits of a pixel.
        compression: How pixels are stored.
        masks: The bits of each channel. They matter for pixels of 16 bits and more.
        palette: RGB bytes; empty for pixels of 16 bits and more.
        place: Position of the pixels in the file.
        dpi: The resolution; None if it is unknown.
        profile: The embedded color profile.
        obstacle: What the pixels are stored as if it is not read, for a sentence; otherwise None.
    """

    height: int
    width: int
    is_top_down: bool
    bits: int
    compression: int
    masks: Masks
    palette: bytes
    place: int
    dpi: tuple[float, float] | None
    profile: bytes | None
    obstacle: str | None

    @property
    def mode(self) -> str:
        """Pillow's mode for the pixels, in 8 bits: L, RGB or RGBA."""
        if self.bits <= 8:
            is_gray = self.palette[::3] == self.palette[1::3] == self.palette[2::3]
            return "L" if is_gray and self.profile is None else "RGB"  # the profile is for RGB
        return "RGBA" if self.masks[3] else "RGB"

    @property
    def channel_bits(self) -> int:
        """The most bits of a channel, at least 8."""
        return 8 if self.bits <= 8 else max(8, *(mask.bit_count() for mask in self.masks))


def read_header(file: IO[bytes]) -> Header:
    """Read everything but the pixels.

    Raises:
        EOFError: The file ends too early.
        SyntaxError: The header makes no sense.
    """
    file.seek(0)
    pixels_place, size = struct.unpack("<10xII", _exactly(file, _FILE_HEADER_BYTES + 4))
    if size == _CORE_HEADER_BYTES:
        width, height, bits = struct.unpack("<HH2xH", _exactly(file, 8))
        fields = b""
    elif 16 <= size < 2**16:
        fields = bytes(4) + _exactly(file, size - 4)
        fields = fields.ljust(_MOST_HEADER_BYTES, b"\0")
        width, height, bits = struct.unpack_from("<4xii2xH", fields)
    else:
        raise SyntaxError("its header has an unknown size")
    if width <= 0 or height == 0:
        raise SyntaxError("its size is not possible")
    compression = struct.unpack_from("<16xI", fields)[0] if fields else _PLAIN
    masks = _masks(file, size, bits, compression, fields)
    palette, behind = _palette(file, size, bits, fields, pixels_place)
    return Header(
        abs(height),
        width,
        height < 0,
        bits,
        compression,
        masks,
        palette,
        pixels_place if pixels_place >= behind else behind,
        _dpi(fields),
        _profile(file, size, fields),
        _obstacle(size, bits, compression, masks),
    )


def _masks(file: IO[bytes], size: int, bits: int, compression: int, fields: bytes) -> Masks:
    """Return the masks in the header or behind it, or the usual ones."""
    usual = _USUAL_MASKS.get(bits, (0, 0, 0, 0))
    if compression not in (_BIT_FIELDS, _ALPHA_BIT_FIELDS) or size == _OS2_HEADER_BYTES:
        return usual
    if size < _MASKS_BYTES:
        fields += _exactly(file, 12 if compression == _BIT_FIELDS else 16)
        fields = fields[:_INFO_HEADER_BYTES] + fields[_MOST_HEADER_BYTES:] + bytes(4)
    masks = cast(Masks, struct.unpack_from("<40x4I", fields))
    if not any(masks):  # some programs write them so
        return (*usual[:3], 0xFF000000 if bits == 32 else 0)
    return cast(Masks, tuple(mask & (1 << bits) - 1 for mask in masks))


def _palette(file: IO[bytes], size: int, bits: int, fields: bytes, pixels_place: int) -> tuple[bytes, int]:
    """Return the palette, and the position behind it. The pixels may begin earlier than it ends."""
    place = file.tell()
    if bits > 8:
        return b"", place
    entry = 3 if size == _CORE_HEADER_BYTES else 4
    count = (struct.unpack_from("<32xI", fields)[0] if fields else 0) or 1 << bits
    if pixels_place > place:
        count = min(count, (pixels_place - place) // entry)
    stored = file.read(min(count, 2**bits) * entry)
    colors = zip(stored[2::entry], stored[1::entry], stored[::entry], strict=False)  # they are stored as BGR
    return bytes(value for color in colors for value in color), place + count * entry


def _dpi(fields: bytes) -> tuple[float, float] | None:
    across, down = struct.unpack_from("<24xii", fields) if fields else (0, 0)
    return (across * METERS_AN_INCH, down * METERS_AN_INCH) if across > 0 and down > 0 else None


def _profile(file: IO[bytes], size: int, fields: bytes) -> bytes | None:
    """Return the embedded color profile; None if there is none, or if it is not whole."""
    if size < _MOST_HEADER_BYTES or fields[56:60] != _EMBEDDED_PROFILE:
        return None
    place, length = struct.unpack_from("<112xII", fields)
    file.seek(_FILE_HEADER_BYTES + place)
    profile = file.read(length)
    return profile if profile and len(profile) == length else None


def _obstacle(size: int, bits: int, compression: int, masks: Masks) -> str | None:
    """Say what the pixels are stored as if it is not read."""
    if size < _INFO_HEADER_BYTES or size == _OS2_HEADER_BYTES:  # headers of OS/2
        others = _OS2_COMPRESSIONS
    else:
        others = _OTHER_COMPRESSIONS
        if compression in (_BIT_FIELDS, _ALPHA_BIT_FIELDS):
            whole = all(_is_contiguous(mask) for mask in masks)
            return None if whole and bits in _USUAL_MASKS else "unusual bit fields"
    if compression in _BITS:
        return None if bits in _BITS[compression] else f"pixels of {bits} bits"
    return others.get(compression, f"compression {compression}")


def _is_contiguous(mask: int) -> bool:
    shifted = mask // (mask & -mask) if mask else 0
    return shifted & shifted + 1 == 0


def _exactly(file: IO[bytes], count: int) -> bytes:
    content = file.read(count)
    if len(content) < count:
        raise EOFError("the file ends too early")
    return content


class BmpFile(ImageFile.ImageFile):
    """An opened BMP, in mode L, RGB or RGBA. Bit fields of more than 8 bits are in `deep_values`.

    Pillow's `LOAD_TRUNCATED_IMAGES` decides whether a file that ends too early is decoded. Missing pixels
    are 0.
    """

    format = "BMP"
    format_description = "BMP"

    def _open(self) -> None:
        self._file = cast(IO[bytes], self.fp)
        self.header = read_header(self._file)
        self._size = self.header.width, self.header.height
        self._mode = self.header.mode
        found = {"dpi": self.header.dpi, "icc_profile": self.header.profile}
        self.info.update({name: value for name, value in found.items() if value is not None})

    @cached_property
    def _is_decoded(self) -> bool:
        self.im = Image.fromarray(self._pixels()).im
        return True

    def load(self) -> Any:
        """Decode the pixels."""
        if self._is_decoded:
            return Image.Image.load(self)
        return None

    def deep_values(self) -> "npt.NDArray[np.uint16]":
        """Decode bit fields to 16 bits, of shape (H, W, C)."""
        import numpy as np

        return self._fields(np.uint16)

    def _pixels(self) -> "npt.NDArray[np.uint8]":
        import numpy as np

        header = self.header
        if header.bits > 8:
            return self._fields(np.uint8)
        indices = self._runs() if header.compression in RUNS else _unpacked(self._rows(), header)
        table = np.frombuffer(header.palette.ljust(768, b"\0"), np.uint8).reshape(256, 3)
        colors = table[:, 0] if self.mode == "L" else table
        return cast("npt.NDArray[np.uint8]", colors[self._upright(indices)])

    def _upright(self, rows: "npt.NDArray[Any]") -> "npt.NDArray[Any]":
        return rows if self.header.is_top_down else rows[::-1]

    def _rows(self) -> "npt.NDArray[np.uint8]":
        """Return the stored rows, without what fills them up to a multiple of 4 bytes."""
        import numpy as np

        header = self.header
        used = (header.width * header.bits + 7) // 8
        stride = (used + 3) // 4 * 4
        self._file.seek(header.place)
        content = self._file.read(stride * header.height)
        if len(content) < stride * (header.height - 1) + used and not ImageFile.LOAD_TRUNCATED_IMAGES:
            raise EOFError("the file ends within its pixels")
        content = content.ljust(stride * header.height, b"\0")
        return np.frombuffer(content, np.uint8).reshape(header.height, stride)[:, :used]

    def _runs(self) -> "npt.NDArray[np.uint8]":
        import numpy as np

        header = self.header
        self._file.seek(header.place)
        indices = bytearray(header.height * header.width)
        try:
            decode_runs(self._file.read(), indices, header.width, is_rle4=header.compression == _RLE4)
        except EOFError:
            if not ImageFile.LOAD_TRUNCATED_IMAGES:
                raise
        return np.frombuffer(indices, np.uint8).reshape(header.height, header.width)

    def _fields(self, type: "type[np.uint8 | np.uint16]") -> "npt.NDArray[Any]":
        """Decode the channels of pixels that have 16 bits or more, to integers of 8 or 16 bits."""
        import numpy as np

        header, rows = self.header, self._upright(self._rows())
        size, channels = header.bits // 8, len(self.mode)
        pixels = rows.reshape(*rows.shape[:1], header.width, size)
        result = np.empty((header.height, header.width, channels), type)
        for channel, mask in enumerate(header.masks[:channels]):
            result[..., channel] = _channel(pixels, mask, type)
        if channels == 4 and not result[..., 3].any():  # the field is there, but was not filled in
            result[..., 3] = np.iinfo(type).max
        return result


def decode_runs(data: bytes, indices: bytearray, width: int, *, is_rle4: bool) -> None:
    """Decode runs to indices, row after row as they are stored. Pixels that are skipped stay as they are.

    Raises:
        EOFError: The data ends before the last row.
    """
    at, x, y, height = 0, 0, 0, len(indices) // width
    while y < height:
        if at + 2 > len(data):
            if y == height - 1 and x >= width:  # only the end marker is missing
                break
            raise EOFError("the file ends within its pixels")
        count, value = data[at], data[at + 1]
        at += 2
        if count:
            run = (_NIBBLES[value] * (count // 2 + 1))[:count] if is_rle4 else bytes((value,)) * count
        elif value == _END_OF_ROW:
            x, y = 0, y + 1
            continue
        elif value == _END:
            break
        elif value == _MOVE:
            step, at = data[at : at + 2].ljust(2, b"\0"), at + 2
            x, y = x + step[0], y + step[1]
            continue
        else:
            run, at = _literal(data, at, value, is_rle4)
        run_width = max(0, min(len(run), width - x))
        indices[y * width + x : y * width + x + run_width] = run[:run_width]
        x += len(run)


def _literal(data: bytes, at: int, count: int, is_rle4: bool) -> tuple[bytes, int]:
    """Return indices that are stored without runs, and the position behind them, which is even."""
    size = (count + 1) // 2 if is_rle4 else count
    stored = data[at : at + size]
    if len(stored) < size:
        raise EOFError("the file ends within its pixels")
    indices = b"".join(_NIBBLES[value] for value in stored)[:count] if is_rle4 else stored
    return indices, at + size + size % 2


def _unpacked(rows: "npt.NDArray[np.uint8]", header: Header) -> "npt.NDArray[np.uint8]":
    """Return the indices of pixels that have 1, 2, 4 or 8 bits; the first one has the highest bits."""
    import numpy as np

    if header.bits == 8:
        return rows
    shifts = np.arange(8 - header.bits, -1, -header.bits, dtype=np.uint8)
    indices = rows[..., np.newaxis] >> shifts & np.uint8((1 << header.bits) - 1)
    return indices.reshape(len(rows), -1)[:, : header.width]


def _channel(
    pixels: "npt.NDArray[np.uint8]", mask: int, type: "type[np.uint8 | np.uint16]"
) -> "npt.NDArray[Any] | int":
    """Decode one channel, (H, W), from the bytes of pixels, (H, W, 2 to 4)."""
    import numpy as np

    if mask == 0:
        return 0
    shift, bits = (mask & -mask).bit_length() - 1, mask.bit_count()
    if type is np.uint8 and bits == 8 and shift % 8 == 0:
        return pixels[..., shift // 8]
    result = np.empty(pixels.shape[:2], type)
    for row, stored in zip(result, pixels, strict=True):  # row by row, to save memory
        number = np.zeros(len(stored), np.uint64)
        for place in range(stored.shape[1]):
            number |= stored[:, place].astype(np.uint64) << np.uint64(8 * place)
        share = (number >> np.uint64(shift) & np.uint64(2**bits - 1)) / (2**bits - 1)
        row[:] = (share * np.iinfo(type).max).round()
    return result
