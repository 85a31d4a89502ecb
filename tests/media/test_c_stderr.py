import subprocess
import sys
import threading

import pytest

from esc_cli.media.c_stderr import quiet_c_libraries

WRITE = """
import ctypes, sys
from esc_cli.media.c_stderr import quiet_c_libraries
write, flush = ctypes.CDLL(None).perror, ctypes.CDLL(None).fflush
write(b"before")
with quiet_c_libraries():
    write(b"inside")
    with quiet_c_libraries():
        write(b"nested")
    write(b"still inside")
    print("from Python", file=sys.stderr, flush=True)
write(b"after")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="C's stderr is changed only on Linux")
def test_only_the_libraries_are_silenced_and_only_inside() -> None:
    lines = subprocess.run(
        [sys.executable, "-c", WRITE], capture_output=True, check=True, text=True
    ).stderr.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["before", "from Python", "after"]


def test_threads_may_overlap() -> None:
    def enter() -> None:
        for _ in range(200):
            with quiet_c_libraries():
                pass

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.stderr.flush()
