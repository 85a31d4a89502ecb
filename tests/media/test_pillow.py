import io
import logging
import struct
import threading
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image

from esc_cli.errors import InputError
from esc_cli.media.opening import opened
from esc_cli.media.pillow import check_pixels, quiet_pillow, translated_errors
from esc_cli.media.probe import probe


def encoded(format: str, width: int = 40, height: int = 30) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (width, height)).save(content, format)
    return content.getvalue()


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])
def test_limit_is_the_callers(format: str) -> None:
    content = encoded(format)
    with opened(content, 40 * 30) as file:
        assert file.image.size == (40, 30)
    for limit in (40 * 30 - 1, 10):  # Pillow's own limit refuses the second one
        with pytest.raises(InputError) as caught, opened(content, limit):
            pass
        assert caught.value.message == "the data has 1 megapixels, more than the limit"
        assert "--max-megapixels 1" in str(caught.value.hint)


def test_reader_with_a_small_limit_does_not_see_that_of_another() -> None:
    content = encoded("PNG")
    with quiet_pillow(10**9), pytest.raises(InputError, match="more than the limit"), opened(content, 1199):
        pass


def test_limit_is_the_largest_of_the_readers_and_then_what_it_was() -> None:
    before = Image.MAX_IMAGE_PIXELS
    with quiet_pillow(1001):
        assert Image.MAX_IMAGE_PIXELS == 501
        with quiet_pillow(4000):
            assert Image.MAX_IMAGE_PIXELS == 2000
        assert Image.MAX_IMAGE_PIXELS == 501
    assert before == Image.MAX_IMAGE_PIXELS


def test_megapixels_to_allow_are_rounded_up() -> None:
    check_pixels(10**6, "x", 10**6)
    with pytest.raises(InputError) as caught:
        check_pixels(10**6 + 1, "x", 10**6)
    assert str(caught.value.hint).endswith("--max-megapixels 2")


def test_bomb_takes_no_memory(shared: Path) -> None:
    start = time.perf_counter()
    bomb = shared / "corpus" / "bad_bomb.gif"
    with pytest.raises(InputError, match="4365 megapixels, more than the limit") as caught, opened(bomb):
        pass
    assert str(caught.value.hint).endswith("--max-megapixels 4365")
    assert time.perf_counter() - start < 1


def test_nothing_is_logged_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    """Python prints log messages that no handler takes, and Pillow logs damage that it finds in a TIFF."""
    logger = logging.getLogger("PIL.TiffImagePlugin")
    handlers = logging.getLogger().handlers[:]
    logging.getLogger().handlers.clear()
    try:
        with quiet_pillow():
            logger.error("noise")
        assert capfd.readouterr().err == ""
        logger.error("noise")
        assert capfd.readouterr().err == "noise\n"
    finally:
        logging.getLogger().handlers.extend(handlers)


def test_readers_in_threads_leave_everything_as_it_was() -> None:
    before = Image.MAX_IMAGE_PIXELS, logging.getLogger("PIL").handlers[:]
    content = encoded("PNG")

    def read(limit: int) -> None:
        for _ in range(30):
            with opened(content, limit) as file, translated_errors("x"):
                file.image.load()

    threads = [threading.Thread(target=read, args=(1200 + number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (Image.MAX_IMAGE_PIXELS, logging.getLogger("PIL").handlers) == before


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG of one pixel, with these chunks before the pixel data."""
    plain = encoded("PNG", 1, 1)
    made = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return plain[:33] + b"".join(made) + plain[33:]


def test_text_of_some_megabytes_is_read_and_more_is_said() -> None:
    workflow = b"workflow\0\0" + zlib.compress(b"x" * 3_000_000)
    with opened(png_with((b"zTXt", workflow))) as file:
        assert len(file.image.info["workflow"]) == 3_000_000
    bomb = b"bomb\0\0" + zlib.compress(bytes(70_000_000))
    with (
        pytest.raises(InputError, match="more than 64 MB of text or color profile"),
        opened(png_with((b"zTXt", bomb))),
    ):
        pass


def test_a_library_s_assertion_is_damage() -> None:
    palette = bytearray(png_with())
    palette[25] = 3  # the header states a palette, but there is none
    palette[29:33] = struct.pack(">I", zlib.crc32(palette[12:29]))
    with pytest.raises(InputError, match=r"the data is damaged or incomplete$"):
        probe(bytes(palette))
