"""WebP."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PIL.ImageFile import ImageFile

from esc_cli.errors import OutputError
from esc_cli.media.formats.base import ICC_EXIF_XMP, PictureFormat

if TYPE_CHECKING:
    from esc_cli.media.metadata.kinds import Metadata
    from esc_cli.media.picture import AnimationTiming, Picture

# In lossless mode, quality is the effort. On an upscaled photo, quality 25 and method 0 take 0.027 s/MP for
# 14.1 % of the raw size. The next method takes 0.19 s/MP for 13.0 %, and Pillow's defaults (80, 4) no less.
_LOSSLESS_OPTIONS = {"lossless": True, "quality": 25, "method": 0}

_LONGEST_MS = 2**24 - 1
"""The longest duration of a frame. Source: RFC 9649, 2.7.1.1 (ANMF)."""

# Source: RFC 9649, 2.7.1 (VP8X). The flags follow three fields of the file header and two fields of the chunk
# header, with four bytes each.
_FLAGS_OFFSET, _ALPHA_FLAG = 20, 0x10


class WebP(PictureFormat):
    """WebP. Source: RFC 9649, 2.4 (signature) and 2.5 (sides have 14 bits)."""

    name = "WEBP"
    extensions = (".webp",)
    shown_by_browsers = True
    signature = rb"RIFF....WEBP"
    largest_side_px = 16_383
    lossy = True
    holds = ICC_EXIF_XMP
    several = "frames"
    bytes_a_value = 0.23
    reading_memory = 8.5
    writing_memory = 11.0

    def stores_gray_as_rgb(self, *, alpha: bool, depth_bits: int) -> bool:
        """Return True, because libwebp always stores gray as RGB."""
        return True

    def duration_ms(self, image: ImageFile) -> float:
        """Return the duration of the frame, which is known only after decoding."""
        image.load()
        return super().duration_ms(image)

    def encode_pixels(
        self,
        pictures: "Sequence[Picture]",
        timing: "AnimationTiming | None",
        metadata: "Metadata",
        quality: int | None,
    ) -> bytes:
        """Encode the pictures and mark a transparent animation as such.

        libwebp does not set the alpha flag if only the space around the frames is transparent.

        Raises:
            OutputError: A frame is shown for longer than WebP supports.
        """
        if timing is not None and max(timing.durations_ms) > _LONGEST_MS:
            raise OutputError(f"WEBP cannot show a frame for longer than {_LONGEST_MS // 1000:,} seconds")
        content = super().encode_pixels(pictures, timing, metadata, quality)
        has_alpha = any(picture.alpha is not None for picture in pictures)
        if len(pictures) == 1 or not has_alpha or content[12:16] != b"VP8X":
            return content
        flags = bytes([content[_FLAGS_OFFSET] | _ALPHA_FLAG])
        return content[:_FLAGS_OFFSET] + flags + content[_FLAGS_OFFSET + 1 :]

    def pixel_options(self, picture: "Picture", quality: int | None) -> dict[str, Any]:
        """Return lossless options if there is no quality. Hidden colors are kept only if they count."""
        options = dict(_LOSSLESS_OPTIONS) if quality is None else {"quality": quality}
        return {**options, "exact": True} if picture.alpha_is_data else options
