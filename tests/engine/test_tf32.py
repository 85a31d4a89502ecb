import subprocess
import sys

import pytest
import torch
from torch.backends import cudnn
from torch.nn import functional as F

from esc_cli.engine.tf32 import without_tf32

with_setting_of_its_own = pytest.mark.skipif(
    not hasattr(cudnn, "conv"), reason="this torch has one setting for all of cuDNN"
)

SCRIPT = """
import torch
from torch.backends import cudnn
from torch.backends.cuda import matmul
from esc_cli.engine.tf32 import without_tf32

def state():
    return torch.backends.fp32_precision, cudnn.conv.fp32_precision, matmul.fp32_precision

def check():
    before = state()
    with without_tf32():
        inside = state()
    assert inside == (before[0], "ieee", before[2]), inside
    assert state() == before, (before, state())

check()
torch.set_float32_matmul_precision("high")
check()
torch.set_float32_matmul_precision("highest")
torch.backends.fp32_precision = "ieee"
check()
torch.backends.fp32_precision = "tf32"
check()
"""


@with_setting_of_its_own
def test_only_convolutions_are_touched_whatever_the_program_set() -> None:
    """The check runs in a separate process, because not all of torch's settings can be restored."""
    subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT], check=True)


@with_setting_of_its_own
def test_uses_that_overlap_share_the_setting_and_the_last_puts_it_back() -> None:
    before = cudnn.conv.fp32_precision
    first, second = without_tf32(), without_tf32()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert cudnn.conv.fp32_precision == "ieee"
    second.__exit__(None, None, None)
    assert cudnn.conv.fp32_precision == before


@pytest.mark.cuda
def test_convolutions_are_as_exact_as_float32() -> None:
    picture, kernel = torch.rand(1, 64, 64, 64, device="cuda"), torch.rand(64, 64, 3, 3, device="cuda")
    exact = F.conv2d(picture.double(), kernel.double())
    with without_tf32():
        error = (F.conv2d(picture, kernel).double() - exact).abs().max() / exact.abs().max()
    assert error < 2e-6  # TF32 has errors of 1e-4 and more
