"""Choose how threads wait for each other, before torch is loaded. Nothing here imports torch."""

from collections.abc import MutableMapping

SPINS = "GOMP_SPINCOUNT"
"""Environment variable with the number of loops that a waiting thread makes before it sleeps.

Source: the manual of GCC's libgomp, the OpenMP library in torch's wheels for Linux.
"""

POLICY = "OMP_WAIT_POLICY"
"""Environment variable of the OpenMP standard, from which libgomp derives the number of loops."""

FEW_SPINS = "3000"
"""Loops that take microseconds. libgomp's default of 300,000 takes milliseconds.

A waiting thread that loops keeps the core that the thread it waits for may need. ESC x2 in bfloat16 with two
threads on two cores, while other processes kept some of them busy, milliseconds (medians of 3 to 10):

                   no other process       one                   two
    loops          64x64   128x128        64x64   128x128       64x64   128x128
    300,000        118     418            372     1,306         708     1,415
    3,000          121     403            357     1,001         357     1,050
    1,000          129     432            266       873         262       842
"""


def let_threads_sleep(environment: MutableMapping[str, str]) -> None:
    """Make threads that wait for each other sleep early, unless the user has chosen how they wait.

    Args:
        environment: The environment variables of this process, which it hands on to the ones that it starts.
    """
    if POLICY not in environment:
        environment.setdefault(SPINS, FEW_SPINS)
