"""Listening to a network's window attention while it runs."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from torch import Tensor, nn

from esc_cli.networks.attention.position_bias import PositionBias
from esc_cli.networks.attention.windows import WindowAttentionBase


@dataclass
class AttentionRecord:
    """What one attention layer made of the pictures so far.

    Attributes:
        layer: Its name in the network.
        outputs: Of each picture, flattened, on the host: after the last projection, before the residual.
    """

    layer: str
    outputs: list[Tensor] = field(default_factory=list)
    _map_sum: Tensor | None = None
    _maps: int = 0

    def add_maps(self, query: Tensor, key: Tensor, bias: PositionBias) -> None:
        """Take what a backend of the window attention is given."""
        map_sum = attention_map_sum(query, key, bias)
        self._map_sum = map_sum if self._map_sum is None else self._map_sum + map_sum
        self._maps += query.shape[0] * query.shape[1]

    def mean_map(self) -> Tensor:
        """Average the attention maps over heads, windows and pictures: (queries, keys), rows sum to 1."""
        if self._map_sum is None:
            raise LookupError(f"{self.layer} has not run yet")
        return self._map_sum / self._maps


def attention_layers(network: nn.Module) -> dict[str, WindowAttentionBase]:
    """List the window attention of a network by name, from its input to its output."""
    modules = network.named_modules()
    return {name: module for name, module in modules if isinstance(module, WindowAttentionBase)}


@contextmanager
def recorded(network: nn.Module) -> Iterator[list[AttentionRecord]]:
    """Record every attention layer while the network runs, a picture at a time; then leave it as it was."""
    with ExitStack() as stack:
        layers = attention_layers(network).items()
        yield [stack.enter_context(_recorded_layer(name, layer)) for name, layer in layers]


@contextmanager
def _recorded_layer(name: str, layer: WindowAttentionBase) -> Iterator[AttentionRecord]:
    record, backend = AttentionRecord(name), layer.backend

    def attend(query: Tensor, key: Tensor, value: Tensor, bias: PositionBias) -> Tensor:
        record.add_maps(query, key, bias)
        return backend(query, key, value, bias)

    def keep(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        record.outputs.append(output.flatten().cpu())

    # Not the layer itself: where the gate is a step of its own the layer is never called as a whole.
    hook = layer.to_out.register_forward_hook(keep)
    layer.backend = attend
    try:
        yield record
    finally:
        layer.backend = backend
        hook.remove()


def attention_map_sum(query: Tensor, key: Tensor, bias: PositionBias) -> Tensor:
    """Add up the attention maps of all windows and heads, holding those of one window at a time.

    Args:
        query: (B, heads, tokens, channels); ``key`` alike.
        key: As ``query``.
        bias: Is added to the scores.

    Returns:
        (queries, keys), the dtype and device of ``query``; each row sums to B heads.
    """
    scale, dense = query.shape[-1] ** -0.5, bias.dense(query.dtype)
    total = query.new_zeros(dense.shape[1:])
    for of_window, keys in zip(query, key, strict=True):
        scores = dense.baddbmm(of_window, keys.mT, alpha=scale)  # (heads, queries, keys)
        total += scores.softmax(dim=-1).sum(dim=0)
    return total
