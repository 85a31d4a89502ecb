import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from esc_cli.errors import OutputError
from esc_cli.media import vips
from esc_cli.media.avif import with_exif


def block(text: str) -> bytes:
    exif = Image.Exif()
    exif[0x4746], exif[270] = 5, text
    return exif.tobytes()


@pytest.mark.parametrize("text", ["x", "x" * 20_000])
@pytest.mark.parametrize("alpha", [False, True])
def test_exif_is_in_the_file_as_it_was(text: str, alpha: bool) -> None:
    pixels = np.full((16, 24, 4 if alpha else 3), 30_000, np.uint16)
    content = vips.encode_avif(pixels, 10, 90, {"exif": block(text), "xmp": b"<x/>"})
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        assert image.info["exif"].removeprefix(b"Exif\0\0")[:8] == block(text).removeprefix(b"Exif\0\0")[:8]
        assert dict(image.getexif()) | {274: 1} == {0x4746: 5, 270: text, 274: 1}
        assert image.info["xmp"] == b"<x/>"
    assert content.endswith(block(text).removeprefix(b"Exif\0\0"))
    assert vips.decode(content, "AVIF", "it").shape == pixels.shape


def test_where_there_is_no_place_for_exif(encode: Callable[..., bytes]) -> None:
    bare = vips.encode_avif(np.zeros((8, 8, 3), np.uint16), 12, 90, {})
    for content in (bare, b"no AVIF at all, but long enough", encode(Image.new("L", (8, 8)), "AVIF")):
        with pytest.raises(OutputError):
            with_exif(content, block("x"))
