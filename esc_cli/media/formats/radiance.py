"""Radiance HDR: its header is read and written here, its pixels by FFmpeg, which decodes all three kinds.

libvips could read the format, but the one in pyvips-binary is built without it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from PIL.ImageFile import ImageFile

from esc_cli.errors import DamageError, InputError, OutputError
from esc_cli.media.damage import keeps_damaged
from esc_cli.media.formats.base import INT32_MAX
from esc_cli.media.formats.light import LightFile, LightFormat
from esc_cli.media.pillow import Opened, check_pixels
from esc_cli.version import made_by

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from esc_cli.media.color.profiles import Primaries
    from esc_cli.media.metadata.kinds import Metadata
    from esc_cli.media.picture import AnimationTiming, Picture
    from esc_cli.media.pixels.depth import Pixels
    from esc_cli.media.probe import Probe

# Source: Radiance file formats (filefmts.pdf), "Picture files": a header of lines, an empty line, and the
# resolution, whose signs and order state where the first pixel is.
_RESOLUTION = re.compile(rb"([+-])Y +(\d+) +([+-])X +(\d+)\n")
_TURNED_RESOLUTION = re.compile(rb"[+-]X +\d+ +[+-]Y +\d+\n")
_MOST_HEADER_BYTES = 65_536
_FORMAT, _RGBE, _PRIMARIES = "FORMAT", "32-bit_rle_rgbe", "PRIMARIES"
_OF_NO_USE = frozenset((_FORMAT, _PRIMARIES, "SOFTWARE", "GAMMA"))

_BEHIND = b"\xff" * 64
_SIGNIFICANT_BITS = 8


@dataclass(frozen=True)
class RadianceHeader:
    """The header of a file.

    Attributes:
        height: Height in pixels.
        width: Width in pixels.
        from_below: Whether the first row is the lowest.
        from_right: Whether the first column is the right one.
        primaries: The primaries, if they are stated.
        others: Names of variables that are not used.
        size_bytes: Size of the header.
    """

    height: int
    width: int
    from_below: bool
    from_right: bool
    primaries: "Primaries | None"
    others: tuple[str, ...]
    size_bytes: int


class Radiance(LightFormat):
    """Radiance HDR. Runs have 15 bits, but a file may do without them."""

    name = "Radiance HDR"
    writing_memory = 8.0
    extensions = (".hdr", ".pic", ".rgbe")
    signature = rb"#\?(?:RADIANCE|RGBE)\n"
    alpha = False
    largest_side_px = INT32_MAX
    bytes_a_value = 1.1
    deep_share = 0.28

    def open(self, file: IO[bytes], name: str, largest_px: int) -> ImageFile:
        """Read the header."""
        return RadianceFile(file, name)

    def limitations(self, probe: "Probe") -> Iterator[str]:
        """Say also which floats are changed."""
        yield from super().limitations(probe)
        if probe.floating and probe.format != self.name:
            yield f"negative values become 0, and NaN becomes white: {self.name} holds neither"

    def stores_gray_as_rgb(self, *, alpha: bool, depth_bits: int) -> bool:
        """Return True."""
        return True

    def decode_deep(self, opened: Opened, source: Path | bytes, page: int) -> "Pixels":
        """Decode with FFmpeg."""
        from esc_cli.media.pixels.depth import from_floats

        header = cast(RadianceFile, opened.image).header
        content = source if isinstance(source, bytes) else source.read_bytes()
        check_pixels(header.height * header.width, opened.name, opened.largest_px)
        values = _decoded(header, content, opened.name)
        values = values[:: -1 if header.from_below else 1, :: -1 if header.from_right else 1]
        return from_floats(values, usual=(1.0,))

    def encode_pixels(
        self,
        pictures: "Sequence[Picture]",
        timing: "AnimationTiming | None",
        metadata: "Metadata",
        quality: int | None,
    ) -> bytes:
        """Encode with FFmpeg, with a header of our own."""
        from esc_cli.media.color.light import primaries_of
        from esc_cli.media.formats.encoding import values_of

        picture = pictures[0]
        primaries = primaries_of(picture.metadata.icc_profile)
        lines = ["#?RADIANCE", f"SOFTWARE={made_by()}", f"{_FORMAT}={_RGBE}"]
        if primaries is not None:
            lines.append(f"{_PRIMARIES}=" + " ".join(f"{value:.5f}" for value in primaries.numbers))
        size = f"-Y {picture.height} +X {picture.width}\n"
        return "\n".join((*lines, "", size)).encode() + _encoded(_rounded(values_of(picture)))


class RadianceFile(LightFile):
    """An opened file, in mode RGB."""

    format = Radiance.name
    format_description = "Radiance HDR"

    def _open(self) -> None:
        file = cast(IO[bytes], self.fp)
        file.seek(0)
        self.header = read_header(file.read(_MOST_HEADER_BYTES), self._name_in_messages)
        self._set(self.header.height, self.header.width, gray=False, alpha=False)
        self.primaries = self.header.primaries
        if self.header.others:
            self.notes = (f"lines of the header were left out: {', '.join(self.header.others)}",)


def read_header(beginning: bytes, name: str) -> RadianceHeader:
    """Read a header.

    Raises:
        InputError: The file is damaged or of a kind that is not read.
    """
    text, found, _rest = beginning.partition(b"\n\n")
    start = len(text) + len(found)
    if _TURNED_RESOLUTION.match(beginning, start):
        raise InputError(f"{name} is a Radiance HDR that is stored in columns, which is not supported")
    resolution = _RESOLUTION.match(beginning, start)
    if resolution is None:
        raise DamageError(f"{name} is damaged or incomplete")
    lines = [line.partition("=") for line in text.decode("latin-1").splitlines()[1:] if "=" in line]
    values = {key.strip(): value.strip() for key, _sign, value in lines if not key.startswith("#")}
    if values.get(_FORMAT, _RGBE) != _RGBE:
        raise InputError(f"{name} is a Radiance HDR of an unsupported kind: {values[_FORMAT]}")
    down, height, across, width = resolution.groups()
    others = tuple(key for key in values if key not in _OF_NO_USE)
    primaries = _primaries(values.get(_PRIMARIES, ""))
    from_below, from_right = down == b"+", across == b"-"
    return RadianceHeader(
        int(height), int(width), from_below, from_right, primaries, others, resolution.end()
    )


def _primaries(text: str) -> "Primaries | None":
    from esc_cli.media.color.profiles import Primaries

    try:
        return Primaries.of([float(number) for number in text.split()])
    except ValueError:
        return None


def _decoded(header: RadianceHeader, content: bytes, name: str) -> "npt.NDArray[np.float32]":
    """Decode the pixels as they are stored, (H, W, 3).

    FFmpeg takes what is missing at the end as zeros. So what lies behind the end must not matter.
    """
    import numpy as np

    plain = f"#?RADIANCE\n{_FORMAT}={_RGBE}\n\n-Y {header.height} +X {header.width}\n".encode()
    packet = plain + content[header.size_bytes :]
    if keeps_damaged():
        return _frame(packet + bytes(4 * header.height * header.width), name)
    values = _frame(packet, name)
    if not np.array_equal(values, _frame(packet + _BEHIND, name), equal_nan=True):
        raise DamageError(f"{name} is damaged or incomplete")
    return values


def _frame(packet: bytes, name: str) -> "npt.NDArray[np.float32]":
    import av

    try:
        frames = av.CodecContext.create("hdr", "r").decode(av.Packet(packet))
        values = cast("npt.NDArray[np.float32]", frames[0].to_ndarray())
    except (av.FFmpegError, IndexError) as error:
        raise DamageError(f"{name} is damaged or incomplete") from error
    return values


def _rounded(values: "npt.NDArray[np.float32]") -> "npt.NDArray[np.float32]":
    """Round to the numbers that the format can hold, as RGB; FFmpeg would cut them off, which darkens."""
    import numpy as np

    colors = np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values
    colors = np.nan_to_num(colors, posinf=0.0, neginf=0.0).clip(0)
    _, exponents = np.frexp(colors.max(axis=2, keepdims=True))
    step = np.ldexp(np.float32(1), exponents - _SIGNIFICANT_BITS)
    rounded: npt.NDArray[np.float32] = ((colors / step).round() * step).astype(np.float32)
    return rounded


def _encoded(values: "npt.NDArray[np.float32]") -> bytes:
    """Encode the pixels, without a header."""
    import av
    import numpy as np

    try:
        context = av.CodecContext.create("hdr", "w")
        context.height, context.width = values.shape[:2]
        context.pix_fmt, context.time_base = "gbrpf32le", Fraction(1)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(values), format="gbrpf32le")
        content = b"".join(bytes(packet) for packet in (*context.encode(frame), *context.encode(None)))
    except av.FFmpegError as error:
        raise OutputError("the picture cannot be written as Radiance HDR") from error
    return content[read_header(content[:_MOST_HEADER_BYTES], "the result").size_bytes :]
