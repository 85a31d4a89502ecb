"""Float32 that is float32: no TF32 in convolutions."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch.backends import cudnn


@contextmanager
def without_tf32() -> Iterator[None]:
    """Make cuDNN compute float32 convolutions in float32 for a while.

    TF32 keeps 10 bits of the factors, no more than float16, and is torch's default for convolutions; for
    matrix products it is not, and who turns it on there (``torch.set_float32_matmul_precision``) gets it.

    Where torch has the setting of its own for convolutions (since 2.9) only that is touched:
    ``cudnn.flags`` reads settings that torch refuses to give when a program uses the newer ones too
    (pytorch issue 179445).
    """
    if not hasattr(cudnn, "conv"):
        with cudnn.flags(enabled=cudnn.enabled, benchmark=cudnn.benchmark, allow_tf32=False):
            yield
        return
    before = cudnn.conv.fp32_precision
    cudnn.conv.fp32_precision = "ieee"
    try:
        yield
    finally:
        cudnn.conv.fp32_precision = before
