"""BMP."""

from typing import TYPE_CHECKING, Any

from esc_cli.media.formats.base import INT32_MAX, PictureFormat, share_undecoded_by_pillow
from esc_cli.media.pillow import Opened

if TYPE_CHECKING:
    from esc_cli.media.picture import Picture


class Bmp(PictureFormat):
    """BMP with 24 bits per pixel.

    Source: BITMAPFILEHEADER. Its two reserved words are 0 and belong to the signature, because many texts
    begin with "BM". The file size has 32 bits, and a pixel takes 3 bytes.
    """

    name = "BMP"
    extensions = (".bmp", ".dib")
    signature = rb"BM....\0\0\0\0"
    alpha = False  # Pillow writes alpha into a BMP, but few programs read it
    largest_side_px = INT32_MAX
    largest_px = 2**32 // 3 - 2**20
    holds = frozenset(("dpi",))
    bytes_a_value = 1.0

    def missing_share(self, opened: Opened, content: bytes) -> float | None:
        """Return the share of the rows that are missing."""
        return share_undecoded_by_pillow(self, opened, content)

    def pixel_options(self, picture: "Picture", quality: int | None) -> dict[str, Any]:
        """Mark the resolution as unknown unless the metadata has one; Pillow would write 96 dpi."""
        return {"dpi": (0, 0)}
