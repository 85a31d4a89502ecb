import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from esc_cli.errors import OutputError
from esc_cli.media.formats.avif import with_exif
from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.picture import Picture
from esc_cli.media.pixels.orientation import turned
from esc_cli.media.probe import probe
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


# The crop


def boxes(content: bytes) -> dict[bytes, bytes]:
    """Return the content of each box by its name."""
    found, position = {}, 0
    while position < len(content):
        size, name = struct.unpack_from(">I4s", content, position)
        found[name] = content[position + 8 : position + size]
        position += size
    return found


def joined(boxes: dict[bytes, bytes]) -> bytes:
    return b"".join(box(name, content) for name, content in boxes.items())


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def with_properties(avif: bytes, *added: bytes) -> bytes:
    """Add properties to the only item of a file that Pillow or libheif wrote.

    Source: ISO/IEC 14496-12, 8.11.3 (iloc, here with 32-bit offsets, perhaps in a base offset) and 8.11.14
    (ipco, ipma).
    """
    file = boxes(avif)
    version, meta = file[b"meta"][:4], boxes(file[b"meta"][4:])
    properties = boxes(meta[b"iprp"])
    known = max(use & 0x7F for use in properties[b"ipma"][11:])
    uses = bytearray(properties[b"ipma"])
    uses[10] += len(added)
    uses += bytes(0x80 | known + number for number in range(1, len(added) + 1))
    properties |= {b"ipma": bytes(uses), b"ipco": properties[b"ipco"] + b"".join(added)}
    places = bytearray(meta[b"iloc"])
    place = 12 if places[5] == 0x40 else 14
    (offset,) = struct.unpack_from(">I", places, place)
    meta[b"iprp"] = joined(properties)
    grown = len(added) + sum(map(len, added))
    struct.pack_into(">I", places, place, offset + grown)
    meta[b"iloc"] = bytes(places)
    return joined(file | {b"meta": version + joined(meta)})


def clap(width: int, height: int, right: float, down: float) -> bytes:
    """Make a crop whose middle is moved by some pixels. Source: ISO/IEC 14496-12, 12.1.4."""
    moved = int(2 * right), 2, int(2 * down), 2
    return box(b"clap", struct.pack(">4I", width, 1, height, 1) + struct.pack(">iIiI", *moved))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(
    "turns",
    [
        [],
        *([box(b"irot", bytes([quarters]))] for quarters in (1, 2, 3)),
        *([box(b"imir", bytes([axis]))] for axis in (0, 1)),
        *([box(b"irot", bytes([quarters])), box(b"imir", b"\0")] for quarters in (1, 3)),
        *([box(b"irot", bytes([quarters])), box(b"imir", b"\1")] for quarters in (1, 3)),
    ],
)
def test_a_crop_comes_before_rotation_and_mirroring(
    mode: str, turns: list[bytes], encode: Callable[..., bytes], scene: Image.Image
) -> None:
    whole = encode(scene.convert(mode), "AVIF", quality=95, subsampling="4:4:4" if mode == "RGB" else "4:0:0")
    with Image.open(io.BytesIO(with_properties(whole, *turns))) as image:  # Pillow knows all but the crop
        stored, orientation = np.atleast_3d(np.asarray(image)), image.getexif().get(274, 1)
    right, down, width, height = 7, -11, 100, 80
    left, top = 120 + right - width // 2, 96 + down - height // 2
    expected = turned(stored[top : top + height, left : left + width], orientation)
    cropped = with_properties(whole, clap(width, height, right, down), *turns)
    told, picture = probe(cropped), read_file(cropped).first
    assert (told.height, told.width) == (picture.height, picture.width) == expected.shape[:2]
    assert picture.gray == told.gray == (mode == "L")
    found = picture.color[0].numpy().transpose(1, 2, 0)[..., : expected.shape[2]]
    assert np.abs(found.astype(int) - expected).max() <= 3


def test_a_crop_of_more_than_8_bits() -> None:
    cropped = with_properties(deep(10, False, Metadata()), clap(10, 6, 0, 0))
    told, picture = probe(cropped), read_file(cropped).first
    assert (told.height, told.width, told.depth_bits) == (picture.height, picture.width, 10) == (6, 10, 10)


def test_the_crop_of_an_animation_is_said_to_be_ignored(encode: Callable[..., bytes]) -> None:
    frames = [Image.new("RGB", (24, 16), color) for color in ("red", "blue")]
    animation = encode(frames[0], "AVIF", save_all=True, append_images=frames[1:])
    assert probe(animation).notes == ()
    cropped = with_properties(animation, clap(10, 6, 0, 0))
    assert probe(cropped).notes == ("the crop of the animation is not applied",)


@pytest.mark.parametrize("crop", [(240, 192, 0, 0), (0, 0, 0, 0), (300, 300, 0, 0), (240, 192, 500, 500)])
def test_a_crop_that_takes_nothing_or_everything_away(
    crop: tuple[int, int, int, int], encode: Callable[..., bytes], scene: Image.Image
) -> None:
    whole = encode(scene, "AVIF")
    cropped = with_properties(whole, clap(*crop))
    assert (probe(cropped).height, probe(cropped).width) == (192, 240)
    assert (read_file(cropped).first.color == read_file(whole).first.color).all()


def test_alpha_that_does_not_state_its_size(encode: Callable[..., bytes], srgb_profile: bytes) -> None:
    """libavif refuses it in its strict mode, in which Pillow uses it; browsers read it."""
    image = Image.effect_noise((48, 32), 50).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((48, 32)))
    whole = encode(image, "AVIF", exif=block("x"), xmp=b"<x/>", icc_profile=srgb_profile)
    meta = boxes(boxes(whole)[b"meta"][4:])
    uses = boxes(meta[b"iprp"])[b"ipma"]
    of_alpha = uses.index(
        bytes((0, 2)), 8
    )  # the second item: its number, the number of properties, and those
    without = bytearray(uses)
    without[of_alpha + 3] = 0
    lenient = whole.replace(uses, bytes(without))
    with pytest.raises(OSError, match="cannot identify"):
        Image.open(io.BytesIO(lenient))
    found, expected = read_file(lenient).first, read_file(whole).first
    assert probe(lenient) == probe(whole)
    assert (found.color - 0.0 - expected.color).abs().max() <= 3
    assert found.alpha is not None
    assert expected.alpha is not None
    assert (found.alpha - 0.0 - expected.alpha).abs().max() <= 3
    assert found.metadata == expected.metadata
