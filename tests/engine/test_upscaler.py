import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.engine.upscaler import Upscaler
from esc_cli.errors import DeviceError, InputError, OutOfMemoryError, UsageError
from esc_cli.networks.padding import pad_to_multiple

Make = Callable[..., Checkpoint]
Pictures = Callable[..., Tensor]

PIXELS = [torch.uint8, torch.uint16, torch.float32, torch.float16, torch.bfloat16, torch.float64]


def enlarged(low: Tensor, scale: int) -> Tensor:
    return low.repeat_interleave(scale, -2).repeat_interleave(scale, -1)


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 3),
    st.sampled_from(["none", "auto", "exact", "overlap"]),
)
def test_any_size_comes_out_pixel_for_pixel(
    nearest: Make, picture: Pictures, height: int, width: int, batch: int, tiling: str
) -> None:
    sizes = {"tile_px": 16, "overlap_px": 8} if tiling == "overlap" else {}
    upscaler = Upscaler(nearest(2, window=8), device="cpu", tiling=tiling, **sizes)
    low = picture(height, width, torch.uint8, batch)
    assert torch.equal(upscaler(low), enlarged(low, 2))


@pytest.mark.parametrize("dtype", PIXELS)
def test_every_pixel_type_comes_back_as_itself(picture: Pictures, dtype: torch.dtype) -> None:
    low = picture(9, 20, dtype)
    before = low.clone()
    high = Upscaler("nearest", scale=3, device="cpu", tiling="overlap", tile_px=8, overlap_px=2)(low)
    assert high.dtype == dtype
    assert torch.equal(high, enlarged(low, 3))
    assert torch.equal(low, before)


def test_another_pixel_type_can_be_asked_for(picture: Pictures) -> None:
    low = picture(4, 4)
    high = Upscaler("nearest", scale=2, device="cpu")(low, torch.uint16)
    assert torch.equal(high.to(torch.int32), enlarged(low, 2).to(torch.int32) * 257)


@pytest.mark.parametrize("tiling", ["none", "overlap"])
def test_eight_bits_are_the_rounded_floats(tiny_esc: Checkpoint, picture: Pictures, tiling: str) -> None:
    sizes = {"tile_px": 24, "overlap_px": 8} if tiling == "overlap" else {}
    upscaler = Upscaler(tiny_esc, device="cpu", precision="float32", tiling=tiling, **sizes)
    low = picture(30, 50)
    as_floats = upscaler(low, torch.float32)
    assert torch.equal(upscaler(low), (as_floats * 255).round().to(torch.uint8))


def test_a_whole_picture_is_padded_to_windows_before_the_network(
    tiny_esc: Checkpoint, picture: Pictures
) -> None:
    low = picture(13, 21, torch.float32)
    with torch.inference_mode():
        padded = tiny_esc.network(pad_to_multiple(low, 8))
    high = Upscaler(tiny_esc, device="cpu", tiling="none")(low)
    torch.testing.assert_close(high, padded[..., :26, :42].clamp(0, 1), rtol=0, atol=1e-6)


def test_tiles_of_a_real_network_are_close_to_the_whole(tiny_esc: Checkpoint, picture: Pictures) -> None:
    low = picture(64, 64, torch.float32)
    whole = Upscaler(tiny_esc, device="cpu", tiling="none")(low)
    tiled = Upscaler(tiny_esc, device="cpu", tiling="overlap", tile_px=40, overlap_px=24)(low)
    assert 0 < (whole - tiled).abs().mean() < 0.01


def test_a_large_scale_is_made_of_several_passes(picture: Pictures) -> None:
    upscaler = Upscaler("nearest", scale=12, device="cpu")
    assert (upscaler.scale, upscaler.passes) == (12, (4, 3))
    low = picture(3, 5)
    assert torch.equal(upscaler(low), enlarged(low, 12))


def test_without_a_scale_it_is_four_or_the_model_s_own(nearest: Make) -> None:
    assert Upscaler("nearest", device="cpu").scale == 4
    assert Upscaler(nearest(3), device="cpu").scale == 3


def test_a_checkpoint_of_one_scale_is_repeated(nearest: Make, picture: Pictures) -> None:
    checkpoint = nearest(3)
    assert Upscaler(checkpoint, scale=9, device="cpu")(picture(2, 2)).shape == (1, 3, 18, 18)
    assert checkpoint.network.runs.shapes == [(2, 2), (6, 6)]
    with pytest.raises(UsageError):
        Upscaler(checkpoint, scale=4, device="cpu")


def test_progress_rises_to_the_work_of_all_passes(picture: Pictures) -> None:
    seen: list[tuple[int, int]] = []
    upscaler = Upscaler(
        "nearest", scale=6, device="cpu", tiling="overlap", tile_px=16, overlap_px=4
    )  # fmt: skip
    upscaler(picture(30, 21, batch=2), progress=lambda done, total: seen.append((done, total)))
    total = 2 * 30 * 21 * (1 + 3**2)
    assert {end for _, end in seen} == {total}
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (total, total)


