"""PNG: metadata, more than 8 bits, and animations. `png_chunks.py` reads and writes chunks.

Pillow decodes the patches of an animation correctly but composes them incorrectly. Where a partially
transparent patch covers others, Pillow mixes the two opacities instead of adding them up, and it begins with
the default image instead of an empty canvas.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import Blend, Disposal, PngImageFile

from esc_cli.errors import DamageError, InputError
from esc_cli.media.formats.base import INT32_MAX, PictureFormat
from esc_cli.media.formats.png_chunks import (
    RAW_PROFILE,
    Chunk,
    Mended,
    comment_chunk,
    exif_block_chunk,
    exif_chunk,
    icc_chunk,
    pixels_are_intact,
    raw_profile,
    raw_profile_chunk,
    resolution_chunk,
    text_chunks,
    with_metadata_chunks,
    with_metadata_mended,
    xmp_chunk,
)
from esc_cli.media.metadata.exif import EXIF_MARK
from esc_cli.media.metadata.extended_xmp import XMP_IN_JPEG
from esc_cli.media.metadata.iptc import iptc_of_resources, resource
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.metadata.pillow_metadata import bytes_or_none
from esc_cli.media.pillow import Opened, exif_orientation, is_deep_color_still, is_gray

if TYPE_CHECKING:
    from esc_cli.media.picture import AnimationTiming, Picture
    from esc_cli.media.pixels.depth import Pixels

# Level 4 of zlib takes 0.035 s/MP and leaves 6.6 % of the raw size on 15 MP of upscaled photo. Level 6,
# Pillow's default, takes 0.066 s/MP for 6.0 %, and level 1 takes 0.028 s/MP for 8.7 %. On a 12 MP photo,
# level 4 takes 0.063 s/MP for 22 %, level 6 takes 0.129 s/MP for 21 %, and level 1 takes 0.042 s/MP for 24 %.
_OPTIONS = {"compress_level": 4}
# Options of libvips for 16 bits. They take two thirds of the time of zlib's level 6 for as many bytes, with
# the simplest filter that helps. On 3 MP of upscaled photo they take 0.075 s/MP for 58.3 % of the raw size.
# Level 1 without a filter takes 0.044 s/MP for 74.1 %, and trying all filters takes 0.120 s/MP for 56.5 %.
_DEEP_OPTIONS = {"compression": 4, "filter": "sub"}

_FIRST_NAME = slice(12, 16)
"""Place of the name of the first chunk, which PNG requires to be IHDR. Source: PNG 5.3 and 5.6."""

_BIT_DEPTH_OFFSET = 24
"""Position of the bit depth in the file. Source: PNG 11.2.1 (IHDR)."""

_TIFF_HEADER = re.compile(rb"II\*\0|MM\0\*")
_LARGEST_HEAD_BYTES = 20

# Source: PNG 11.3.6.2 (fcTL): the numerator and the denominator of a delay have 16 bits each.
_LARGEST_DELAY = 2**16 - 1


class Png(PictureFormat):
    """PNG and APNG. Source: PNG specification, third edition; 11.2.1 for the largest side (31 bits)."""

    name = "PNG"
    extensions = (".png", ".apng")
    shown_by_browsers = True
    signature = rb"\x89PNG\r\n\x1a\n"
    largest_side_px = INT32_MAX
    holds = frozenset(("icc_profile", "exif", "xmp", "iptc", "dpi", "text", "comment"))
    depths_bits = (8, 16)
    several = "frames"
    bytes_a_value = 0.3
    deep_share = 0.8

    def open(self, file: IO[bytes], name: str, largest_px: int) -> ImageFile:
        """Open a file. Pillow refuses faults also in chunks that programs may ignore.

        Raises:
            InputError: The file is for Apple's devices only, and its pixels are stored in another way.
        """
        file.seek(0)
        head = file.read(_FIRST_NAME.stop)
        if head[_FIRST_NAME] == b"CgBI":
            raise InputError(
                f"{name} is a PNG in Apple's own form (CgBI), which is not supported",
                hint="convert it with Xcode's pngcrush -revert-iphone-optimizations",
            )
        return super().open(with_metadata_mended(file), name, largest_px)

    def oddities(self, opened: Opened) -> Iterator[str]:
        """Name a default image that is left out, and the chunks that were corrected or hidden."""
        if self.first_frame(opened.image):
            yield (
                "the default image, which is not a frame of the animation, is left out: it is shown only by "
                "programs without animation"
            )
        stream = opened.image.fp
        if isinstance(stream, Mended) and stream.wrong_checksums:
            names = ", ".join(stream.wrong_checksums)
            yield f"the checksums of some chunks do not match ({names}), and their content is kept"
        if isinstance(stream, Mended) and stream.malformed:
            yield f"chunks that cannot be read were left out: {', '.join(stream.malformed)}"

    def check(self, opened: Opened) -> None:
        """Verify the checksums of the pixels, which Pillow reads but ignores."""
        stream = opened.image.fp
        if stream is not None and not pixels_are_intact(stream):
            raise DamageError(f"{opened.name} is damaged: a checksum does not match")

    def missing_share(self, opened: Opened, content: bytes) -> float | None:
        """Return the share of a still; the frames of an animation are composed."""
        if getattr(opened.image, "n_frames", 1) > 1:
            return None
        return self.undecoded_share(opened, content)

    def depth_bits(self, opened: Opened) -> int:
        """Read the bit depth from IHDR."""
        return opened.header[_BIT_DEPTH_OFFSET]

    def is_too_deep_for_pillow(self, opened: Opened) -> bool:
        """Return whether the file is a color still of 16 bits.

        Pillow reduces 16-bit color to 8 bits, but keeps 16-bit gray. Animations are composed in 8 bits.
        """
        return is_deep_color_still(opened, self.depth_bits(opened))

    def decode_deep(self, opened: Opened, source: Path | bytes, page: int) -> "Pixels":
        """Decode with libvips."""
        from esc_cli.media import vips
        from esc_cli.media.pixels.depth import from_integers
        from esc_cli.media.pixels.orientation import turned

        opened.image.load()  # Pillow reads the metadata after the pixels only now: 0.025 s/MP
        values = vips.decode(source, "pngload_buffer", opened.name)
        return from_integers(turned(values, self.orientation(opened.image)), self.depth_bits(opened))

    def orientation(self, image: Image.Image) -> int:
        """Return the EXIF orientation; EXIF after the pixels is read without decoding them."""
        if isinstance(image, PngImageFile) and "exif" not in image.info and image.fp is not None:
            exif = _stored_metadata(image).exif
            if exif is not None:
                image.info["exif"] = exif  # where Pillow looks for it
        return exif_orientation(image)

    def first_frame(self, image: ImageFile) -> int:
        """Skip a default image that is not a frame; only programs without animation support show it.

        Source: PNG 4.9.
        """
        return 1 if image.info.get("default_image") else 0

    def frames(self, image: ImageFile, visited: Iterable[int]) -> Iterator[Image.Image]:
        """Compose the patches of an animation here, because Pillow composes them incorrectly."""
        if isinstance(image, PngImageFile) and getattr(image, "n_frames", 1) > 1:
            return _composed_frames(image, visited, self.first_frame(image))
        return super().frames(image, visited)

    def stored_metadata(self, image: Image.Image) -> Metadata:
        """Add metadata after the pixels, and metadata that ImageMagick and ExifTool store as text."""
        return _stored_metadata(image) if isinstance(image, PngImageFile) else super().stored_metadata(image)

    def signalled_profile(self, image: Image.Image, header: bytes) -> bytes | None:
        """Read cICP, gAMA and cHRM. The precedence is cICP, a color profile, sRGB, then gAMA and cHRM.

        Source: 4.3 (precedence) and 11.3.2.
        """
        from esc_cli.media.color.signalling import profile_of_png

        return profile_of_png(image, header)

    def encode_pixels(
        self,
        pictures: "Sequence[Picture]",
        timing: "AnimationTiming | None",
        metadata: Metadata,
        quality: int | None,
    ) -> bytes:
        """Encode 8 bits with Pillow and 16 bits with libvips."""
        if len(pictures) > 1 or pictures[0].depth_bits == 8:
            return super().encode_pixels(pictures, timing, metadata, quality)
        from esc_cli.media import vips
        from esc_cli.media.formats.encoding import values_of

        return vips.encode(values_of(pictures[0]), "pngsave_buffer", _DEEP_OPTIONS, self.name)

    def pixel_options(self, picture: "Picture", quality: int | None) -> dict[str, Any]:
        """Return the compression level of zlib."""
        return dict(_OPTIONS)

    def metadata_options(self, metadata: Metadata) -> dict[str, Any]:
        """Return no options, because `embed` writes all metadata."""
        return {}

    def timing_options(self, timing: "AnimationTiming") -> dict[str, Any]:
        """Return durations that can be written as fractions, and the loop count."""
        durations = [_writable_ms(duration) for duration in timing.durations_ms]
        return {"duration": durations, "loop": timing.loop}

    def embed(self, encoded: bytes, metadata: "Sequence[Metadata]") -> bytes:
        """Replace the metadata chunks that the encoder wrote."""
        return with_metadata_chunks(encoded, list(_metadata_chunks(metadata[0])))


def _stored_metadata(image: PngImageFile) -> Metadata:
    info, mark = image.info, RAW_PROFILE.decode()
    named = {key.lower(): text for key, text in info.items() if isinstance(key, str) and key.startswith(mark)}
    texts = {
        kind: raw_profile(named.get((mark + kind).lower()))
        for kind in ("exif", "xmp", "iptc", "8bim", "app1")
    }
    segment = texts["app1"]  # the content of a JPEG segment
    file: IO[bytes] | None = getattr(image, "fp", None)  # a copied image has none
    chunk = exif_chunk(file) if file else None
    stored = None if chunk is None else EXIF_MARK + chunk
    exif = bytes_or_none(info.get("exif")) or stored or _exif_in(texts["exif"])
    xmp = bytes_or_none(info.get("xmp")) or texts["xmp"]
    return Metadata(
        icc_profile=bytes_or_none(info.get("icc_profile")),
        exif=exif or _exif_in(segment),
        xmp=xmp or (segment.removeprefix(XMP_IN_JPEG) if segment.startswith(XMP_IN_JPEG) else None),
        dpi=info.get("dpi"),
        iptc=iptc_of_resources(texts["iptc"]) or iptc_of_resources(texts["8bim"]),
        text=text_chunks(image) or None,
    )


def _exif_in(profile: bytes) -> bytes | None:
    """Return EXIF from a raw profile, from its TIFF header on; None if it has none.

    Some programs write the marker of a JPEG segment, or a few zeros, before it.
    """
    found = _TIFF_HEADER.search(profile[:_LARGEST_HEAD_BYTES])
    return EXIF_MARK + profile[found.start() :] if found else None


def _metadata_chunks(metadata: Metadata) -> "Iterator[Chunk]":
    if metadata.icc_profile is not None:
        yield icc_chunk(metadata.icc_profile)
    if metadata.dpi is not None:
        yield resolution_chunk(metadata.dpi)
    if metadata.exif is not None:
        yield exif_block_chunk(metadata.exif)
    if metadata.iptc is not None:
        yield raw_profile_chunk("iptc", resource(metadata.iptc))
    if metadata.xmp is not None:
        yield xmp_chunk(metadata.xmp)
    yield from metadata.text or ()
    if metadata.comment is not None:
        yield comment_chunk(metadata.comment)


# Animations


def _composed_frames(image: PngImageFile, visited: Iterable[int], first: int) -> Iterator[Image.Image]:
    """Yield each frame as it is shown, in mode L, LA, RGB or RGBA; opaque frames have no alpha.

    Args:
        image: The image, opened by Pillow.
        visited: Iterable that moves `image` to the next frame at each step, beginning with the first frame.
        first: Pillow's number of the first frame.

    Raises:
        OSError: The file is damaged or incomplete. Other `PILLOW_ERRORS` are possible, too.

    Source:
        PNG 11.3.6.2: dispose_op, blend_op.
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
        canvas = _disposed(canvas, before, image, patch.size, corner, is_first=image.tell() == first)


