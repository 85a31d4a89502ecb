"""Every network that can be written as an ONNX graph gives torch's result, for any size."""

import dataclasses
import importlib.util
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from esc_cli.checkpoints.checkpoint import load_checkpoint
from esc_cli.engine.executors.onnx_executor import new_session
from esc_cli.engine.executors.onnx_providers import Place
from esc_cli.engine.onnx_graphs.graph import INPUT, OPSET, OUTPUT
from esc_cli.engine.onnx_graphs.networks import GraphSize, model_of, obstacle
from esc_cli.networks.ablations import ABLATIONS
from esc_cli.networks.architectures.base import NetworkConfig
from esc_cli.networks.architectures.esc import ESCConfig
from esc_cli.networks.architectures.esc_flashbias import ESCFlashBiasConfig, ESCRealFlashBiasConfig
from esc_cli.networks.architectures.esc_fp import ESCFPConfig
from esc_cli.networks.architectures.esc_real import ESCRealConfig
from esc_cli.networks.architectures.esc_real_m import ESCRealMConfig
from esc_cli.networks.architectures.esc_rib import ESCRIBConfig
from esc_cli.networks.architectures.lte import LTEConfig
from esc_cli.networks.architectures.registry import ARCHITECTURES, build_network
from esc_cli.networks.padding import pad_to_multiple

needs_onnx = pytest.mark.skipif(
    importlib.util.find_spec("onnx") is None or importlib.util.find_spec("onnxruntime") is None,
    reason="needs the extra onnx",
)
WINDOW_PX = 8
TINY: dict[str, Any] = {
    "dim": 16,
    "partial_dim": 8,
    "heads": 2,
    "blocks": 1,
    "mixers": 2,
    "window_size": WINDOW_PX,
    "first_hidden_dim": 16,
    "hidden_dim": 16,
}
NETWORKS: dict[str, NetworkConfig] = {
    "esc": ESCConfig(3, **TINY, kernel_size=9, inner_norm=True),
    "esc-flashbias": ESCFlashBiasConfig(2, **TINY, bias_rank=4),
    "esc-fp": ESCFPConfig(2, **TINY),
    "esc-real": ESCRealConfig(4, **TINY),
    "esc-real-flashbias": ESCRealFlashBiasConfig(4, **TINY, bias_rank=4),
    "esc-real-neosr": ESCRealConfig(4, **TINY, head="neosr"),
    "esc-real-dysample": ESCRealConfig(3, **TINY, head="dysample"),
    "esc-realm-conv": ESCRealMConfig(1, **TINY, head="conv"),
    "esc-realm-direct": ESCRealMConfig(3, **TINY, head="pixelshuffledirect"),
    "esc-realm-pixelshuffle": ESCRealMConfig(4, **TINY, head="pixelshuffle"),
    "esc-realm-nearest": ESCRealMConfig(3, **TINY, head="nearest+conv"),
    "esc-realm-dysample": ESCRealMConfig(2, **TINY, head="dysample", head_dim=8),
    "esc-realm-transpose-2": ESCRealMConfig(2, **TINY, head="transpose+conv"),
    "esc-realm-transpose-3": ESCRealMConfig(3, **TINY, head="transpose+conv"),
    "esc-realm-transpose-4": ESCRealMConfig(4, **TINY, head="transpose+conv"),
    "esc-realm-unshuffle": ESCRealMConfig(2, **TINY, unshuffle=2),
    "esc-rib": ESCRIBConfig(2, **TINY, bias_rank=4),
}
NETWORKS |= {
    name: dataclasses.replace(config, **{key: TINY[key] for key in ("dim", "blocks", "mixers", "hidden_dim")})
    for name, config in ((name, make(2)) for name, make in ABLATIONS.items())
    if config.kernel_size == 13 and config.window_size < 64
}


def network_of(config: NetworkConfig) -> nn.Module:
    network = build_network(config).eval()
    for weight in network.parameters():
        if weight.abs().max() == 0:
            nn.init.normal_(weight, std=0.02)
    return network


def by_torch(network: nn.Module, low: Tensor) -> Tensor:
    config: Any = network.config
    height, width = (config.scale * side for side in low.shape[-2:])
    with torch.inference_mode():
        return network(pad_to_multiple(low, config.window_size))[..., :height, :width]  # type: ignore[no-any-return]


def by_graph(model: Any, *lows: Tensor) -> list[Tensor]:
    session = new_session(model.SerializeToString(), Place())
    return [torch.from_numpy(session.run(None, {INPUT: low.numpy()})[0]) for low in lows]


def all_nodes(graph: Any) -> list[Any]:
    inner = [part.g for node in graph.node for part in node.attribute if part.HasField("g")]
    return [*graph.node, *(node for one in inner for node in all_nodes(one))]