def test_tiles_too_large_for_one_picture_are_not_tried_on_the_next(nearest: Make, picture: Pictures) -> None:
    def fault(call: int, low: Tensor) -> None:
        if low.shape[-1] > 40:
            raise torch.OutOfMemoryError

    checkpoint = nearest(2, window=8, fault=fault)
    upscaler = Upscaler(checkpoint, device="cpu")
    low = picture(100, 100)
    for _ in range(2):
        assert torch.equal(upscaler(low), enlarged(low, 2))
    # The whole picture and tiles of 104, 72 and 48 pixels fail, once each.
    assert checkpoint.network.runs.finished.count(False) == 4


def test_a_way_that_failed_once_is_tried_again_where_there_is_no_other(
    nearest: Make, picture: Pictures
) -> None:
    def fault(call: int, low: Tensor) -> None:
        if call == 1:
            raise torch.OutOfMemoryError

    low = picture(20, 20)
    upscaler = Upscaler(nearest(2, fault=fault), device="cpu", tiling="none")
    with pytest.raises(OutOfMemoryError):
        upscaler(low)
    assert torch.equal(upscaler(low), enlarged(low, 2))


def test_too_little_memory_is_our_error_and_names_the_device(nearest: Make, picture: Pictures) -> None:
    def fault(call: int, low: Tensor) -> None:
        raise torch.OutOfMemoryError

    with pytest.raises(OutOfMemoryError, match="cpu"):
        Upscaler(nearest(2, fault=fault), device="cpu")(picture(50, 50))


def test_a_result_larger_than_memory_is_refused_before_the_work(nearest: Make) -> None:
    checkpoint = nearest(2)
    low = torch.zeros(1, 3, 1, 1, dtype=torch.uint8).expand(1, 3, 2**22, 2**22)
    with pytest.raises(OutOfMemoryError, match="8388608x8388608"):
        Upscaler(checkpoint, device="cpu")(low)
    assert checkpoint.network.runs.shapes == []


def test_overflowing_tiles_are_counted(nearest: Make, picture: Pictures) -> None:
    checkpoint = nearest(2, spoil=lambda high: high if high.dtype == torch.float32 else high * torch.nan)
    upscaler = Upscaler(
        checkpoint, device="cpu", precision="float16", tiling="overlap", tile_px=16, overlap_px=0
    )
    low = picture(32, 32)
    result = upscaler.run(low)
    assert torch.equal(result.high, enlarged(low, 2))
    assert result.overflow_retries == 4
    assert upscaler.run(low[..., :16, :16]).overflow_retries == 1


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_is_near_full(tiny_esc: Checkpoint, picture: Pictures, precision: str) -> None:
    low = picture(20, 20)
    full = Upscaler(tiny_esc, device="cpu", precision="float32")(low)
    half = Upscaler(tiny_esc, device="cpu", precision=precision)(low)  # type: ignore[arg-type]
    assert (full.int() - half.int()).abs().max() <= 4


def test_the_result_is_an_ordinary_tensor(picture: Pictures) -> None:
    high = Upscaler("nearest", scale=2, device="cpu")(picture(4, 4, torch.float32))
    assert not high.is_inference()
    high.mul_(2)


def test_what_it_runs_on_is_told() -> None:
    upscaler = Upscaler("nearest", device="cpu")
    assert (upscaler.device, upscaler.precision) == (torch.device("cpu"), torch.float32)
    assert upscaler.device_reason
    assert upscaler.precision_reason


def test_half_precision_that_was_not_asked_for_is_for_8_bits_alone(
    tiny_esc: Checkpoint, picture: Pictures
) -> None:
    low = picture(20, 20)
    free = Upscaler(tiny_esc, device="cpu")
    asked = Upscaler(tiny_esc, device="cpu", precision="float32")
    assert torch.equal(free(low, torch.uint16), asked(low, torch.uint16))
    assert torch.equal(free(low, torch.float32), asked(low, torch.float32))


def test_what_is_no_picture_and_no_device_is_refused(picture: Pictures) -> None:
    with pytest.raises(InputError):
        Upscaler("nearest", device="cpu")(picture(4, 4)[0])
    with pytest.raises(InputError):
        Upscaler("nearest", device="cpu")(picture(4, 4), torch.int64)
    with pytest.raises(DeviceError):
        Upscaler("nearest", device="cuda:99")
    with pytest.raises(UsageError):
        Upscaler("nearest", device="cpu", tiling="exact", tile_px=64)


