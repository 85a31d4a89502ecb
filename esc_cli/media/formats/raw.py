"""Camera raw: photos as the sensor has recorded them, developed by LibRaw through rawpy.

imageio's plug-in for rawpy would add nothing: it hides every error of the development, and it reports neither
the size of the upright picture nor EXIF.

Development is the plain one: the camera's white balance, LibRaw's usual demosaicing, no brightening, no
sharpening. The result has the primaries of Rec. 2020, which hold nearly all colors of real surfaces (sRGB
holds two thirds of them), and the tone curve of sRGB, for which networks are trained.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from PIL import Image
from PIL.ImageFile import ImageFile

from esc_cli.errors import DamageError, InputError, OutOfMemoryError
from esc_cli.media.c_stderr import quiet_c_libraries
from esc_cli.media.formats import raw_files
from esc_cli.media.formats.base import INT32_MAX, PictureFormat
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.pillow import Opened, check_pixels

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from esc_cli.media.pixels.depth import Pixels

_BITS = 16
_GRAY_MODE = "I;16"
_REC_2020_POINT = 9
_SRGB_GAMMA = (2.4, 12.92)
"""Power and slope, as LibRaw takes them. Source: IEC 61966-2-1."""

_TURNED = 4
"""Bit of LibRaw's flip that swaps height and width. Source: LibRaw, libraw_image_sizes_t."""

_KEEP_WHITE, _FIND_WHITE = 0.0, 0.75
"""LibRaw's adjust_maximum_thr: keep the white that a file states, or take the largest value instead if that
is above this share. Without the latter, clipped highlights would become pink where LibRaw must guess white.
"""

_TIFF = (b"II*\0", b"MM\0*")

_HINT = "develop it first, then upscale the resulting TIFF or JPEG"
NO_WHITE_BALANCE = "the file states no white balance, so that of daylight was taken"
_LOST_NOTE = "the maker note was left out, since it is valid only at its place in the file"


class CameraRaw(PictureFormat):
    """Camera raw files of all makers that LibRaw knows. They are only read.

    Source: LibRaw's identify.cpp, and ExifTool's table of magic numbers, for the signatures. Most kinds are
    TIFFs, which `is_format_of` recognizes.
    """

    name = "camera raw"
    extensions = (
        ".dng",
        ".3fr",
        ".arw",
        ".cr2",
        ".cr3",
        ".crw",
        ".dcr",
        ".erf",
        ".fff",
        ".iiq",
        ".kdc",
        ".mef",
        ".mos",
        ".mrw",
        ".nef",
        ".nrw",
        ".orf",
        ".pef",
        ".raf",
        ".rw2",
        ".rwl",
        ".sr2",
        ".srf",
        ".srw",
        ".x3f",
    )
    signature = (
        rb"(?:II\*\0|MM\0\*).{4}(?:CR[\2\3]\0|IIII|MMMM)|II(?:RO|RS|U\0)|MMOR|FUJIFILMCCD-RAW|"
        rb"....ftypcrx |\0MRM|FOVb|II.{4}HEAPCCDR"
    )
    alpha = False
    largest_side_px = INT32_MAX
    depths_bits = (_BITS,)
    extra = "raw"
    module = "rawpy"
    written_as = "TIFF"
    found_in_folders_only_with_extra = True
    bytes_a_value = 1.0
    reading_memory = 4.0

    def is_format_of(self, file: IO[bytes], header: bytes) -> bool:
        """Return whether a file is camera raw, by its signature or by the directories of a TIFF."""
        by_signature = super().is_format_of(file, header)
        return by_signature or (header.startswith(_TIFF) and raw_files.is_tiff_of_camera(file))

    def open(self, file: IO[bytes], name: str, largest_px: int) -> ImageFile:
        """Read everything but the pixels; nothing is developed."""
        image = RawFile(file, name)
        check_pixels(image.height * image.width, name, largest_px)
        return image

    def depth_bits(self, opened: Opened) -> int:
        """Return 16, whatever the sensor's depth is: developed values fill them."""
        return _BITS

    def is_too_deep_for_pillow(self, opened: Opened) -> bool:
        """Return True, because Pillow reads no camera raw."""
        return True

    def decode_deep(self, opened: Opened, source: Path | bytes, page: int) -> "Pixels":
        """Develop the picture; LibRaw turns it upright. Nothing is kept of a damaged one."""
        from esc_cli.media.pixels.depth import Pixels

        file = cast(IO[bytes], opened.image.fp)
        if not raw_files.is_whole(file):
            raise DamageError(f"{opened.name} is damaged or incomplete")
        with _stream(source) as stream, _libraw(stream, opened.name) as raw:
            is_found = raw_files.is_dng(file) or raw.num_colors == 1 or any(raw.camera_whitebalance)
            values = _developed(raw, _KEEP_WHITE if raw_files.is_dng(file) else _FIND_WHITE)
        return Pixels(values, _BITS, notes=() if is_found else (NO_WHITE_BALANCE,))

    def orientation(self, image: Image.Image) -> int:
        """Return 1, because LibRaw turns the picture."""
        return 1

    def reading_notes(self, opened: Opened) -> Iterator[str]:
        """Yield a note if a DNG states no white balance. In other files, LibRaw finds out with the pixels."""
        if raw_files.lacks_white_balance(cast(IO[bytes], opened.image.fp)):
            yield NO_WHITE_BALANCE

    def companions(self, opened: Opened) -> Iterator[str]:
        """Add a maker note that would be invalid anywhere else."""
        yield from super().companions(opened)
        if cast(RawFile, opened.image).found.lost_note:
            yield _LOST_NOTE

    def stored_metadata(self, image: Image.Image) -> Metadata:
        """Return the metadata of the file's own directories."""
        return image.found.metadata if isinstance(image, RawFile) else Metadata()

    def signalled_profile(self, image: Image.Image, header: bytes) -> bytes | None:
        """Return the profile of the developed colors. Gray has the curve of sRGB, which needs none."""
        from esc_cli.media.color.profiles import rgb_profile, srgb_curve
        from esc_cli.media.color.signalling import PRIMARIES

        return None if image.mode == _GRAY_MODE else rgb_profile(PRIMARIES[_REC_2020_POINT], srgb_curve())

    def sample(self, colors: "npt.NDArray[np.float64]") -> bytes:
        """Write a DNG that is developed to these colors."""
        import torch

        from esc_cli.media.color.srgb import light_of
        from esc_cli.media.formats.raw_sample import dng

        return dng(light_of(torch.from_numpy(colors)).numpy())


