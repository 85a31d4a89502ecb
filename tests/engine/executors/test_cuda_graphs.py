import weakref
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.engine.executors.cuda_graphs import MOST_SHAPES, Call, CudaGraphCall, GraphedNetwork
from esc_cli.networks.architectures.base import NetworkConfig
from esc_cli.networks.architectures.esc_real import ESCRealConfig
from esc_cli.networks.architectures.registry import VARIANTS, build_network
from esc_cli.networks.attention.windows import use_attention


class Device:
    """A fake CUDA device that counts calls. It has memory for recordings or for one large picture."""

    def __init__(self) -> None:
        self.recorded: list[int] = []
        self.replayed: Counter[int] = Counter()
        self.eager: Counter[int] = Counter()
        self.alive: weakref.WeakSet[Recording] = weakref.WeakSet()
        self.records = True
        self.largest = 100

    def network(self, low: Tensor) -> Tensor:
        width = low.shape[-1]
        self.eager[width] += 1
        if width > self.largest or (width == self.largest and self.alive):
            raise torch.OutOfMemoryError("CUDA out of memory\nTried to allocate")
        return low + 1

    def record(self, network: Call, low: Tensor, beside: Call | None) -> "Recording":
        assert beside is None or beside in self.alive
        if not self.records:
            raise RuntimeError("operation not permitted\nwhen stream is capturing")
        network(low)
        self.recorded.append(low.shape[-1])
        return Recording(self)


class Recording:
    def __init__(self, device: Device) -> None:
        self.device = device
        device.alive.add(self)

    def __call__(self, low: Tensor) -> Tensor:
        self.device.replayed[low.shape[-1]] += 1
        return low + 1


