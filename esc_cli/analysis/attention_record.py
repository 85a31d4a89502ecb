"""Record what the window attention of a network computes while the network runs."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from torch import Tensor, nn

from esc_cli.networks.attention.position_bias import PositionBias
from esc_cli.networks.attention.windows import WindowAttentionBase, attention_layers


@dataclass
class AttentionRecord:
    """Outputs and mean attention map of one attention layer.

    Attributes:
        layer: Name of the layer in the network.
        outputs: One flattened tensor per picture, on the host. It is the output of the last projection,
            before the residual connection.
    """

    layer: str
    outputs: list[Tensor] = field(default_factory=list)
    _map_sum: Tensor | None = None
    _maps: int = 0

    def add_maps(self, query: Tensor, key: Tensor, bias: PositionBias) -> None:
        """Add the attention maps that follow from the arguments of an attention backend."""
        map_sum = attention_map_sum(query, key, bias)
        self._map_sum = map_sum if self._map_sum is None else self._map_sum + map_sum
        self._maps += query.shape[0] * query.shape[1]

    def mean_map(self) -> Tensor:
        """Return the mean attention map over heads, windows and pictures: (queries, keys); rows sum to 1."""
        if self._map_sum is None:
            raise LookupError(f"{self.layer} has not run yet")
        return self._map_sum / self._maps


@contextmanager
def recorded(network: nn.Module) -> Iterator[list[AttentionRecord]]:
    """Record every attention layer of a network inside the context, and restore the network afterwards.

    The network must receive one picture at a time.
    """
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

    # The hook is not on the layer itself: where the gate is a separate step, the layer is never called as a
    # whole.
    hook = layer.to_out.register_forward_hook(keep)
    layer.backend = attend
    try:
        yield record
    finally:
        layer.backend = backend
        hook.remove()


def attention_map_sum(query: Tensor, key: Tensor, bias: PositionBias) -> Tensor:
    """Sum the attention maps of all windows and heads, with those of only one window in memory at a time.

    Args:
        query: Queries, (B, heads, tokens, channels).
        key: Keys, (B, heads, tokens, channels).
        bias: Position bias that is added to the scores.

    Returns:
        (queries, keys), with the dtype and device of ``query``. Each row sums to B * heads.
    """
    scale, dense = query.shape[-1] ** -0.5, bias.dense(query.dtype)
    total = query.new_zeros(dense.shape[1:])
    for of_window, keys in zip(query, key, strict=True):
        scores = dense.baddbmm(of_window, keys.mT, alpha=scale)  # (heads, queries, keys)
        total += scores.softmax(dim=-1).sum(dim=0)
    return total
