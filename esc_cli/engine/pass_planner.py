"""Choose the runtime of each network of a cascade for the pictures at hand, and keep the passes for more."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from esc_cli.checkpoints.cascade import Cascade
from esc_cli.engine.executors.base import Demands, Runtime
from esc_cli.engine.executors.registry import choose_runtime
from esc_cli.engine.memory.footprint import Work
from esc_cli.engine.memory.free import free_bytes
from esc_cli.engine.passes import Pass
from esc_cli.engine.self_ensemble import SelfEnsemble
from esc_cli.engine.tiling.choice import TilingRequest, fits_whole
from esc_cli.engine.tuning.figures import Figures


@dataclass(frozen=True, eq=False)
class PassPlanner:
    """Plan the passes of pictures through the networks of a cascade.

    A planner keeps the executors that it has made. A changed copy begins without any.

    Attributes:
        cascade: The networks.
        device: Device that the networks run on.
        runtime: The runtime that the user asked for, its name, or ``auto``.
        tilings: The user's request for tiles, by the scale of the network.
        demands: What a runtime must be able to do.
        tta: Whether each pass is a self-ensemble.
        attention: Backend of the window attention.
        figures: Measured times, by which ``auto`` chooses among runtimes.
    """

    cascade: Cascade
    device: torch.device
    runtime: str | Runtime
    tilings: Mapping[float, TilingRequest]
    demands: Demands
    tta: bool
    attention: str
    figures: Figures = field(default_factory=Figures)
    _made: dict[tuple[float, torch.dtype, str], Pass | SelfEnsemble] = field(default_factory=dict, init=False)

    def plan(
        self, shape: torch.Size, dtype: torch.dtype, job_px: int, *, is_part: bool
    ) -> list[Pass | SelfEnsemble]:
        """Return the passes of a picture, in order.

        Args:
            shape: Shape of the picture, (N, 3, H, W).
            dtype: Type of weights and features.
            job_px: Number of pixels of all pictures of this shape in the job.
            is_part: Whether the picture is a part of a larger one, over which the networks pool.

        Raises:
            DeviceError: The requested runtime is not installed or cannot run a network in this type.
        """
        passes, (n, _, height, width) = [], shape
        for scale in self.cascade.scales:
            runtime = self._choose_runtime(scale, dtype, (n, height, width), job_px, is_part=is_part)
            passes.append(self._pass(scale, dtype, runtime))
            height, width, job_px = (int(now) for now in (height * scale, width * scale, job_px * scale**2))
        return passes

    def suits(
        self, runtime: Runtime, scale: float, dtype: torch.dtype, pictures: tuple[int, int, int]
    ) -> bool:
        """Return whether a runtime can run pictures, (N, H, W), whole and as the user asks."""
        config = self.cascade.checkpoints[scale].config
        work = Work(config, dtype, self.attention, *pictures, runtime)
        fits = fits_whole(self.tilings[scale], work, free_bytes(self.device))
        return fits and runtime.missing(self.demands) is None

    def _choose_runtime(
        self,
        scale: float,
        dtype: torch.dtype,
        pictures: tuple[int, int, int],
        job_px: int,
        *,
        is_part: bool,
    ) -> Runtime:
        """Choose the runtime of a pass over pictures, (N, H, W).

        Unless the user asked for it, a runtime other than torch gets only pictures that run whole, and parts
        of a picture only if it can share what is pooled.
        """
        return choose_runtime(
            self.runtime,
            self.cascade.checkpoints[scale].network,
            self.device,
            dtype,
            job_px,
            lambda runtime: (
                (runtime.shares_statistics or not is_part) and self.suits(runtime, scale, dtype, pictures)
            ),
            lambda runtime: self.figures.saved_s(runtime.name, dtype, job_px),
        )

    def _pass(self, scale: float, dtype: torch.dtype, runtime: Runtime) -> Pass | SelfEnsemble:
        """Return the pass of a network, which keeps its executor for further pictures."""
        key = scale, dtype, runtime.name
        if key not in self._made:
            executor = runtime.executor(self.cascade.checkpoints[scale], self.device, dtype, self.attention)
            made = Pass(executor, self.tilings[scale])
            self._made[key] = SelfEnsemble(made) if self.tta else made
        return self._made[key]
