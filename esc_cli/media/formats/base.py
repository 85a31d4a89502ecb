"""The base class of all picture formats, with the behavior that most formats share."""

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, Literal

from PIL import Image
from PIL.ImageFile import ImageFile

from esc_cli.media.metadata.companions import companions_of_xmp
from esc_cli.media.metadata.kinds import Held, Metadata, size_bytes
from esc_cli.media.metadata.pillow_metadata import metadata_of_pillow
from esc_cli.media.pillow import Opened, converted_mode, exif_orientation, undecoded_share
from esc_cli.media.pixels.bits import FLOAT_BITS

if TYPE_CHECKING:  # headers are read without numpy and torch
    import numpy as np
    import numpy.typing as npt

    from esc_cli.media.picture import AnimationTiming, Picture
    from esc_cli.media.pixels.depth import Pixels
    from esc_cli.media.probe import Probe

Several = Literal["frames", "pages"]
"""The kind of pictures in a file with several pictures: timed frames, or pages."""

ICC_EXIF_XMP: frozenset[Held] = frozenset(("icc_profile", "exif", "xmp"))

INT32_MAX = 2**31 - 1


class PictureFormat:
    """A picture format that the program reads and writes.

    A subclass sets the attributes below and overrides the methods whose defaults do not suit it. Methods that
    take an `image` or an `opened` file work on the header, unless their docstring says that they decode.

    Attributes:
        name: Name of the format, in this program and in messages.
        pillow_name: Name of the format in Pillow or its plugin. Defaults to `name`.
        extensions: File name extensions, with the dot. Results get the first one.
        signature: Regular expression for the first bytes of a file.
        alpha: Whether the format supports transparency.
        largest_side_px: Maximum height and width, in pixels.
        largest_px: Maximum number of pixels; None if only the sides are limited.
        lossy: Whether the format has a lossy mode, which takes a quality.
        only_lossy: Whether the format has no lossless mode.
        quality: Default quality of the lossy mode, 1 to 100.
        holds: Parts of the metadata that the format supports.
        largest_part_bytes: Maximum sizes of the metadata parts that have a size limit.
        moves_exif: Whether the values of EXIF are stored at other places than in a block. Maker notes that
            depend on their place cannot be kept then.
        depths_bits: Supported bits per channel, in ascending order; `FLOAT_BITS` denotes floats.
        scene_linear: Whether values are light, and 1 is the white of a screen, which lamps exceed.
        several: Kind of pictures in a file with several pictures; None if a file has only one picture.
        shown_by_browsers: Whether all common browsers show files of the format; see ``is_shown_by_browsers``.
        extra: Extra of this package that installs an optional dependency of the format, if there is one.
        module: Name of the module that the optional dependency provides.
        written_as: Name of the format of results if this one is only read; None if it is written, too.
        found_in_folders_only_with_extra: Whether files in folders are passed over without the optional
            dependency. Otherwise they count as pictures, and fail.
        bytes_a_value: Bytes of a result for each 8-bit value in it, measured on two photos that esc-light x4
            upscaled, at the default quality. Upscaled photos are smooth, so lossless formats compress them
            better than other photos.
        deep_share: Share of the raw size that lossless compression leaves of pictures with more than 8 bits,
            whose lowest bits are noise; None if such pictures take as many bytes as others.
        reading_memory: Peak memory of reading, as a multiple of the pixels in memory. Measured, and rounded
            up (``.ci/picture_memory.py``).
        writing_memory: Peak memory of writing, as a multiple of the pixels in memory, which it includes.
    """

    name: str
    extensions: tuple[str, ...]
    signature: bytes
    largest_side_px: int
    bytes_a_value: float
    pillow_name: str = ""
    alpha: bool = True
    largest_px: int | None = None
    lossy: bool = False
    only_lossy: bool = False
    quality: int = 95
    holds: frozenset[Held] = frozenset()
    largest_part_bytes: Mapping[Held, int] = MappingProxyType({})
    moves_exif: bool = False
    depths_bits: tuple[int, ...] = (8,)
    scene_linear: bool = False
    several: Several | None = None
    shown_by_browsers: bool = False
    extra: str | None = None
    module: str | None = None
    written_as: str | None = None
    found_in_folders_only_with_extra: bool = False
    deep_share: float | None = None
    reading_memory: float = 5.5
    writing_memory: float = 6.0

    def __init_subclass__(cls) -> None:
        """Set `pillow_name` to `name`, unless the subclass sets another one."""
        cls.pillow_name = cls.pillow_name or getattr(cls, "name", "")

    def __repr__(self) -> str:
        """Return a representation with the name of the format."""
        return f"<{self.name}>"

    # Capabilities

    def is_installed(self) -> bool:
        """Return whether the optional dependency is installed, without importing it."""
        return self.module is None or find_spec(self.module) is not None

    def counts_in_folders(self) -> bool:
        """Return whether files in folders count as pictures."""
        return self.is_installed() or not self.found_in_folders_only_with_extra

    def fits(self, height: int, width: int) -> bool:
        """Return whether the format supports a picture of this size, in pixels."""
        small_enough = self.largest_px is None or height * width <= self.largest_px
        return max(height, width) <= self.largest_side_px and small_enough

    def has_room(self, part: Held, size_bytes: int) -> bool:
        """Return whether a part of the metadata, which the format holds, may have this size."""
        return size_bytes <= self.largest_part_bytes.get(part, size_bytes)

    def can_write(self, part: Held, content: Any) -> bool:
        """Return whether the content of a part of the metadata, which the format holds, can be written."""
        return self.has_room(part, size_bytes(content))

    def stores_gray_as_rgb(self, *, alpha: bool, depth_bits: int) -> bool:
        """Return whether a gray picture is stored as RGB because the encoder does not support gray."""
        return False

    def limitations(self, probe: "Probe") -> Iterator[str]:
        """Yield a sentence for each loss of a picture that the attributes of the format do not imply."""
        return iter(())

    def timing_limitations(self, frames_per_second: float) -> Iterator[str]:
        """Yield a sentence for each way in which an animation of this speed may be shown wrongly."""
        return iter(())

    def result_bytes(self, values: int, depth_bits: int) -> float:
        """Estimate the size of a result, in bytes, from its values (height x width x channels x frames)."""
        if depth_bits > 8 and self.deep_share is not None:
            return values * self.deep_share * (4 if depth_bits == FLOAT_BITS else 2)
        return values * self.bytes_a_value

    # Reading

    def is_format_of(self, file: IO[bytes], header: bytes) -> bool:
        """Return whether a file has this format.

        Args:
            file: The file. Its position does not change.
            header: Its first bytes.
        """
        return re.match(self.signature, header, re.DOTALL) is not None

    def load_plugin(self) -> None:
        """Register the plugin that Pillow needs for the format; repeated calls cost nothing."""

    def open(self, file: IO[bytes], name: str, largest_px: int) -> ImageFile:
        """Open a file and read its header.

        Args:
            file: The file, positioned at its beginning.
            name: Name of the file in messages.
            largest_px: Maximum number of pixels; larger pictures are refused.

        Raises:
            InputError: The picture is too large or of an unsupported kind. `PILLOW_ERRORS` are possible, too.
        """
        self.load_plugin()
        return Image.open(file, formats=(self.pillow_name,))

    def oddities(self, opened: Opened) -> Iterator[str]:
        """Yield a sentence for each fault of a file that does not concern its pixels."""
        return iter(())

    def check(self, opened: Opened) -> None:
        """Check a file for damage that Pillow does not notice.

        Raises:
            DamageError: The file is damaged.
        """

    def missing_share(self, opened: Opened, content: bytes) -> float | None:
        """Return the share of the pixels that a damaged file does not hold; None if it cannot be found out.

        Args:
            opened: The opened file.
            content: Content of the same file.
        """
        return None

    def undecoded_share(self, opened: Opened, content: bytes) -> float:
        """Return the share of the pixels that Pillow, which must decode row by row, does not find in a file.

        Args:
            opened: The opened file.
            content: Content of the same file, or of a part of it.
        """
        again = (self.open(io.BytesIO(content), opened.name, opened.largest_px) for _ in range(2))
        return undecoded_share(again)

    def depth_bits(self, opened: Opened) -> int:
        """Return the bits per channel in the file; Pillow silently reduces color pictures to 8."""
        return 8

    def is_floating(self, opened: Opened) -> bool:
        """Return whether the file stores floats."""
        return False

    def converted_space(self, image: Image.Image) -> str | None:
        """Return "CMYK" or "LAB" if reading converts the picture to sRGB of 8 bits, otherwise None."""
        return converted_mode(image)

    def reading_notes(self, opened: Opened) -> Iterator[str]:
        """Yield a sentence for each change by reading that the mode and the depth do not imply."""
        return iter(())

    def is_too_deep_for_pillow(self, opened: Opened) -> bool:
        """Return whether Pillow would drop bits of the picture or page, or read it wrongly."""
        return False

    def decode_deep(self, opened: Opened, source: Path | bytes, page: int) -> "Pixels":
        """Decode a picture, upright, of which Pillow reads only the header.

        Args:
            opened: The opened file.
            source: Path or content of the same file.
            page: Number of the current page.

        Raises:
            InputError: The file is damaged.
        """
        raise NotImplementedError(f"{self.name} has no pixels that are too deep for Pillow")

    def orientation(self, image: Image.Image) -> int:
        """Return the EXIF orientation that is still to be applied, 1 to 8.

        The value is the same before and after decoding. A picture with broken EXIF counts as upright.
        """
        return exif_orientation(image)

    def jpeg_step(self, image: Image.Image) -> float:
        """Return the quantization step of a JPEG's low luma frequencies; 0 for other formats."""
        return 0.0

    def is_shown_by_browsers(self, image: ImageFile) -> bool:
        """Return whether all common browsers show a file, and not only most files of the format."""
        return self.shown_by_browsers

    # Reading several pictures

    def first_frame(self, image: ImageFile) -> int:
        """Return Pillow's number of the first frame that is shown."""
        return 0

    def go_to(self, image: ImageFile, number: int) -> None:
        """Seek to a frame or page by Pillow's number; do nothing if the format has only one picture."""
        if self.several is not None:
            image.seek(number)

    def frames(self, image: ImageFile, visited: Iterable[int]) -> Iterator[Image.Image]:
        """Decode frames or pages as they are shown, one after the other.

        Args:
            image: The opened file.
            visited: Iterable that moves `image` to the next frame at each step.
        """
        for _ in visited:
            image.load()
            yield image.copy()

    def duration_ms(self, image: ImageFile) -> float:
        """Return the duration of the current frame."""
        return float(image.info.get("duration", 0))

    def plays(self, image: ImageFile) -> int:
        """Return how often an animation is played; 0 means forever."""
        return int(image.info.get("loop") or 0)

    def companions(self, opened: Opened) -> Iterator[str]:
        """Yield a sentence for each content of a file that is neither read nor kept, such as a gain map.

        Further pictures are not mentioned here.
        """
        yield from companions_of_xmp(self.stored_metadata(opened.image).xmp)

    # Reading metadata

    def stored_metadata(self, image: Image.Image) -> Metadata:
        """Return the metadata as it is stored in the file."""
        return metadata_of_pillow(image)

    def signalled_profile(self, image: Image.Image, header: bytes) -> bytes | None:
        """Make a color profile from color information that the file stores outside an ICC profile.

        Args:
            image: The image as it was opened.
            header: The first 64 KiB of its file.

        Returns:
            A profile that replaces the one in the file. None for sRGB, for unknown colors, and if the file's
            own profile applies.
        """
        return None

    # Writing

    def encode(
        self,
        pictures: "Sequence[Picture]",
        timing: "AnimationTiming | None",
        metadata: "Sequence[Metadata]",
        quality: int | None,
    ) -> bytes:
        """Encode pictures with their metadata.

        Args:
            pictures: One or several pictures whose depth, alpha and number the format supports.
            timing: The timing of several frames; None for a still and for pages.
            metadata: The metadata of each picture, fitted to the format.
            quality: 1 to 100; None means the default.

        Raises:
            OutputError: The pictures cannot be encoded.
            OutOfMemoryError: There is not enough memory to encode the pictures.
        """
        return self.embed(self.encode_pixels(pictures, timing, metadata[0], quality), metadata)

    def encode_pixels(
        self,
        pictures: "Sequence[Picture]",
        timing: "AnimationTiming | None",
        metadata: "Metadata",
        quality: int | None,
    ) -> bytes:
        """Encode pictures, with the metadata that the encoder supports."""
        from esc_cli.media.formats.encoding import encode_with_pillow

        options = self.pixel_options(pictures[0], quality) | self.metadata_options(metadata)
        return encode_with_pillow(pictures, timing, self, options)

    def keeps_hidden_colors(self, quality: int | None) -> bool:
        """Return whether colors are kept where alpha is 0."""
        return self.alpha

    def pixel_options(self, picture: "Picture", quality: int | None) -> dict[str, Any]:
        """Return the options of Pillow's encoder for the pixels."""
        return {}

    def metadata_options(self, metadata: "Metadata") -> dict[str, Any]:
        """Return options of Pillow's encoder for metadata that is fitted to the format."""
        held = {
            "icc_profile": metadata.icc_profile,
            "exif": metadata.exif,
            "xmp": metadata.xmp,
            "dpi": metadata.dpi if "dpi" in self.holds else None,
            "comment": metadata.comment,
        }
        return {option: value for option, value in held.items() if value is not None}

    def timing_options(self, timing: "AnimationTiming") -> dict[str, Any]:
        """Return durations, in whole milliseconds, and the loop count as options of Pillow's encoder."""
        from esc_cli.media.formats.encoding import whole_milliseconds

        return whole_milliseconds(timing)

    def sample(self, colors: "npt.NDArray[np.float64]") -> bytes:
        """Make a small file for a check, if the format is only read.

        Args:
            colors: Colors that reading returns, in [0, 1], (H, W, 3). The height and the width are even.
        """
        raise NotImplementedError(f"{self.name} is written by encode")

    def embed(self, encoded: bytes, metadata: "Sequence[Metadata]") -> bytes:
        """Insert metadata that the encoder does not support into a finished file.

        Args:
            encoded: Content of the file.
            metadata: The metadata of each picture, fitted to the format; later pages may have none.
        """
        return encoded
