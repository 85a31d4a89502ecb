"""What a picture format has to say about itself, with the answers that most formats share."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, Literal, get_args

from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile

from esc_cli.media.metadata.blocks import Blocks, blocks_of_pillow
from esc_cli.media.pillow import PILLOW_ERRORS, WIDE_MODES, Opened

if TYPE_CHECKING:  # headers are read without numpy and torch
    from esc_cli.media.picture import AnimationTiming, Metadata, Picture
    from esc_cli.media.pixels.depth import Pixels
    from esc_cli.media.probe import Probe

Held = Literal["icc_profile", "exif", "xmp", "iptc", "dpi", "text", "comment"]
"""A part of a picture's metadata; the field's name in `Metadata`."""

Several = Literal["frames", "pages"]
"""What a file holds when it holds several pictures: timed ones, or pages."""

ALL_METADATA: frozenset[Held] = frozenset(get_args(Held))
ICC_EXIF_XMP: frozenset[Held] = frozenset(("icc_profile", "exif", "xmp"))

FLOAT_BITS = 32
"""What stands for floats among bits a channel."""

INT32_MAX = 2**31 - 1


class PictureFormat:
    """A picture format that is read and written. A subclass states its facts and overrides what differs.

    All methods that take an `image` or an `opened` file work on the header, unless they say that they decode.

    Attributes:
        name: What it is called, in this program and in messages.
        pillow_name: What Pillow or its plug-in calls it, if that is another name.
        extensions: What its files end in, with the dot. Results get the first one.
        signature: A regular expression for the first bytes of its files.
        alpha: Whether it holds transparency.
        largest_side_px: The largest height and width.
        largest_px: The largest number of pixels; None if only the sides are limited.
        lossy: Whether it has a lossy form, which takes a quality.
        only_lossy: Whether it has no other form.
        quality: The quality (1 to 100) of its lossy form unless another is asked for.
        holds: The metadata that it holds.
        largest_part_bytes: The largest size of parts of the metadata, where there is a limit.
        depths_bits: Bits a channel that it holds, rising; `FLOAT_BITS` stands for floats.
        several: What several pictures in it are; None if it holds one only.
        extra: The optional dependency of this package which it needs.
        module: The module that this dependency brings.
        bytes_a_value: Bytes of a result for each 8-bit value in it, measured on two photos that esc-light x4
            had upscaled, in the default quality. Upscaled photos are smooth: lossless formats compress them
            better than other photos.
        deep_share: Of more than 8 bits, the share that lossless compression leaves, since the lowest ones are
            noise; None where deep pictures take as much as others.
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
    depths_bits: tuple[int, ...] = (8,)
    several: Several | None = None
    extra: str | None = None
    module: str | None = None
    deep_share: float | None = None

    def __init_subclass__(cls) -> None:
        """Let Pillow's name of it be the same, unless another is stated."""
        cls.pillow_name = cls.pillow_name or getattr(cls, "name", "")

    def __repr__(self) -> str:
        """Name the format."""
        return f"<{self.name}>"

    # What it can hold

    def is_installed(self) -> bool:
        """Tell whether what reads and writes it is there; it is not loaded to find out."""
        return self.module is None or find_spec(self.module) is not None

    def fits(self, height: int, width: int) -> bool:
        """Tell whether it holds a picture of this size in pixels."""
        small_enough = self.largest_px is None or height * width <= self.largest_px
        return max(height, width) <= self.largest_side_px and small_enough

    def stores_gray_as_rgb(self, *, alpha: bool, depth_bits: int) -> bool:
        """Tell whether a gray picture is written as equal colors, since its encoder knows no other way."""
        return False

    def limitations(self, probe: "Probe") -> Iterator[str]:
        """Yield what it cannot hold of a picture, beyond what its facts say: one sentence each."""
        return iter(())

    def result_bytes(self, values: int, depth_bits: int) -> float:
        """Estimate the size of a result of so many values (height x width x channels x frames)."""
        if depth_bits > 8 and self.deep_share is not None:
            return values * self.deep_share * (4 if depth_bits == FLOAT_BITS else 2)
        return values * self.bytes_a_value

    # Reading

    def load_plugin(self) -> None:
        """Register what Pillow needs to read and write it; the second time costs nothing."""

    def open(self, file: IO[bytes], name: str, largest_px: int) -> ImageFile:
        """Read the header of a file.

        Args:
            file: At its beginning.
            name: What to call the file in messages.
            largest_px: Pictures of more pixels are refused.

        Raises:
            InputError: It is too large, or of a kind that is not read. Also any of `PILLOW_ERRORS`.
        """
        self.load_plugin()
        return Image.open(file, formats=(self.pillow_name,))

    def check(self, opened: Opened) -> None:
        """Look for damage that Pillow does not notice.

        Raises:
            InputError: There is some.
        """

    def depth_bits(self, opened: Opened) -> int:
        """Give the bits a channel in the file; Pillow reduces color pictures to 8 without a word."""
        return 8

    def is_floating(self, opened: Opened) -> bool:
        """Tell whether the file holds floats."""
        return False

    def is_too_deep_for_pillow(self, opened: Opened) -> bool:
        """Tell whether Pillow would cut bits of the picture or page, and `decode_deep` would not."""
        return False

    def decode_deep(self, opened: Opened, source: Path | bytes, page: int) -> "Pixels":
        """Decode pixels of more than 8 bits, upright, of which Pillow reads the header alone.

        Args:
            opened: The file.
            source: The same, as a path or as its content.
            page: Number of the page at which it stands.

        Raises:
            InputError: The file is damaged.
        """
        raise NotImplementedError(f"{self.name} has no pixels that are too deep for Pillow")

    def orientation(self, image: Image.Image) -> int:
        """Give the EXIF orientation that is still to be applied, 1 to 8: the same before and after decoding.

        A picture with broken EXIF is taken as upright.
        """
        return exif_orientation(image)

    def jpeg_step(self, image: Image.Image) -> float:
        """Give the step in which a JPEG has rounded low frequencies of the luma; 0 of others."""
        return 0.0

    # Reading several pictures

    def first_frame(self, image: ImageFile) -> int:
        """Give Pillow's number of the first frame that is shown."""
        return 0

    def go_to(self, image: ImageFile, number: int) -> None:
        """Move to a frame or page by Pillow's number; the only picture of other formats stays where it is."""
        if self.several is not None:
            image.seek(number)

    def frames(self, image: ImageFile, visited: Iterable[int]) -> Iterator[Image.Image]:
        """Decode frames or pages as they are shown, one after the other.

        Args:
            image: The file.
            visited: Moves it to one frame after the other.
        """
        for _ in visited:
            image.load()
            yield image.copy()

    def duration_ms(self, image: ImageFile) -> float:
        """Give how long the frame is shown at which an animation stands."""
        return float(image.info.get("duration", 0))

    def plays(self, image: ImageFile) -> int:
        """Give how often an animation is played; 0 means for ever."""
        return int(image.info.get("loop") or 0)

    # Reading metadata

    def blocks(self, image: Image.Image) -> Blocks:
        """Gather the metadata as it stands in the file."""
        return blocks_of_pillow(image)

    def signalled_profile(self, image: Image.Image, header: bytes) -> bytes | None:
        """Make a color profile of what the file says about its colors in another way.

        Args:
            image: As it was opened.
            header: The first 64 KiB of its file.

        Returns:
            A profile to be taken instead of one in the file. None for sRGB, for what is not known, and where
            the file's own profile holds.
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
            pictures: As the format holds them: of a depth it has, with alpha if it has that, one or several.
            timing: The timing of several frames; None for a still and for pages.
            metadata: Fitted to the format, of each picture.
            quality: 1 to 100; None: the default.

        Raises:
            OutputError: It cannot be encoded.
            OutOfMemoryError: There is not enough memory to encode it.
        """
        return self.embed(self.encode_pixels(pictures, timing, metadata[0], quality), metadata)

    def encode_pixels(
        self,
        pictures: "Sequence[Picture]",
        timing: "AnimationTiming | None",
        metadata: "Metadata",
        quality: int | None,
    ) -> bytes:
        """Encode pictures, with as much of the metadata as the encoder takes."""
        from esc_cli.media.formats.encoding import encode_with_pillow

        options = self.pixel_options(pictures[0], quality) | self.metadata_options(metadata)
        return encode_with_pillow(pictures, timing, self, options)

    def pixel_options(self, picture: "Picture", quality: int | None) -> dict[str, Any]:
        """Give the options of Pillow's encoder for the pixels."""
        return {}

    def metadata_options(self, metadata: "Metadata") -> dict[str, Any]:
        """Give metadata, fitted to the format, as options of Pillow's encoder."""
        held = {
            "icc_profile": metadata.icc_profile,
            "exif": metadata.exif,
            "xmp": metadata.xmp,
            "dpi": metadata.dpi if "dpi" in self.holds else None,
            "comment": metadata.comment,
        }
        return {option: value for option, value in held.items() if value is not None}

    def timing_options(self, timing: "AnimationTiming") -> dict[str, Any]:
        """Give durations, in whole milliseconds, and repetitions as options of Pillow's encoder."""
        from esc_cli.media.formats.encoding import whole_milliseconds

        return whole_milliseconds(timing)

    def embed(self, encoded: bytes, metadata: "Sequence[Metadata]") -> bytes:
        """Put metadata into a finished file, where its encoder did not take all of it.

        Args:
            encoded: The file.
            metadata: Fitted to the format, of each picture; of later pages it may be missing.
        """
        return encoded


def is_deep_color_still(opened: Opened, depth_bits: int) -> bool:
    """Tell whether Pillow would cut the bits of a still: it keeps those of gray, and composes animations."""
    image = opened.image
    animated = getattr(image, "n_frames", 1) > 1
    return image.mode not in WIDE_MODES and depth_bits > 8 and not animated


def exif_orientation(image: Image.Image) -> int:
    """Read EXIF's orientation, 1 to 8; 1 where there is none or it is broken."""
    try:
        # Of the base class, since PNG's own decodes the whole picture to look for EXIF behind the pixels.
        value = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except PILLOW_ERRORS:
        return 1
    return value if value in range(1, 9) else 1