def picture(width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(1, 3, 4, width).to(dtype)


def run(graphed: GraphedNetwork, *widths: int) -> None:
    for width in widths:
        low = picture(width)
        assert torch.equal(graphed(low), low + 1)


def test_a_shape_is_recorded_when_it_comes_again() -> None:
    device = Device()
    run(GraphedNetwork(device.network, device.record), 5, 6, 5, 5, 6, 7)
    assert device.eager == {5: 2, 6: 2, 7: 1}  # 5 and 6 run once more before recording
    assert device.recorded == [5, 6]
    assert device.replayed == {5: 2, 6: 1}


def test_types_have_recordings_of_their_own() -> None:
    device = Device()
    graphed = GraphedNetwork(device.network, device.record)
    for dtype in (torch.float32, torch.float16) * 2:
        assert graphed(picture(5, dtype)).dtype == dtype
    assert len(device.alive) == 2


@pytest.mark.parametrize("most", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(8))
def test_no_more_shapes_are_held_than_were_used_last(seed: int, most: int) -> None:
    widths = torch.randint(1, 8, (40,), generator=torch.Generator().manual_seed(seed)).tolist()
    device = Device()
    graphed = GraphedNetwork(device.network, device.record, most)
    for index, width in enumerate(widths):
        latest = list(dict.fromkeys(reversed(widths[:index])))[:most]
        replayed = device.replayed.total()
        run(graphed, width)
        assert (device.replayed.total() > replayed) == (width in latest)
        assert len(device.alive) <= most


def test_what_cannot_be_recorded_runs_as_it_is_from_then_on() -> None:
    device = Device()
    graphed = GraphedNetwork(device.network, device.record)
    run(graphed, 5, 5)
    device.records = False
    run(graphed, 6, 6)
    assert graphed.refusal == "operation not permitted"
    assert not device.alive
    device.records = True
    run(graphed, 5, 6, 5, 6)
    assert device.recorded == [5]


def test_recordings_make_room_for_a_picture_of_another_size() -> None:
    device = Device()
    graphed = GraphedNetwork(device.network, device.record)
    run(graphed, 5, 5, device.largest, 5, 5)
    assert device.eager[device.largest] == 2
    assert graphed.refusal == "CUDA out of memory"
    assert device.recorded == [5]


@pytest.mark.parametrize("before", [(), (5, 5)])
def test_a_picture_too_large_for_the_device_is_told_as_such(before: tuple[int, ...]) -> None:
    device = Device()
    graphed = GraphedNetwork(device.network, device.record)
    run(graphed, *before)
    for _ in range(2):
        with pytest.raises(torch.OutOfMemoryError):
            graphed(picture(device.largest + 1))
    run(graphed, 6, 6)
    assert bool(device.replayed[6]) == (not before)


def test_recordings_can_be_given_back() -> None:
    device = Device()
    graphed = GraphedNetwork(device.network, device.record)
    run(graphed, 5, 5, 6, 6)
    assert len(device.alive) == 2
    graphed.release()
    assert not device.alive
    run(graphed, 5, 5)
    assert device.recorded == [5, 6, 5]


class HostWatch(TorchDispatchMode):
    """Records the operations on tensors in host memory. Each of them would make the device wait."""

    def __init__(self) -> None:
        super().__init__()
        self.on_host: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        leaves = tree_leaves((args, kwargs, result))
        if any(isinstance(leaf, Tensor) and leaf.device.type == "cpu" for leaf in leaves):
            self.on_host.append(str(func))
        return result


# ESC-LTE is never recorded, because each size of a result needs another graph.
NETWORKS = {name: make(4) for name, make in VARIANTS.items() if name != "esc-lte"} | {
    "esc-real with dysample": ESCRealConfig(4, head="dysample")
}


@pytest.mark.parametrize("attention", ["naive", "sdpa"])
@pytest.mark.parametrize("config", NETWORKS.values(), ids=NETWORKS)
def test_no_network_asks_for_the_host(config: NetworkConfig, attention: str) -> None:
    """Tensors on the ``meta`` device have no values, so the network cannot read or branch on them."""
    with torch.device("meta"):
        network = build_network(config).eval()
    use_attention(network, attention)
    low = torch.empty(1, 3, 96, 96, device="meta")
    with torch.inference_mode(), HostWatch() as watch:
        assert network(low).shape == (1, 3, 384, 384)
    assert watch.on_host == []


@pytest.fixture
def on_cuda(tiny_esc: Checkpoint) -> Iterator[Call]:
    network = build_network(tiny_esc.config).eval()
    network.load_state_dict(tiny_esc.network.state_dict())
    yield network.cuda()
    torch.cuda.empty_cache()


@pytest.mark.cuda
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_replays_give_what_the_network_gives(on_cuda: Call, mode: Callable[[], object]) -> None:
    graphed = GraphedNetwork(on_cuda)
    with mode():
        lows = [torch.rand(1, 3, *size, device="cuda") for size in [(32, 48), (64, 32), (8, 8)] * 4]
        highs = [graphed(low) for low in lows]
        # The results are compared at the end only, because later replays must not change earlier results.
        for low, high in zip(lows, highs, strict=True):
            torch.testing.assert_close(high, on_cuda(low))
    assert graphed.refusal is None


@pytest.mark.cuda
def test_a_recording_made_in_inference_mode_is_good_outside_of_it(on_cuda: Call) -> None:
    graphed = GraphedNetwork(on_cuda)
    low = torch.rand(1, 3, 32, 32, device="cuda")
    with torch.inference_mode():
        graphed(low), graphed(low)
    with torch.no_grad():
        torch.testing.assert_close(graphed(low), on_cuda(low))


@pytest.mark.cuda
def test_the_least_recently_used_shapes_give_way(on_cuda: Call) -> None:
    graphed = GraphedNetwork(on_cuda)
    with torch.inference_mode():
        for side in range(8, 8 * (MOST_SHAPES + 4), 8):
            low = torch.rand(1, 3, side, side, device="cuda")
            for _ in range(3):
                torch.testing.assert_close(graphed(low), on_cuda(low))
    assert graphed.refusal is None


@pytest.mark.cuda
def test_a_network_that_waits_for_the_device_runs_as_it_is(on_cuda: Call) -> None:
    def waits(low: Tensor) -> Tensor:
        return on_cuda(low) * (1 + 0 * low.sum().item())

    graphed = GraphedNetwork(waits)
    stream = torch.cuda.current_stream()
    with torch.inference_mode():
        for _ in range(3):
            low = torch.rand(1, 3, 16, 16, device="cuda")
            torch.testing.assert_close(graphed(low), on_cuda(low))
    assert graphed.refusal is not None
    assert torch.cuda.current_stream() == stream


@pytest.mark.cuda
def test_memory_that_runs_out_while_recording_is_no_failure(on_cuda: Call) -> None:
    hoard: list[Tensor] = []

    def greedy(low: Tensor) -> Tensor:
        if torch.cuda.is_current_stream_capturing():
            hoard.append(torch.empty(2**50, dtype=torch.uint8, device="cuda"))
        return on_cuda(low)

    graphed = GraphedNetwork(greedy)
    with torch.inference_mode():
        for _ in range(3):
            low = torch.rand(1, 3, 16, 16, device="cuda")
            torch.testing.assert_close(graphed(low), on_cuda(low))
    assert graphed.refusal is not None
    assert hoard == []


@pytest.mark.cuda
def test_the_memory_of_recordings_can_be_had_again(on_cuda: Call) -> None:
    low = torch.rand(1, 3, 256, 256, device="cuda")
    graphed = GraphedNetwork(on_cuda)
    with torch.inference_mode():
        graphed(low)
        torch.cuda.empty_cache()
        before = torch.cuda.memory_reserved()
        graphed(low)
        held = torch.cuda.memory_reserved()
        graphed.release()
        torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() <= before < held


@pytest.mark.cuda
def test_a_recording_shares_the_memory_of_another(on_cuda: Call) -> None:
    low = torch.rand(1, 3, 256, 256, device="cuda")
    with torch.inference_mode():
        first = CudaGraphCall(on_cuda, low)
        torch.cuda.empty_cache()
        alone = torch.cuda.memory_reserved()
        second = CudaGraphCall(on_cuda, low, beside=first)
        torch.cuda.empty_cache()
        result_and_input = 2 * 2**20 + first(low).nbytes + low.nbytes
        assert torch.cuda.memory_reserved() - alone <= 2 * result_and_input
        torch.testing.assert_close(second(low), first(low))