class RawFile(ImageFile):
    """An opened camera raw file, in mode RGB or I;16 (gray). Pillow cannot decode it.

    Attributes:
        found: The metadata.
    """

    format = CameraRaw.name
    format_description = "camera raw"
    found = raw_files.RawMetadata()

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._name_in_messages = name
        super().__init__(file)

    def _open(self) -> None:
        file = cast(IO[bytes], self.fp)
        self.found = raw_files.metadata_of_file(file)
        with _libraw(file, self._name_in_messages) as raw:
            sizes = raw.sizes
            height, width = sizes.iheight, sizes.iwidth
            self._size = (height, width) if sizes.flip & _TURNED else (width, height)
            self._mode = _GRAY_MODE if raw.num_colors == 1 else "RGB"
            if self.found.metadata.exif is None:
                self.found = raw_files.metadata_of_preview(_preview(raw))


def _developed(raw: Any, white_threshold: float) -> "npt.NDArray[np.uint16]":
    """Return the upright picture, (H, W, C)."""
    import numpy as np
    import rawpy

    pixels: npt.NDArray[np.uint16] = raw.postprocess(
        use_camera_wb=True,
        output_color=rawpy.ColorSpace.Rec2020,
        gamma=_SRGB_GAMMA,
        output_bps=_BITS,
        no_auto_bright=True,
        adjust_maximum_thr=white_threshold,
    )
    return np.atleast_3d(pixels)


def _preview(raw: Any) -> bytes:
    """Return the JPEG inside a file; empty if there is none."""
    import rawpy

    try:
        preview = raw.extract_thumb()
    except rawpy.LibRawError:
        return b""
    return preview.data if preview.format == rawpy.ThumbFormat.JPEG else b""


@contextmanager
def _libraw(file: IO[bytes], name: str) -> Iterator[Any]:
    """Open a file in LibRaw, and translate its errors inside the context."""
    import rawpy

    unsupported = (rawpy.LibRawFileUnsupportedError, rawpy.LibRawNotImplementedError, rawpy.NotSupportedError)
    try:
        file.seek(0)
        with quiet_c_libraries(), rawpy.RawPy() as raw:
            _open_in(raw, file)
            yield raw
    except (MemoryError, rawpy.LibRawUnsufficientMemoryError) as error:
        raise OutOfMemoryError(f"{name} does not fit in memory") from error
    except rawpy.LibRawTooBigError as error:
        raise InputError(f"{name} is a camera raw file that is too large for LibRaw", hint=_HINT) from error
    except unsupported as error:
        raise InputError(f"{name} is a camera raw file of an unsupported kind", hint=_HINT) from error
    except rawpy.LibRawError as error:
        raise DamageError(f"{name} is damaged or incomplete") from error


def _open_in(raw: Any, file: IO[bytes]) -> None:
    """Let LibRaw read what it needs of a file; it takes only names in UTF-8."""
    path = getattr(file, "name", None)
    try:
        raw.open_file(os.fspath(cast(Path, path)))
    except (TypeError, UnicodeEncodeError):
        raw.open_buffer(file)


def _stream(source: Path | bytes) -> IO[bytes]:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
