"""Run networks with ONNX Runtime, if it is installed: one graph for all sizes, on any of its devices."""

import importlib.util
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.engine.borders import NOT_WRAPPED, Wraps
from esc_cli.engine.device import DeviceChoice
from esc_cli.engine.executors.base import Executor, Runtime, bias_obstacle, not_finite
from esc_cli.engine.executors.onnx_providers import CPU, QUIET, Place, choose_place, onnxruntime
from esc_cli.engine.onnx_graphs.graph import INPUT
from esc_cli.engine.onnx_graphs.networks import GraphSize, model_of, obstacle
from esc_cli.engine.pixels import dtype_name, is_finite, to_unit
from esc_cli.engine.threads import limit_threads
from esc_cli.engine.tiling.shared_statistics import Statistics
from esc_cli.errors import DeviceError, first_line
from esc_cli.networks.grid import Grid

PRECISIONS = (torch.float32, torch.float16)


class OnnxExecutor(Executor):
    """Run a network with ONNX Runtime. The graph is made in memory, which takes a second, and not cached.

    The sides of pictures must be multiples of the attention window. On the CPU, attention runs in one window
    after the other. A process that runs ESC-light x4 on 128x128 then takes 0.5 GB instead of 1.0 GB, and no
    more time.
    """

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype, runtime: "OnnxRuntime") -> None:
        place = runtime.place
        self.runtime = runtime
        self.config = checkpoint.config
        self.device = torch.device("cpu")  # of the pictures; ONNX Runtime copies them to its own device
        self.dtype = dtype
        self.attention = "onnx" if place.provider == CPU else "naive"
        self._checkpoint = checkpoint
        self._place = place
        limit_threads()

    def __call__(
        self,
        picture: Tensor,
        grid: Grid | None = None,
        statistics: Statistics | None = None,
        wraps: Wraps = NOT_WRAPPED,
    ) -> Tensor:
        """Run the network. The first call makes and optimizes the graph."""
        low = to_unit(picture.cpu())
        high = self._run(self._session, low.to(self.dtype))
        if not is_finite(high) and self.dtype != torch.float32:
            self.overflow_retries += 1
            high = self._run(self._full_precision, low)
        if not is_finite(high):
            raise not_finite(self._checkpoint.name)
        return high

    def _run(self, session: Any, low: Tensor) -> Tensor:
        results = self._translated(lambda: session.run(None, {INPUT: low.contiguous().numpy()}))
        return torch.from_numpy(results[0]).float()

    @cached_property
    def _session(self) -> Any:
        return self._new_session(self.dtype)

    @cached_property
    def _full_precision(self) -> Any:
        return self._new_session(torch.float32)

    def _new_session(self, dtype: torch.dtype) -> Any:
        model = model_of(
            self._checkpoint.network,
            dtype,
            GraphSize(pads=False),
            window_by_window=self._place.provider == CPU,
        )
        return self._translated(lambda: new_session(model.SerializeToString(), self._place))

    def _translated(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:  # the errors of ONNX Runtime have no base class of their own
            reason = first_line(error)
            # They have no class for a lack of memory either, so the text of the error is searched.
            if self._place.provider != CPU and "allocate" in reason:
                raise torch.OutOfMemoryError(reason) from error
            raise DeviceError(f"ONNX Runtime failed: {reason}", hint="choose the runtime torch") from error


def new_session(model: bytes, place: Place) -> Any:
    """Load a model into ONNX Runtime, for one device.

    Raises:
        DeviceError: The device cannot be used. ONNX Runtime would use the CPU without a word.
    """
    library = onnxruntime()
    options = library.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = QUIET
    providers = [place.request, *([] if place.provider == CPU else [CPU.library_name])]
    session = library.InferenceSession(model, options, providers=providers)
    if place.provider.library_name not in session.get_providers():
        raise DeviceError(
            f"ONNX Runtime cannot use {place.provider.title} here",
            hint="its libraries or its driver are missing; choose -d cpu",
        )
    return session


class OnnxRuntime(Runtime):
    """ONNX Runtime, for devices that torch does not support, and for those that it supports.

    Args:
        place: Device to run on.
    """

    name = "onnx"
    title = "ONNX Runtime"
    packages = ("onnxruntime",)
    # Beyond an idle one, whole processes took 273 MB for ESC on 128x128 and 438 MB for ESC-Real on 96x96.
    # Dense biases and feature maps are estimated separately. Most of the rest is the graph.
    fixed_bytes = 256 * 2**20
    has_own_devices = True

    def __init__(self, place: Place | None = None) -> None:
        self.place = place or Place()

    @property
    def is_installed(self) -> bool:
        """Whether ONNX Runtime, and ``onnx`` to make graphs, can be imported."""
        return all(importlib.util.find_spec(name) is not None for name in ("onnx", "onnxruntime"))

    def runs_on(self, device: torch.device) -> bool:
        """Return whether ONNX Runtime has a device of this name."""
        if not self.is_installed:
            return device.type == "cpu"
        try:
            choose_place(str(device))
        except DeviceError:
            return False
        return True

    def placed(self, device: str) -> tuple[Runtime, DeviceChoice]:
        """Return ONNX Runtime on one of its devices, and that device. The pictures stay on the CPU."""
        place = choose_place(device)
        return OnnxRuntime(place), DeviceChoice(torch.device("cpu"), place.reason, str(place))

    def obstacle(self, network: nn.Module, device: torch.device, dtype: torch.dtype) -> str | None:
        """Return the reason against ONNX Runtime: the precision or the network."""
        if dtype not in PRECISIONS:
            return f"it does not compute in {dtype_name(dtype)}"
        if self.place.provider == CPU and dtype != torch.float32:
            return "on the CPU it converts each step to float32 and back"
        return bias_obstacle(network) or obstacle(network)  # it makes biases dense when it loads a graph

    def saved_s(self, network: nn.Module, dtype: torch.dtype, job_px: int) -> float:
        """Return a loss: it is no faster than torch on the CPU, and was not measured elsewhere."""
        return -1.0

    def executor(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, attention: str
    ) -> Executor:
        """Make an ``OnnxExecutor``."""
        return OnnxExecutor(checkpoint, dtype, self)


RUNTIME = OnnxRuntime()
