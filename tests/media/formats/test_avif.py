import io
from collections.abc import Callable

import pytest
import torch
from PIL import Image

from esc_cli.errors import OutputError
from esc_cli.media.formats.avif import with_exif
from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.picture import Picture
from esc_cli.media.read import read_file


def block(text: str) -> bytes:
    exif = Image.Exif()
    exif[0x4746], exif[270] = 5, text
    return exif.tobytes()


def deep(depth_bits: int, alpha: bool, metadata: Metadata) -> bytes:
    color = torch.full((1, 3, 16, 24), 30_000).to(torch.uint16)
    picture = Picture(color, color[:, :1] if alpha else None, False, metadata, "PNG", depth_bits=depth_bits)
    return FORMATS["AVIF"].encode([picture], None, [metadata], 90)


@pytest.mark.parametrize("text", ["x", "x" * 20_000])
@pytest.mark.parametrize("alpha", [False, True])
def test_exif_is_in_the_file_as_it_was(text: str, alpha: bool) -> None:
    content = deep(10, alpha, Metadata(exif=block(text), xmp=b"<x/>"))
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        assert image.info["exif"].removeprefix(b"Exif\0\0")[:8] == block(text).removeprefix(b"Exif\0\0")[:8]
        assert dict(image.getexif()) | {274: 1} == {0x4746: 5, 270: text, 274: 1}
        assert image.info["xmp"] == b"<x/>"
    assert content.endswith(block(text).removeprefix(b"Exif\0\0"))
    again = read_file(content).first
    assert (again.depth_bits, again.alpha is not None, again.height, again.width) == (10, alpha, 16, 24)


def test_where_there_is_no_place_for_exif(encode: Callable[..., bytes]) -> None:
    bare = deep(12, False, Metadata())
    for content in (bare, b"no AVIF at all, but long enough", encode(Image.new("L", (8, 8)), "AVIF")):
        with pytest.raises(OutputError):
            with_exif(content, block("x"))