@needs_onnx
@pytest.mark.parametrize("window_by_window", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_graph_gives_the_result_of_torch(name: str, window_by_window: bool) -> None:
    import onnx

    network = network_of(NETWORKS[name])
    assert obstacle(network) is None
    model = model_of(network, torch.float32, window_by_window=window_by_window)
    onnx.checker.check_model(model, full_check=True)
    lows = [torch.rand(2, 3, 34, 40), torch.rand(1, 3, 19, 25)]
    for low, high in zip(lows, by_graph(model, *lows), strict=True):
        expected = by_torch(network, low)
        tolerance = 1e-5 * max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(high, expected, rtol=0, atol=tolerance)


@needs_onnx
def test_shapes_are_what_the_file_says() -> None:
    network = network_of(NETWORKS["esc"])
    shapes = {}
    for size in (GraphSize(), GraphSize(pads=False), GraphSize((20, 24)), GraphSize((16, 24))):
        graph = model_of(network, torch.float32, size).graph
        assert [graph.input[0].name, graph.output[0].name] == [INPUT, OUTPUT]
        shapes[size] = [
            [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
            for value in (graph.input[0], graph.output[0])
        ]
    free = [["batch", 3, "height", "width"], ["batch", 3, "3*height", "3*width"]]
    assert list(shapes.values()) == [
        free,
        free,
        [[1, 3, 20, 24], [1, 3, 60, 72]],
        [[1, 3, 16, 24], [1, 3, 48, 72]],
    ]


@needs_onnx
@pytest.mark.parametrize(
    ("size", "shape", "pads"),
    [
        (GraphSize((21, 16)), (21, 16), 1),
        (GraphSize((16, 24)), (16, 24), 0),
        (GraphSize(pads=False), (24, 16), 0),
    ],
    ids=["fixed", "fixed to whole windows", "multiples of the window"],
)
def test_a_graph_pads_only_where_it_must(size: GraphSize, shape: tuple[int, int], pads: int) -> None:
    network = network_of(NETWORKS["esc-fp"])  # whose blocks pad with zeros, never by reflection
    model = model_of(network, torch.float32, size)
    padding = [node for node in model.graph.node if node.op_type == "Pad" and len(node.attribute)]
    assert len(padding) == pads
    low = torch.rand(1, 3, *shape)
    torch.testing.assert_close(by_graph(model, low)[0], by_torch(network, low), rtol=0, atol=1e-5)


@needs_onnx
@pytest.mark.parametrize("name", ["esc", "esc-fp", "esc-real", "esc-real-dysample"])
def test_half_precision_is_close_and_is_half_precision(name: str) -> None:
    network = network_of(NETWORKS[name])
    model = model_of(network, torch.float16)
    low = torch.rand(1, 3, 24, 24)
    high = by_graph(model, low.half())[0]
    expected = by_torch(network, low)
    assert high.dtype == torch.float16
    error = (high.float() - expected).square().mean().sqrt() / expected.abs().max()
    assert 1e-5 < error < 2e-3  # float16 has 11 significant bits
    wide = [one.name for one in model.graph.initializer if len(one.raw_data) > 500 and one.data_type == 1]
    assert wide == []  # but the positions of DySample


@needs_onnx
def test_only_plain_operators_are_used() -> None:
    """TensorRT and vs-mlrt know the operators of the standard. Loops would be slow in them."""
    kinds: Counter[str] = Counter()
    for config in NETWORKS.values():
        model = model_of(network_of(config), torch.float32)
        assert [(one.domain, one.version) for one in model.opset_import] == [("", OPSET)]
        nodes = all_nodes(model.graph)
        assert {node.domain for node in nodes} == {""}
        kinds.update(node.op_type for node in nodes)
    assert not kinds.keys() & {"Scan", "Loop", "If", "NonZero", "Unique"}
    by_window = model_of(network_of(NETWORKS["esc"]), torch.float32, window_by_window=True)
    assert sum(node.op_type == "Scan" for node in by_window.graph.node) == 1


@needs_onnx
def test_a_file_is_no_larger_than_the_weights() -> None:
    """The dense attention bias has 50 MB. The file has the table and makes the bias of it."""
    network = load_checkpoint("esc-light", 4).network
    weights = sum(weight.nbytes for weight in network.parameters())
    size = len(model_of(network, torch.float32).SerializeToString())
    assert 0.9 * weights < size < 1.1 * weights  # folded convolutions are smaller


@needs_onnx
def test_the_network_stays_as_it_was() -> None:
    network = network_of(NETWORKS["esc"])
    before = {key: value.clone() for key, value in network.state_dict().items()}
    model_of(network, torch.float16)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (LTEConfig(**TINY), "each pixel"),
        (ESCConfig(2, **TINY, mixer="milk"), "MiLKConvolutionalAttention computes kernels"),
        (ESCConfig(2, **TINY, mixer="atconv", kernel_size=3), "AttentiveConvolution"),
        (ESCRealMConfig(1, **TINY, head="conv", unshuffle=2), "2 times smaller than the picture"),
        (load_checkpoint("nearest").config, "not one of ESC's networks"),
    ],
    ids=lambda value: "" if isinstance(value, str) else type(value).__name__,
)
def test_what_cannot_be_written_has_a_reason(config: NetworkConfig, reason: str) -> None:
    assert reason in str(obstacle(build_network(config)))


def test_every_architecture_is_written_or_refused() -> None:
    tested = {type(config) for config in NETWORKS.values()}
    refused = {type(one) for one in (LTEConfig(), load_checkpoint("nearest").config)}
    assert tested | refused == {architecture.config for architecture in ARCHITECTURES}
