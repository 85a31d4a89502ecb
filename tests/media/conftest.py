"""Make pictures for the tests, with Pillow or byte by byte."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image, ImageCms

from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.picture import Picture

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """Return a function that encodes an image with Pillow instead of this program."""

    def encode(image: Image.Image, format: str, **options: Any) -> bytes:
        file = io.BytesIO()
        image.save(file, format, **options)
        return file.getvalue()

    return encode


@pytest.fixture
def make_png() -> Callable[..., bytes]:
    """Return a function that builds a PNG chunk by chunk.

    Pillow cannot write 16-bit color or EXIF after the pixels.
    """

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    def make_png(
        size: tuple[int, int],
        depth: int,
        color_type: int,
        rows: list[bytes],
        before: dict[bytes, bytes] | None = None,
        after: dict[bytes, bytes] | None = None,
    ) -> bytes:
        height, width = size
        header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
        pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
        chunks = [(b"IHDR", header), *(before or {}).items(), (b"IDAT", pixels), *(after or {}).items()]
        body = b"".join(chunk(name, data) for name, data in [*chunks, (b"IEND", b"")])
        return b"\x89PNG\r\n\x1a\n" + body

    return make_png


@pytest.fixture
def make_tiff() -> Callable[..., bytes]:
    """Return a function that builds an uncompressed TIFF of one strip, for kinds that Pillow does not write.

    Source: TIFF 6.0.
    """

    def make_tiff(pixels: npt.NDArray[Any], photometric: int, tags: dict[int, Any] | None = None) -> bytes:
        """Encode an array of shape (H, W, C), with the type and the byte order that the array has."""
        height, width, channels = pixels.shape
        order = ">" if pixels.dtype.byteorder == ">" else "<"
        fields: dict[int, Any] = {
            256: width,
            257: height,
            258: (8 * pixels.dtype.itemsize,) * channels,
            262: photometric,
            273: 8,  # the pixels follow the header
            277: channels,
            278: height,
            279: pixels.nbytes,
            339: ({"u": 1, "i": 2, "f": 3}[pixels.dtype.kind],) * channels,
        } | (tags or {})
        directory, behind = struct.pack(f"{order}H", len(fields)), b""
        end = 8 + pixels.nbytes + 2 + 12 * len(fields) + 4
        for tag, value in sorted(fields.items()):
            values = value if isinstance(value, tuple) else (value,)
            kind, letter = (4, "I") if tag in (273, 279) else (3, "H")
            data = struct.pack(f"{order}{len(values)}{letter}", *values)
            place = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(f"{order}I", end + len(behind))
            behind += data if len(data) > 4 else b""
            directory += struct.pack(f"{order}HHI", tag, kind, len(values)) + place
        mark = b"II" if order == "<" else b"MM"
        header = mark + struct.pack(f"{order}HI", 42, 8 + pixels.nbytes)
        return header + pixels.tobytes() + directory + bytes(4) + behind

    return make_tiff


@pytest.fixture
def make_picture() -> Callable[..., Picture]:
    """Return a function that makes a picture of smooth noise, in which lossy formats lose little."""

    def make_picture(
        height: int = 24,
        width: int = 40,
        *,
        gray: bool = False,
        alpha: bool = False,
        metadata: Metadata | None = None,
        format: str = "PNG",
    ) -> Picture:
        generator = torch.Generator().manual_seed(height * width)
        coarse = torch.rand((1, 1 if gray else 3, 4, 4), generator=generator)
        smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear", antialias=True)
        color = (smooth * 255).to(torch.uint8).expand(-1, 3, -1, -1).contiguous()
        ramp = torch.linspace(0, 255, width).to(torch.uint8).expand(1, 1, height, width).contiguous()
        return Picture(color, ramp if alpha else None, gray, metadata or Metadata(), format)

    return make_picture


@pytest.fixture
def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture
def red_ink_profile() -> bytes:
    """Return a CMYK profile (ICC.1:2001, 6.5.9, lut8Type) that shows the first ink as red, not as cyan."""
    grid = np.indices((2, 2, 2, 2)).reshape(4, 16).T  # C M Y K, each 0 or 1; the last one varies fastest
    white, red, black = (255, 128, 128), (136, 208, 195), (0, 128, 128)  # L* a* b*, 8 bits
    table = [black if key else red if cyan else white for cyan, _magenta, _yellow, key in grid]
    ramp = bytes(range(256))
    identity = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + identity + ramp * 4 + bytes(sum(table, ())) + ramp * 3
    white_point = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)  # D50
    tags = {b"A2B0": lut, b"wtpt": white_point}
    offset = 128 + 4 + 12 * len(tags)
    directory, data = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        directory += name + struct.pack(">II", offset + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    header = struct.pack(
        ">I4sI4s4s4s12s4s", offset + len(data), b"", 0x02400000, b"prtr", b"CMYK", b"Lab ", bytes(12), b"acsp"
    )
    header += bytes(68 - len(header)) + struct.pack(">3i", 63190, 65536, 54061)
    return header + bytes(128 - len(header)) + directory + data
