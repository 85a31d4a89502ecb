import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.engine.self_ensemble import SYMMETRIES, Symmetry
from esc_cli.engine.upscaler import Upscaler
from esc_cli.errors import OutOfMemoryError
from esc_cli.networks.architectures.lte import LTEConfig
from esc_cli.networks.architectures.registry import build_network

Make = Callable[..., Checkpoint]
Pictures = Callable[..., Tensor]

PIXELS = [torch.uint8, torch.uint16, torch.float32, torch.float16, torch.bfloat16, torch.float64]


def transposed_and_flipped(picture: Tensor) -> list[Tensor]:
    """Return the eight symmetries computed in another way: by transposing and by flipping both axes."""
    return [
        each.flip(axes) for each in (picture, picture.mT) for axes in ((), (-1,), (-2,), (-1, -2))
    ]  # fmt: skip


def put_back(results: list[Tensor]) -> list[Tensor]:
    flips: list[tuple[int, ...]] = [(), (-1,), (-2,), (-1, -2)]
    flipped_back = [result.flip(flips[index % 4]) for index, result in enumerate(results)]
    return [*flipped_back[:4], *(result.mT for result in flipped_back[4:])]


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from(SYMMETRIES))
def test_what_was_turned_can_be_put_back(height: int, width: int, symmetry: Symmetry) -> None:
    picture = torch.arange(2 * height * width, dtype=torch.int32).view(1, 2, height, width)
    assert torch.equal(torch.from_numpy(symmetry.undo(symmetry.apply(picture).numpy()).copy()), picture)


def test_there_are_eight_symmetries() -> None:
    picture = torch.arange(9).view(3, 3)
    ours = {tuple(symmetry.apply(picture).flatten().tolist()) for symmetry in SYMMETRIES}
    assert ours == {tuple(each.flatten().tolist()) for each in transposed_and_flipped(picture)}


@pytest.mark.parametrize("shape", [(20, 20), (13, 29), (1, 7)])
def test_it_is_the_mean_of_the_eight_results(
    tiny_esc: Checkpoint, picture: Pictures, shape: tuple[int, int]
) -> None:
    low = picture(*shape, torch.float32, batch=2)
    plain = Upscaler(tiny_esc, device="cpu")
    mean = torch.stack(put_back([plain(each) for each in transposed_and_flipped(low)])).mean(0)
    ensemble = Upscaler(tiny_esc, device="cpu", tta=True)(low)
    torch.testing.assert_close(ensemble, mean, rtol=0, atol=1e-6)
    assert not torch.allclose(ensemble, plain(low), rtol=0, atol=1e-4)


@settings(max_examples=12)
@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from(SYMMETRIES[1:]), st.sampled_from([2, 4]))
def test_a_turned_picture_gives_the_turned_result(
    tiny_esc: Checkpoint, picture: Pictures, height: int, width: int, symmetry: Symmetry, scale: int
) -> None:
    upscaler = Upscaler(tiny_esc, scale=scale, device="cpu", tta=True)
    low = picture(height, width, torch.float32)
    turned = upscaler(symmetry.apply(low))
    torch.testing.assert_close(turned, symmetry.apply(upscaler(low)), rtol=0, atol=1e-6 * scale)


def test_a_model_for_any_scale_makes_turned_sizes_too(picture: Pictures) -> None:
    config = LTEConfig(
        dim=16, partial_dim=8, heads=2, blocks=1, mixers=1, window_size=8, texture_dim=8, decoder_dims=(8,)
    )
    network = build_network(config).eval()
    checkpoint = Checkpoint(network, config, None, "test", "test", "made by a test", "digest")
    low = picture(9, 14, torch.float32)
    plain, ensemble = (Upscaler(checkpoint, device="cpu", tta=tta) for tta in (False, True))
    lying = plain(low.mT, size=(34, 20)).mT
    assert ensemble(low, size=(20, 34)).shape == lying.shape == (1, 3, 20, 34)
    turned = ensemble(low.mT, size=(34, 20)).mT
    torch.testing.assert_close(turned, ensemble(low, size=(20, 34)), rtol=0, atol=1e-6)


def test_exact_strips_give_the_whole_picture_s_result(tiny_esc: Checkpoint, picture: Pictures) -> None:
    low = picture(37, 61, torch.float32)
    whole, strips = (Upscaler(tiny_esc, device="cpu", tiling=way, tta=True) for way in ("none", "exact"))
    result = strips.run(low)
    torch.testing.assert_close(result.high, whole(low), rtol=0, atol=1e-5)
    assert result.ways[0].startswith("self-ensemble of 8: exact, in strips")


@pytest.mark.parametrize(("dtype", "largest"), [(torch.uint8, 255), (torch.uint16, 65535)])
def test_integers_are_rounded_once(
    tiny_esc: Checkpoint, picture: Pictures, dtype: torch.dtype, largest: int
) -> None:
    upscaler = Upscaler(tiny_esc, device="cpu", precision="float32", tta=True)
    low = picture(20, 31, dtype)
    as_floats = upscaler(low, torch.float32)
    assert torch.equal(upscaler(low), (as_floats * largest).round().to(dtype))


@pytest.mark.parametrize("dtype", PIXELS)
def test_every_pixel_type_comes_back_as_itself(picture: Pictures, dtype: torch.dtype) -> None:
    low = picture(9, 20, dtype)
    before = low.clone()
    high = Upscaler("nearest", scale=3, device="cpu", tta=True)(low)
    enlarged = low.repeat_interleave(3, -2).repeat_interleave(3, -1)
    assert high.dtype == dtype
    torch.testing.assert_close(high, enlarged, rtol=0, atol=1e-6 if dtype.is_floating_point else 0)
    assert torch.equal(low, before)
    assert not high.is_inference()


def test_progress_counts_all_eight(picture: Pictures) -> None:
    seen: list[tuple[int, int]] = []
    upscaler = Upscaler("nearest", scale=6, device="cpu", tta=True)
    upscaler(picture(30, 21), progress=lambda done, total: seen.append((done, total)))
    total = 8 * 30 * 21 * (1 + 3**2)
    assert {end for _, end in seen} == {total}
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert (len(seen), seen[-1]) == (16, (total, total))


def test_two_results_larger_than_memory_are_refused_before_the_work(nearest: Make) -> None:
    checkpoint = nearest(2)
    low = torch.zeros(1, 3, 1, 1, dtype=torch.uint8).expand(1, 3, 2**22, 2**22)
    with pytest.raises(OutOfMemoryError, match="self-ensemble of 8388608x8388608"):
        Upscaler(checkpoint, device="cpu", tta=True)(low)
    assert checkpoint.network.runs.shapes == []


PEAK = """
import torch
from esc_cli.engine.upscaler import Upscaler

def status_bytes(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(key))

upscaler = Upscaler("nearest", scale=4, device="cpu", tiling="overlap", tile_px=64, overlap_px=16, tta=True)
upscaler(torch.zeros(1, 3, 150, 150, dtype=torch.uint8))
low = torch.zeros(1, 3, 500, 480, dtype=torch.uint8)
before = status_bytes("VmRSS")
high = upscaler(low)
print(status_bytes("VmHWM") - before, high.nbytes)
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads Linux's own account")
def test_memory_holds_two_results_in_float32_and_no_third() -> None:
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, check=True, text=True)
    peak_bytes, result_bytes = map(int, done.stdout.split())
    assert peak_bytes < 2.5 * 4 * result_bytes
