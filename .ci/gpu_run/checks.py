"""Stages that check the machine, the pictures, the engine, the gradients and the tests."""

import platform
import subprocess
import sys
import time
from pathlib import Path

import torch
from measures import reason, relative_error, seconds_of
from safetensors.torch import load_file
from settings import HELD_OUT, ROOT, Settings, Told
from torch import Tensor

from esc_cli.engine.upscaler import Upscaler
from esc_cli.errors import EscError
from esc_cli.evaluation.benchmark.measurement import deviation
from esc_cli.evaluation.benchmark.sample_picture import cut_to, sample_picture
from esc_cli.networks.attention.position_bias import TableBias
from esc_cli.networks.attention.windows import ATTENTION_BACKENDS
from esc_cli.training.pairs import find_files, load_pairs, split_by_source

LEAST_PSNR = {"float32": 80.0, "float16": 55.0, "bfloat16": 50.0}
"""Minimum PSNR of ESC x4 against float64, in dB. The CPU has 149, 82 and 68; rounding to 8 bits gives 59."""

LARGEST_STRIP_ERROR = 1e-4
LARGEST_GRADIENT_ERROR = {"float32": 1e-2, "bfloat16": 5e-2}
"""Maximum relative errors. On the CPU they are 3e-7 and 5e-3; a wrong kernel has an error of about 1."""

WINDOW_PX, HEADS, CHANNELS = 32, 4, 16
"""Window side, heads and channels per head of ESC's attention."""

_WINDOWS_CHECKED = 4

CUDA_TESTS = (
    "tests/engine/test_tf32.py",
    "tests/engine/test_transfer.py",
    "tests/engine/executors/test_cuda_graphs.py",
    "tests/engine/test_attention_choice.py",
    "tests/networks/attention/test_flash.py",
    "tests/evaluation/benchmark/test_peak_memory.py",
    "tests/training/test_acceleration.py",
)
"""Files with tests that need CUDA and compile nothing."""


def environment(settings: Settings) -> Told:
    """Report the versions, and how fast the device copies and multiplies."""
    device = torch.device(settings.device)
    yield {"python": platform.python_version(), "torch": torch.__version__, "cuda": torch.version.cuda}
    if device.type == "cuda":
        yield {
            "device": torch.cuda.get_device_name(device),
            "capability": torch.cuda.get_device_capability(device),
        }
    side, numbers = (8192, 2**30) if device.type != "cpu" else (256, 2**22)
    source = torch.ones(numbers, dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    seconds = seconds_of(lambda: target.copy_(source), device)
    yield {"copy_gb_per_s": round(2e-9 * source.nbytes / seconds, 1)}
    left, right = torch.randn(2, side, side, device=device, dtype=torch.bfloat16)
    yield {"product_tflop_per_s": round(2e-12 * side**3 / seconds_of(lambda: left @ right, device), 3)}


def decoding(settings: Settings) -> Told:
    """Load all training pictures onto the device, and measure the time."""
    begun = time.perf_counter()
    pictures = Path(settings.pictures)
    split = split_by_source(pictures, HELD_OUT)
    files = find_files(split.training, pictures)
    pairs = load_pairs(files, 2, settings.patch_px, torch.device(settings.device))
    yield {"pictures": len(pairs.views), "held_out": len(split.validation)}
    yield {"decoding_s": round(time.perf_counter() - begun, 2), "threads": torch.get_num_threads()}


def exactness(settings: Settings) -> Told:
    """Compare ESC x4 with a precomputed float64 result, and strips with the whole picture."""
    exact = load_file(settings.exact)
    for precision, least in LEAST_PSNR.items():
        try:
            found = deviation(_upscaled(settings, exact["low"], precision), exact["high"])
        except EscError as error:
            yield {"check": precision, "refused": error.message}
            continue
        yield {
            "check": precision,
            "ok": found.psnr >= least,
            "psnr": round(found.psnr, 2),
            "largest": found.largest,
        }
    low = cut_to(sample_picture(), settings.height, settings.width)
    strips, whole = (_upscaled(settings, low, "float32", tiling) for tiling in ("exact", "none"))
    largest = float((strips - whole).abs().max())
    yield {"check": "strips", "ok": largest <= LARGEST_STRIP_ERROR, "largest": largest}


def _upscaled(settings: Settings, low: Tensor, precision: str, tiling: str = "none") -> Tensor:
    options = {"device": settings.device, "precision": precision, "tiling": tiling, "runtime": "torch"}
    return Upscaler("esc", scale=4, **options)(low)


def gradients(settings: Settings) -> Told:
    """Compare the gradients of fused attention, mainly that of the bias, with plain attention in float64."""
    exact = _gradients("naive", settings, torch.float64)
    for precision, largest in LARGEST_GRADIENT_ERROR.items():
        try:
            found = _gradients("sdpa", settings, getattr(torch, precision))
        except (RuntimeError, EscError) as error:
            yield {"check": precision, "ok": False, "failed": reason(error)}
            continue
        errors = {name: relative_error(found[name], exact[name]) for name in exact}
        yield {"check": precision, "ok": all(one <= largest for one in errors.values()), **errors}


def _gradients(name: str, settings: Settings, dtype: torch.dtype) -> dict[str, Tensor]:
    """Run attention forward and backward, with the same inputs for every device and dtype."""
    random = torch.Generator().manual_seed(0)
    shape = (_WINDOWS_CHECKED, HEADS, WINDOW_PX**2, CHANNELS)
    query, key, value, weights = (torch.randn(shape, generator=random).bfloat16() for _ in range(4))
    table = 0.5 * torch.randn(HEADS, (2 * WINDOW_PX - 1) ** 2, generator=random).bfloat16()
    wide = torch.promote_types(dtype, torch.float32)  # the table is a weight, which autocast does not convert
    leaves = [one.to(settings.device, dtype).requires_grad_() for one in (query, key, value)]
    leaves.append(table.to(settings.device, wide).requires_grad_())
    result = ATTENTION_BACKENDS[name].attend(*leaves[:3], TableBias(leaves[3], WINDOW_PX))
    (result * weights.to(settings.device, dtype)).sum().backward()
    names = ("query", "key", "value", "bias")
    return {one: leaf.grad for one, leaf in zip(names, leaves, strict=True) if leaf.grad is not None}


def tests(settings: Settings) -> Told:
    """Run the tests that need CUDA, except those that compile."""
    options = ["-q", "-p", "no:cacheprovider", "-m", "cuda"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *CUDA_TESTS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    sys.stderr.write(ended.stdout + ended.stderr)
    lines = [line for line in ended.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    yield {
        "check": "pytest",
        "ok": ended.returncode == 0,
        "failed": lines[:10],
        "last": ended.stdout[-200:].strip(),
    }
