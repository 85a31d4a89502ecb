"""BMP. `bmp_reading.py` reads BMPs, since Pillow reads some kinds wrongly; Pillow writes them."""

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from PIL.ImageFile import ImageFile

from esc_cli.errors import InputError
from esc_cli.media.formats.base import INT32_MAX, PictureFormat
from esc_cli.media.formats.bmp_reading import RUNS, BmpFile, read_header
from esc_cli.media.pillow import Opened

if TYPE_CHECKING:
    from esc_cli.media.picture import Picture
    from esc_cli.media.pixels.depth import Pixels


class Bmp(PictureFormat):
    """BMP, which is written with 24 bits per pixel.

    Source: BITMAPFILEHEADER. Its two reserved words are 0 and belong to the signature, because many texts
    begin with "BM". The file size has 32 bits, and a pixel takes 3 bytes.
    """

    name = "BMP"
    extensions = (".bmp", ".dib")
    shown_by_browsers = True
    signature = rb"BM....\0\0\0\0"
    alpha = False  # Pillow writes alpha into a BMP, but few programs read it
    largest_side_px = INT32_MAX
    largest_px = 2**32 // 3 - 2**20
    holds = frozenset(("dpi",))
    bytes_a_value = 1.0

    def open(self, file: IO[bytes], name: str, largest_px: int) -> ImageFile:
        """Open a file and read its header. Kinds that are not read are refused."""
        obstacle = read_header(file).obstacle
        if obstacle is not None:
            raise InputError(f"{name} is a BMP that stores {obstacle}, which this program does not read")
        return BmpFile(file)

    def depth_bits(self, opened: Opened) -> int:
        """Return the most bits of a channel; bit fields may have more than 8."""
        return opened.image.header.channel_bits if isinstance(opened.image, BmpFile) else 8

    def is_too_deep_for_pillow(self, opened: Opened) -> bool:
        """Return whether the file has bit fields of more than 8 bits."""
        return self.depth_bits(opened) > 8

    def decode_deep(self, opened: Opened, source: Path | bytes, page: int) -> "Pixels":
        """Decode bit fields of more than 8 bits."""
        from esc_cli.media.pixels.bits import depth_class
        from esc_cli.media.pixels.depth import Pixels

        image = opened.image
        if not isinstance(image, BmpFile):
            return super().decode_deep(opened, source, page)
        return Pixels(image.deep_values(), depth_class(self.depth_bits(opened)))

    def missing_share(self, opened: Opened, content: bytes) -> float | None:
        """Return the share of the rows that are missing; with runs, it is not known."""
        header = opened.image.header if isinstance(opened.image, BmpFile) else None
        if header is None or header.compression in RUNS:
            return None
        row_bytes = (header.width * header.bits + 31) // 32 * 4
        return min(1.0, max(0.0, 1 - (len(content) - header.place) / (row_bytes * header.height)))

    def pixel_options(self, picture: "Picture", quality: int | None) -> dict[str, Any]:
        """Mark the resolution as unknown unless the metadata has one; Pillow would write 96 dpi."""
        return {"dpi": (0, 0)}
