"""Run networks with OpenVINO, if it is installed: as whole graphs, compiled for one shape, on the CPU."""

import importlib.util
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.engine.borders import NOT_WRAPPED, Wraps
from esc_cli.engine.executors.base import KEPT_SHAPES, Executor, Runtime, not_finite
from esc_cli.engine.executors.openvino_graph import (
    convert,
    obstacle,
    openvino,
    prepare_for_openvino,
    traced_shape,
)
from esc_cli.engine.pixels import dtype_name, is_finite, to_unit
from esc_cli.engine.tiling.shared_statistics import Statistics
from esc_cli.errors import DeviceError, last_line
from esc_cli.networks.attention.windows import attention_layers
from esc_cli.networks.grid import Grid

_PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16"}

# ESC x4 on two cores of a Zen 4, microseconds per low-resolution pixel, in float32 and in bfloat16:
#
#              128x128        256x256        384x384        512x512
#   OpenVINO   38.5   16.8    29.0   17.1    31.4   18.7    33.1   20.0
#   torch      35.0   25.7    36.6   25.9    41.7   33.8    39.0   32.1
SAVED_S_PER_PX = {torch.float32: 7e-6, torch.bfloat16: 11e-6}
MEASURED_THREADS = 2

START_S = 5.0
"""Time to rewrite, trace and convert the network, and to compile it for a shape."""

# Networks without window attention are small. ESC-tiny x2 on the same cores, microseconds per low-resolution
# pixel, in float32 and in bfloat16:
#
#              128x128       512x512
#   OpenVINO   2.8   2.0     3.7   2.2
#   torch      4.3   3.1     4.5   3.0
SAVED_S_PER_PX_WITHOUT_ATTENTION = {torch.float32: 0.8e-6, torch.bfloat16: 0.7e-6}
START_S_WITHOUT_ATTENTION = 2.0
"""The same time for a network without window attention."""


class OpenVinoExecutor(Executor):
    """Run a network with OpenVINO as whole graphs. Each is compiled for one shape, which takes seconds.

    OpenVINO's bfloat16 overflows where float32 does, so there is no fallback.

    Attributes:
        compiled: Number of graphs compiled so far.
    """

    attention = "openvino"

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
        if dtype not in _PRECISIONS:
            raise DeviceError(
                f"OpenVINO computes in float32 or bfloat16 here, not in {dtype_name(dtype)}",
                hint="choose another precision or the runtime torch",
            )
        self.runtime = RUNTIME
        self.config = checkpoint.config
        self.device = torch.device("cpu")
        self.dtype = dtype
        self.compiled = 0
        self._name = checkpoint.name
        self._network = prepare_for_openvino(checkpoint.network, dtype)
        self._model: tuple[tuple[int, ...], Any] | None = None
        self._requests: OrderedDict[torch.Size, Any] = OrderedDict()

    def __call__(
        self,
        picture: Tensor,
        grid: Grid | None = None,
        statistics: Statistics | None = None,
        wraps: Wraps = NOT_WRAPPED,
    ) -> Tensor:
        """Run the network. The first call on a shape compiles it."""
        low = to_unit(picture.cpu())
        high = self._run(low)
        if not is_finite(high):
            raise not_finite(self._name)
        return high

    def _run(self, low: Tensor) -> Tensor:
        try:
            results = self._request(low.shape).infer([low.contiguous().numpy()], share_inputs=True)
        except RuntimeError as error:
            reason = last_line(error)
            raise DeviceError(f"OpenVINO failed: {reason}", hint="choose the runtime torch") from error
        return torch.from_numpy(results[0])  # already a copy, because outputs are not shared

    def _request(self, shape: torch.Size) -> Any:
        """Return the infer request for a shape: a recently used one, or a newly compiled one."""
        if shape not in self._requests:
            while len(self._requests) >= KEPT_SHAPES:
                self._requests.popitem(last=False)
            self._requests[shape] = self._compile(shape)
        self._requests.move_to_end(shape)
        return self._requests[shape]

    def _compile(self, shape: torch.Size) -> Any:
        settings = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[self.dtype],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            # Pinned threads of several processes share the first cores, and leave the others idle.
            "ENABLE_CPU_PINNING": False,
        }
        model = self._converted(traced_shape(shape, self.config.window_size))
        model.reshape(openvino().PartialShape(list(shape)))
        self.compiled += 1
        return openvino().Core().compile_model(model, "CPU", settings).create_infer_request()

    def _converted(self, shape: tuple[int, ...]) -> Any:
        """Return the last converted model if its shape fits, else convert one for ``shape``.

        All tiles and padded pictures have the same ``traced_shape``.
        """
        if self._model is None or self._model[0] != shape:
            self._model = (shape, convert(self._network, shape))
        return self._model[1]


class OpenVinoRuntime(Runtime):
    """OpenVINO, which is fast on the CPU once its graphs are compiled."""

    name = "openvino"
    title = "OpenVINO"
    packages = ("openvino",)
    fixed_bytes = 512 * 2**20  # including the graph; ESC on 128x128: 489 MB in float32, 543 in bfloat16

    @property
    def is_installed(self) -> bool:
        """Whether OpenVINO can be imported."""
        return importlib.util.find_spec("openvino") is not None

    def runs_on(self, device: torch.device) -> bool:
        """Return whether a device is the CPU."""
        return device.type == "cpu"

    def obstacle(self, network: nn.Module, device: torch.device, dtype: torch.dtype) -> str | None:
        """Return the reason against OpenVINO: the device, the precision or the network."""
        if not self.runs_on(device):
            return f"it runs on the CPU, not on {device}"
        if dtype not in _PRECISIONS:
            return f"it does not compute in {dtype_name(dtype)}"
        return obstacle(network)

    def saved_s(self, network: nn.Module, dtype: torch.dtype, job_px: int) -> float:
        """Estimate the saved seconds from measurements with a few threads.

        With more threads there is less to save, and the start is no shorter. For smaller networks with window
        attention, the start is shorter in the same proportion as the rest (ESC-light: 0.6 of all times).
        """
        saved_s_per_px, start_s = SAVED_S_PER_PX, START_S
        if not attention_layers(network):
            saved_s_per_px, start_s = SAVED_S_PER_PX_WITHOUT_ATTENTION, START_S_WITHOUT_ATTENTION
        return job_px * saved_s_per_px.get(dtype, 0.0) * MEASURED_THREADS / torch.get_num_threads() - start_s

    def executor(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, attention: str
    ) -> Executor:
        """Make an ``OpenVinoExecutor``."""
        return OpenVinoExecutor(checkpoint, dtype)


RUNTIME = OpenVinoRuntime()