PEAK = """
import torch
from esc_cli.engine.upscaler import Upscaler

def status_bytes(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(key))

upscaler = Upscaler("nearest", scale=4, device="cpu", tiling="overlap", tile_px=128, overlap_px=32)
upscaler(torch.zeros(1, 3, 300, 300, dtype=torch.uint8))
low = torch.zeros(1, 3, 1024, 1024, dtype=torch.uint8)
before = status_bytes("VmRSS")
high = upscaler(low)
print(status_bytes("VmHWM") - before, high.nbytes)
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads Linux's own account")
def test_a_tiled_picture_of_8_bits_never_exists_in_floating_point() -> None:
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, check=True, text=True)
    peak_bytes, result_bytes = map(int, done.stdout.split())
    # In float32 the result alone would be four times as large.
    assert peak_bytes < 2 * result_bytes


needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="needs the extra openvino"
)


@needs_openvino
def test_openvino_when_asked_gives_what_torch_gives(tiny_esc: Checkpoint) -> None:
    low = torch.rand(1, 3, 21, 40, generator=torch.Generator().manual_seed(0))
    by_torch, by_openvino = (
        Upscaler(tiny_esc, device="cpu", precision="float32", runtime=runtime).run(low)
        for runtime in ("torch", "openvino")
    )
    torch.testing.assert_close(by_openvino.high, by_torch.high, rtol=0, atol=1e-5)
    assert "OpenVINO" in by_openvino.ways[0]
    assert "OpenVINO" not in by_torch.ways[0]


@needs_openvino
def test_openvino_is_started_for_large_jobs_only(tiny_esc: Checkpoint) -> None:
    upscaler = Upscaler(tiny_esc, device="cpu")
    low = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    assert "OpenVINO" not in upscaler.run(low).ways[0]
    assert "OpenVINO" in upscaler.run(low, job_px=10**9).ways[0]


@needs_openvino
@pytest.mark.parametrize("kept", [{"tiling": "exact"}, {"attention": "sdpa"}])
def test_what_openvino_cannot_be_told_is_for_torch(tiny_esc: Checkpoint, kept: dict[str, Any]) -> None:
    upscaler = Upscaler(tiny_esc, device="cpu", **kept)
    result = upscaler.run(torch.zeros(1, 3, 16, 16, dtype=torch.uint8), job_px=10**9)
    assert "OpenVINO" not in result.ways[0]
    with pytest.raises(UsageError, match="OpenVINO cannot"):
        Upscaler(tiny_esc, device="cpu", runtime="openvino", **kept)


def test_an_upscaler_tells_what_it_is() -> None:
    upscaler = Upscaler("nearest", scale=2, device="cpu")
    assert repr(upscaler) == "<Upscaler nearest x2 on cpu in float32, attention sdpa>"


def test_pictures_that_are_no_tensors_or_out_of_range_are_refused() -> None:
    upscaler = Upscaler("nearest", scale=2, device="cpu")
    with pytest.raises(InputError, match="must be a tensor, not of the type str"):
        upscaler("in.png")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="values from 255 to 255, but floats must be in"):
        upscaler(torch.full((1, 3, 4, 4), 255.0))
    with pytest.raises(InputError, match=r"values from -2 to 0\.5, but"):  # normalized by a mean
        upscaler(torch.linspace(-2, 0.5, 48).view(1, 3, 4, 4))
    assert upscaler(torch.full((1, 3, 4, 4), 1.01)).max() == 1


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "float16", "float32"])
def test_an_array_becomes_an_array(dtype: str) -> None:
    white = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    array = (np.random.default_rng(0).random((6, 5, 3)) * white).astype(dtype)[::-1]
    result = Upscaler("nearest", scale=2)(array)
    assert result.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(result, array.repeat(2, 0).repeat(2, 1))


def test_the_type_of_an_array_can_be_asked_for_if_numpy_has_it() -> None:
    upscaler, array = Upscaler("nearest", scale=2), np.full((6, 5, 3), 255, np.uint8)
    assert upscaler(array, torch.float16).dtype == np.float16
    with pytest.raises(UsageError, match="bfloat16"):
        upscaler(array, torch.bfloat16)


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 4), (1, 6, 5, 3)])
def test_arrays_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"an array must have the shape \(H, W, 3\)"):
        Upscaler("nearest", scale=2)(np.zeros(shape, np.uint8))


def test_arrays_of_other_types_are_refused() -> None:
    with pytest.raises(InputError, match="int32"):
        Upscaler("nearest", scale=2)(np.zeros((6, 5, 3), np.int32))
    with pytest.raises(InputError, match="complex128"):
        Upscaler("nearest", scale=2)(np.zeros((6, 5, 3), complex))
    with pytest.raises(InputError, match="<U1"):
        Upscaler("nearest", scale=2)(np.zeros((6, 5, 3), "U1"))
