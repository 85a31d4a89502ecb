"""BMP."""

from typing import TYPE_CHECKING, Any

from esc_cli.media.formats.base import INT32_MAX, PictureFormat

if TYPE_CHECKING:
    from esc_cli.media.picture import Picture


class Bmp(PictureFormat):
    """BMP, of 24 bits.

    Source: BITMAPFILEHEADER, whose two reserved words are 0 ("BM" alone opens many a text), and in which the
    file's size has 32 bits, while a pixel takes 3 bytes.
    """

    name = "BMP"
    extensions = (".bmp", ".dib")
    signature = rb"BM....\0\0\0\0"
    alpha = False  # Pillow writes alpha into a BMP, but few programs read it
    largest_side_px = INT32_MAX
    largest_px = 2**32 // 3 - 2**20
    holds = frozenset(("dpi",))
    bytes_a_value = 1.0

    def pixel_options(self, picture: "Picture", quality: int | None) -> dict[str, Any]:
        """Say that the resolution is not known, unless the metadata has it; Pillow would write 96."""
        return {"dpi": (0, 0)}
