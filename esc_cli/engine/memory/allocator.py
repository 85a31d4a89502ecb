"""How the C library hands out memory on the CPU."""

import ctypes
import sys
from functools import cache

KEPT_BLOCK_BYTES = 64 * 2**20
"""What a step works on in strips of 1920 columns takes less, and a feature map of a large picture more."""

KEPT_BYTES = 128 * 2**20
"""Free memory at the end of the heap that the process keeps."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


@cache
def keep_blocks() -> None:
    """Let the process keep the memory of blocks up to ``KEPT_BLOCK_BYTES`` when they are freed.

    glibc gives back to the system what is larger than 32 MB, and the next time takes pages that must be
    zeroed. In strips that is so at every step: ESC x4 in float32 on two cores took 44 s a megapixel at 1920
    columns where it took 38 at 960, and 52 at 3840. With this and ``streaming.MOST_COLUMNS`` it is
    about the same everywhere, for 15 MB more at 960x540.

    Source: mallopt(3). Where there is none (musl, macOS, Windows), nothing is done.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, KEPT_BLOCK_BYTES)
            mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
