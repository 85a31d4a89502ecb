"""Tune the C library's memory allocator on the CPU."""

import ctypes
import sys
from functools import cache

KEPT_BLOCK_BYTES = 64 * 2**20
"""Largest freed block whose memory the process keeps.

A step on strips of 1920 columns works on smaller blocks, and a feature map of a large picture is larger.
"""

KEPT_BYTES = 128 * 2**20
"""Free memory at the end of the heap that the process keeps."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


@cache
def keep_blocks() -> None:
    """Let the process keep the memory of blocks up to ``KEPT_BLOCK_BYTES`` when they are freed.

    By default glibc returns blocks larger than 32 MB to the system, and the next block takes pages that must
    be zeroed. With strips, this happens at every step: ESC x4 in float32 on two cores took 44 s per megapixel
    at 1920 columns, 38 s at 960 and 52 s at 3840. With this function and ``streaming.MOST_COLUMNS``, the time
    is about the same for every width, for 15 MB more at 960x540.

    Source: mallopt(3). On systems without it (musl, macOS, Windows), this function does nothing.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, KEPT_BLOCK_BYTES)
            mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
