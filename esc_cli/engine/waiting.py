"""Choose how threads wait for each other, before torch is loaded. Nothing here imports torch."""

from collections.abc import MutableMapping

SPINS = "GOMP_SPINCOUNT"
"""Environment variable with the number of loops that a waiting thread makes before it sleeps.

Source: the manual of GCC's libgomp, the OpenMP library in torch's wheels for Linux.
"""

POLICY = "OMP_WAIT_POLICY"
"""Environment variable of the OpenMP standard, from which libgomp derives the number of loops."""

FEW_SPINS = "1000"
"""Loops that take microseconds. libgomp's default of 300,000 takes milliseconds.

A waiting thread that loops keeps the core that the thread it waits for may need. On two cores that four other
processes kept busy, ESC-light x4 took 4,189 and 4,741 ms for 64x64 with the default, 1,264 and 1,326 with
10,000 loops, 665 and 698 with 1,000, and 812 and 726 without any (means of 10, in turns).
"""


def let_threads_sleep(environment: MutableMapping[str, str]) -> None:
    """Make threads that wait for each other sleep early, unless the user has chosen how they wait.

    Args:
        environment: The environment variables of this process, which it hands on to the ones that it starts.
    """
    if POLICY not in environment:
        environment.setdefault(SPINS, FEW_SPINS)
