"""Test that the estimates of the memory for reading and writing are on the safe side.

``.ci/picture_memory.py`` measures each in a fresh process. Here, one process of their own measures all,
and its peak is reset every time.
"""

import ctypes
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch

from esc_cli.media.formats.registry import FORMATS, WRITTEN
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.picture import Picture, PictureFile
from esc_cli.media.read import read_file
from esc_cli.media.write import encode_file

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
SIDE = 1200
ALLOWANCE_BYTES = 8 * 2**20
"""Memory that does not grow with the picture, such as a library that is loaded."""


def now_and_peak_bytes() -> tuple[int, int]:
    text = _STATUS.read_text()
    now, peak = (re.search(rf"{key}:\s+(\d+)", text) for key in ("VmRSS", "VmHWM"))
    assert now is not None
    assert peak is not None
    return int(now[1]) * 1024, int(peak[1]) * 1024


def peak_of(work: Callable[[], object]) -> int:
    """Return the memory that some work takes beyond what was there before. Source: proc_pid_clear_refs(5)."""
    ctypes.CDLL(None).malloc_trim(0)  # memory that is kept for later would be used again
    _RESET.write_text("5")
    before, _ = now_and_peak_bytes()
    result = work()
    peak = now_and_peak_bytes()[1] - before
    del result
    return peak


def drawn(dtype: torch.dtype, side: int = SIDE) -> Picture:
    down, across = np.mgrid[:side, :side].astype(np.float32) / side
    noise = np.random.default_rng(0).normal(0, 0.01, (3, side, side)).astype(np.float32)
    shares = np.stack([0.5 + 0.4 * np.sin(8 * down + 5 * across + phase) for phase in range(3)]) + noise
    bits, largest = {torch.uint8: (8, 255), torch.uint16: (16, 65_535), torch.float32: (32, 1)}[dtype]
    color = torch.from_numpy(shares.clip(0, 1) * largest).to(dtype)[None]
    return Picture(color, None, False, Metadata(), "PNG", depth_bits=bits)


def measured(name: str, dtype: torch.dtype) -> tuple[int, int, int]:
    """Return the bytes of a picture's pixels, of its writing beyond them, and of its reading."""
    format = FORMATS[name]
    read_file(encode_file(PictureFile((drawn(dtype, 100),)), format))  # it loads the libraries
    file = PictureFile((drawn(dtype),))
    encoded: list[bytes] = []
    writing = peak_of(lambda: encoded.append(encode_file(file, format)))
    reading = peak_of(lambda: read_file(encoded[0]))
    return file.first.color.numel() * file.first.color.element_size(), writing, reading


@pytest.fixture(scope="module")
def fresh_process() -> Iterator[ProcessPoolExecutor]:
    """Give a process in which nothing but the measured work takes memory, and nothing of other tests."""
    with pytest.MonkeyPatch.context() as patch, ProcessPoolExecutor(1, get_context("spawn")) as process:
        patch.syspath_prepend(Path(__file__).parents[3])  # the process imports this module by its name
        yield process


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="only glibc has malloc_trim")
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((one.name, torch.float32 if one.scene_linear else torch.uint8) for one in WRITTEN),
        ("PNG", torch.uint16),
        ("TIFF", torch.uint16),
        ("TIFF", torch.float32),
    ],
)
def test_reading_and_writing_take_no_more_than_is_estimated(
    fresh_process: ProcessPoolExecutor, name: str, dtype: torch.dtype
) -> None:
    format = FORMATS[name]
    if not format.is_installed():
        pytest.skip(f"{name} is not installed")
    pixels, writing, reading = fresh_process.submit(measured, name, dtype).result()
    assert pixels + writing <= format.writing_memory * pixels + ALLOWANCE_BYTES
    assert reading <= format.reading_memory * pixels + ALLOWANCE_BYTES
