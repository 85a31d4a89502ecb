"""OpenEXR, read and written by its own library: one part of scan lines or tiles, with RGB or Y, and alpha."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from PIL.ImageFile import ImageFile

from esc_cli.errors import DamageError, InputError, OutOfMemoryError, OutputError
from esc_cli.media.c_stderr import quiet_c_libraries
from esc_cli.media.formats.base import INT32_MAX
from esc_cli.media.formats.light import LightFile, LightFormat
from esc_cli.media.pillow import PILLOW_ERRORS, Opened, check_pixels

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from esc_cli.media.color.profiles import Primaries
    from esc_cli.media.metadata.kinds import Metadata
    from esc_cli.media.picture import AnimationTiming, Picture
    from esc_cli.media.pixels.depth import Pixels

_COLORS, _GRAY, _ALPHA, _CHROMA = ("R", "G", "B"), ("Y",), "A", frozenset(("RY", "BY"))

# Source: "Technical Introduction to OpenEXR" and "OpenEXR File Layout", for the required attributes.
_USED = frozenset(
    (
        *("channels", "compression", "dataWindow", "displayWindow", "lineOrder", "type", "tiles", "name"),
        *("pixelAspectRatio", "screenWindowCenter", "screenWindowWidth", "chromaticities", "chunkCount"),
        *("version", "view", "maxSamplesPerPixel", "preview"),
    )
)
_PIXEL_ASPECT, _CHROMATICITIES = "pixelAspectRatio", "chromaticities"


class OpenExr(LightFormat):
    """OpenEXR. Source: its file layout, for the signature; a window has corners of 32 bits."""

    name = "OpenEXR"
    extensions = (".exr",)
    signature = rb"\x76\x2f\x31\x01"
    largest_side_px = INT32_MAX
    extra = "exr"
    module = "OpenEXR"
    bytes_a_value = 2.6
    deep_share = 0.65

    def open(self, file: IO[bytes], name: str, largest_px: int) -> ImageFile:
        """Read the header."""
        image = ExrFile(file, name)
        check_pixels(image.stored_px, name, largest_px)
        return image

    def keeps_hidden_colors(self, quality: int | None) -> bool:
        """Return False, because colors are multiplied by alpha."""
        return False

    def decode_deep(self, opened: Opened, source: Path | bytes, page: int) -> "Pixels":
        """Decode the first part; colors are divided by alpha, by which the format multiplies them."""
        from esc_cli.media.pixels.depth import from_floats

        image = cast(ExrFile, opened.image)
        content = source if isinstance(source, bytes) else source.read_bytes()
        with _translated(opened.name):
            planes = _planes(content, image)
        return from_floats(_divided(image.placed(planes)), usual=(1.0,))

    def encode_pixels(
        self,
        pictures: "Sequence[Picture]",
        timing: "AnimationTiming | None",
        metadata: "Metadata",
        quality: int | None,
    ) -> bytes:
        """Encode floats, compressed with ZIP."""
        import numpy as np
        import OpenEXR

        from esc_cli.media.color.light import primaries_of
        from esc_cli.media.formats.encoding import values_of

        picture = pictures[0]
        values = _multiplied(values_of(picture))
        names = (_GRAY if picture.gray else _COLORS) + (_ALPHA,) * (values.shape[2] in (2, 4))
        channels = {
            name: np.ascontiguousarray(values[..., number], np.float32) for number, name in enumerate(names)
        }
        header: dict[str, Any] = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        primaries = primaries_of(picture.metadata.icc_profile)
        if primaries is not None:
            header[_CHROMATICITIES] = primaries.numbers
        content = io.BytesIO()
        try:
            OpenEXR.File(header, channels).write(content)
        except PILLOW_ERRORS as error:
            raise OutputError("the picture cannot be written as OpenEXR") from error
        return content.getvalue()


class ExrFile(LightFile):
    """An opened OpenEXR, in mode RGB, RGBA, F or LA.

    Attributes:
        channels: Names of the channels that are read, in order.
        data_window: The rows and columns that are stored.
        stored_px: The larger of the number of pixels that are stored and the number of those that are shown.
    """

    format = OpenExr.name
    format_description = "OpenEXR"
    channels: tuple[str, ...] = ()
    data_window = (0, 0, 0, 0)
    stored_px = 0

    def _open(self) -> None:
        file = cast(IO[bytes], self.fp)
        file.seek(0)
        with _translated(self._name_in_messages), _header_reader(file) as exr:
            parts, header = len(exr.parts), dict(exr.parts[0].header)
        self._check_kind(header)
        stored = {channel.name: channel for channel in header["channels"]}
        self.channels = self._chosen(stored)
        self.data_window, self._shown = (_window(header[name]) for name in ("dataWindow", "displayWindow"))
        self.stored_px = max(_area(self.data_window), _area(self._shown))
        top, left, bottom, right = self._shown
        gray = self.channels[0] in _GRAY
        self._set(bottom - top, right - left, gray=gray, alpha=self.channels[-1] == _ALPHA)
        self.primaries = _primaries(header.get(_CHROMATICITIES))
        self.notes = tuple(_notes(parts, header, stored.keys() - set(self.channels), self._hidden()))

    def _check_kind(self, header: Mapping[str, Any]) -> None:
        import OpenEXR

        if header.get("type") in (OpenEXR.deepscanline, OpenEXR.deeptile):
            raise self.unsupported("deep pixels")

    def _chosen(self, stored: Mapping[str, Any]) -> tuple[str, ...]:
        names = stored.keys()
        if names >= _CHROMA:
            raise self.unsupported("luma and chroma of lower resolution")
        colors = next((colors for colors in (_COLORS, _GRAY) if names >= set(colors)), None)
        if colors is None:
            listed = ", ".join(sorted(names)[:6]) + ("..." if len(names) > 6 else "")
            raise self.unsupported(f"the channels {listed}, none of which are plain RGB or Y")
        chosen = colors + (_ALPHA,) * (_ALPHA in names)
        for channel in (stored[name] for name in chosen):
            if (channel.xSampling, channel.ySampling) != (1, 1):
                raise self.unsupported("colors of lower resolution")
        return chosen

    def unsupported(self, what: str) -> InputError:
        """Return the error for a file of a kind that is not read."""
        return InputError(
            f"{self._name_in_messages} is an OpenEXR that stores {what}, which is not supported"
        )

    def _hidden(self) -> bool:
        """Return whether some pixels lie outside of the display window."""
        inside = (
            *map(max, self.data_window[:2], self._shown[:2]),
            *map(min, self.data_window[2:], self._shown[2:]),
        )
        return inside != self.data_window

    def placed(self, planes: "Sequence[npt.NDArray[np.float32]]") -> "npt.NDArray[np.float32]":
        """Return channels of the data window as they lie in the display window, (H, W, C); the rest is 0."""
        import numpy as np

        if self.data_window == self._shown:
            return np.stack(planes, axis=2)
        top, left, bottom, right = self._shown
        placed = np.zeros((bottom - top, right - left, len(planes)), np.float32)
        rows, columns = (
            slice(
                max(self.data_window[at], self._shown[at]), min(self.data_window[at + 2], self._shown[at + 2])
            )
            for at in (0, 1)
        )
        if rows.start < rows.stop and columns.start < columns.stop:
            for number, plane in enumerate(planes):
                part = plane[_moved(rows, self.data_window[0]), _moved(columns, self.data_window[1])]
                placed[_moved(rows, top), _moved(columns, left), number] = part
        return placed


_Window = tuple[int, int, int, int]
"""The first row and column of a window, and those behind its last ones."""


def _window(corners: Any) -> _Window:
    (left, top), (right, bottom) = (map(int, corner) for corner in corners)
    return top, left, bottom + 1, right + 1


def _area(window: _Window) -> int:
    top, left, bottom, right = window
    return (bottom - top) * (right - left)


def _moved(range: slice, by: int) -> slice:
    return slice(range.start - by, range.stop - by)


def _primaries(chromaticities: Any) -> "Primaries | None":
    from esc_cli.media.color.profiles import Primaries

    return None if chromaticities is None else Primaries.of([float(value) for value in chromaticities])


def _notes(parts: int, header: Mapping[str, Any], other_channels: set[str], hidden: bool) -> Iterator[str]:
    if parts > 1:
        yield f"only the first of {parts} parts was read"
    if other_channels:
        yield f"channels that are not colors were left out: {', '.join(sorted(other_channels))}"
    if hidden:
        yield "pixels outside of the display window were left out"
    if header.get(_PIXEL_ASPECT, 1.0) != 1.0:
        yield "the shape of the pixels, which are not square, was left out"
    attributes = sorted(header.keys() - _USED)
    if attributes:
        yield f"attributes of the header were left out: {', '.join(attributes)}"


def _divided(values: "npt.NDArray[np.float32]") -> "npt.NDArray[np.float32]":
    """Divide colors by alpha, which is clipped to [0, 1]; unlike elsewhere, colors may exceed 1."""
    import numpy as np

    if values.shape[2] in (2, 4):
        alpha = np.nan_to_num(values[..., -1:], posinf=1.0, neginf=0.0).clip(0, 1)
        np.divide(values[..., :-1], alpha, out=values[..., :-1], where=alpha > 0)
        values[..., :-1][np.broadcast_to(alpha == 0, values[..., :-1].shape)] = 0
        values[..., -1:] = alpha
    return values


def _multiplied(values: "npt.NDArray[np.float32]") -> "npt.NDArray[np.float32]":
    if values.shape[2] in (2, 4):
        values[..., :-1] *= values[..., -1:]
    return values


def _planes(content: bytes, image: ExrFile) -> "list[npt.NDArray[np.float32]]":
    """Decode the channels of the data window.

    The older interface of the library is used: the newer one writes damage to stdout, and goes on.
    """
    import Imath
    import numpy as np
    import OpenEXR

    file = OpenEXR.InputFile(io.BytesIO(content))
    types = file.header()["channels"]
    if any(types[name].type == Imath.PixelType(Imath.PixelType.UINT) for name in image.channels):
        raise image.unsupported("colors that are whole numbers")
    top, left, bottom, right = image.data_window
    planes = file.channels(list(image.channels), Imath.PixelType(Imath.PixelType.FLOAT))
    return [np.frombuffer(plane, np.float32).reshape(bottom - top, right - left) for plane in planes]


@contextmanager
def _header_reader(file: IO[bytes]) -> Iterator[Any]:
    import OpenEXR

    with OpenEXR.File(file, separate_channels=True, header_only=True) as exr:
        yield exr


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Translate the errors of the library, which are of many types."""
    try:
        with quiet_c_libraries():
            yield
    except MemoryError as error:
        raise OutOfMemoryError(f"{name} does not fit in memory") from error
    except PILLOW_ERRORS as error:
        raise DamageError(f"{name} is damaged or incomplete") from error
