"""Let the system run other programs first."""

import os
import sys

MOST_NICE = 19
"""Highest niceness. Source: POSIX, nice(), with NZERO of 20 as on all usual systems."""


def be_nice(niceness: int | None) -> str | None:
    """Raise the niceness of this process to a value, unless it is that high already.

    On Linux, each thread has its own niceness, and threads take over that of the thread that starts them.
    Therefore, this must be called before other threads are started.

    Args:
        niceness: Lowest niceness, 0 to 19. None means that nothing is changed.

    Returns:
        A sentence that says why nothing happens, or None.
    """
    if niceness is None:
        return None
    if sys.platform == "win32":
        return "--nice has no effect on Windows; choose the priority of esc-upscale in the task manager"
    os.nice(max(0, niceness - os.nice(0)))
    return None