def _patch(image: PngImageFile) -> tuple[Image.Image, tuple[int, int]]:
    """Return the pixels stored for the frame, in mode RGBA, and the position of their upper left corner."""
    image.blend_op = Blend.OP_SOURCE  # makes Pillow leave the pixels unchanged
    image.load()
    left, top, right, bottom = image.info["bbox"]
    return image.crop((left, top, right, bottom)).convert("RGBA"), (left, top)


def _disposed(
    canvas: Image.Image,
    before: Image.Image,
    image: PngImageFile,
    size: tuple[int, int],
    corner: tuple[int, int],
    *,
    is_first: bool,
) -> Image.Image:
    """Return the canvas for the next frame; after the first frame there is no earlier canvas to restore."""
    disposal = image.info.get("disposal")
    if disposal == Disposal.OP_PREVIOUS and not is_first:
        return before
    if disposal in (Disposal.OP_BACKGROUND, Disposal.OP_PREVIOUS):
        canvas.paste(Image.new("RGBA", size), corner)
    return canvas


def _slim(canvas: Image.Image, image: PngImageFile) -> Image.Image:
    """Return a copy of the canvas in the smallest mode for its content, with the file's metadata."""
    opaque = canvas.getchannel("A").getextrema() == (255, 255)
    copy = canvas.convert(("L" if is_gray(image) else "RGB") + ("" if opaque else "A"))
    copy.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return copy


def _writable_ms(duration_ms: float) -> float:
    """Return the nearest duration that Pillow can write.

    Pillow limits only the denominator of the fraction, so the numerator is limited here.
    """
    seconds = min(duration_ms / 1000, _LARGEST_DELAY)
    largest = int(_LARGEST_DELAY / max(seconds, 1))
    return float(Fraction(seconds).limit_denominator(largest) * 1000)
