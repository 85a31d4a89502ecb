"""Runs a network with OpenVINO, where it is installed: whole graphs, compiled for one shape, on the CPU."""

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.engine.openvino_graph import convert, prepare_for_openvino, traced_shape
from esc_cli.engine.pixels import is_finite, to_unit
from esc_cli.errors import DeviceError, WeightsError

KEPT_SHAPES = 2
"""Compiled graphs that are kept: the tiles of a picture have one shape, and a batch of pictures may have two
(portrait and landscape). Each holds the weights and biases once more."""

_PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16"}


class OpenVinoForward:
    """A network run by OpenVINO; to be used as ``Forward`` is.

    Attributes:
        config: Of the network.
        device: The CPU.
        dtype: What it computes in, float32 or bfloat16.
        attention: Its own.
        runtime: Its name.
        redone: Always 0: bfloat16 overflows where float32 does, so that there is nothing to fall back on.
        compiled: Graphs compiled since the beginning.
    """

    attention = runtime = "openvino"

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
        if dtype not in _PRECISIONS:
            raise DeviceError(
                f"OpenVINO computes in float32 or bfloat16 here, not in {str(dtype).removeprefix('torch.')}",
                hint="choose another precision, or the runtime torch",
            )
        self.config = checkpoint.config
        self.device = torch.device("cpu")
        self.dtype = dtype
        self.redone = 0
        self.compiled = 0
        self._name = checkpoint.name
        self._network = prepare_for_openvino(checkpoint.network)
        self._model: tuple[tuple[int, ...], Any] | None = None
        self._requests: OrderedDict[torch.Size, Any] = OrderedDict()

    def __call__(self, picture: Tensor) -> Tensor:
        """Run the network; the first time for a shape it is compiled, which takes seconds.

        Args:
            picture: (N, 3, H, W) of any pixel type, on any device; not written to.

        Returns:
            (N, 3, scale H, scale W), float32, on the CPU, not clamped, finite; the caller's own.

        Raises:
            WeightsError: The network gives infinite values or NaN.
            DeviceError: OpenVINO failed; that may be for want of memory.
        """
        low = to_unit(picture.cpu())
        high = self._run(low)
        if not is_finite(high):
            raise WeightsError(
                f"the model {self._name!r} gives values that are not finite", hint="its weights are damaged"
            )
        return high

    def _run(self, low: Tensor) -> Tensor:
        try:
            results = self._request(low.shape).infer([low.contiguous().numpy()], share_inputs=True)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise DeviceError(f"OpenVINO failed: {reason}", hint="choose the runtime torch") from error
        return torch.from_numpy(results[0])  # a copy, unless outputs are shared, too

    def _request(self, shape: torch.Size) -> Any:
        """Give what runs a shape: one of the last used, or compiled now."""
        if shape not in self._requests:
            while len(self._requests) >= KEPT_SHAPES:
                self._requests.popitem(last=False)
            self._requests[shape] = self._compile(shape)
        self._requests.move_to_end(shape)
        return self._requests[shape]

    def _compile(self, shape: torch.Size) -> Any:
        import openvino

        settings = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[self.dtype],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        model = self._converted(traced_shape(shape, self.config.window_size))
        model.reshape(openvino.PartialShape(list(shape)))
        self.compiled += 1
        return openvino.Core().compile_model(model, "CPU", settings).create_infer_request()

    def _converted(self, shape: tuple[int, ...]) -> Any:
        """Give the model that was converted last if it fits: tiles and padded pictures all have the same."""
        if self._model is None or self._model[0] != shape:
            self._model = (shape, convert(self._network, shape))
        return self._model[1]
