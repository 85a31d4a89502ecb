"""Threads that wait for each other sleep early, unless the user has chosen otherwise."""

import os
import subprocess
import sys

import pytest

from esc_cli.engine.waiting import FEW_SPINS, POLICY, SPINS, let_threads_sleep


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, {SPINS: FEW_SPINS}),
        ({SPINS: "7"}, {SPINS: "7"}),
        ({POLICY: "active"}, {POLICY: "active"}),
    ],
)
def test_the_user_s_own_choice_counts(chosen: dict[str, str], expected: dict[str, str]) -> None:
    let_threads_sleep(chosen)
    assert chosen == expected


def test_the_command_decides_before_torch_is_loaded() -> None:
    code = (
        "import os, sys\nfrom esc_cli.cli import main\nassert 'torch' not in sys.modules\n"
        "sys.argv = ['esc-upscale', '--version']\n"
        "try:\n    main.main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"assert os.environ['{SPINS}'] == '{FEW_SPINS}'"
    )
    free = {name: value for name, value in os.environ.items() if name not in (SPINS, POLICY)}
    subprocess.run([sys.executable, "-c", code], check=True, env=free, stdout=subprocess.DEVNULL)
