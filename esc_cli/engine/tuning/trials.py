"""Measure the candidates for a network on this machine, and remember the figures."""

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import nn

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.engine.device import synchronize
from esc_cli.engine.executors.base import Executor, Runtime
from esc_cli.engine.tuning.candidates import Candidate
from esc_cli.engine.tuning.figures import Figures, runtime_key
from esc_cli.engine.tuning.race import Run, race
from esc_cli.engine.tuning.store import Store
from esc_cli.networks.architectures.registry import build_network

WORTHWHILE_PX = {"cpu": 2**18}
WORTHWHILE_PX_ELSEWHERE = 2**24
"""Number of pixels of a job from which a trial of torch's candidates may pay.

It is 512x512 pixels on a CPU, which take ESC x4 ten seconds on two cores.
"""

WORTHWHILE_SAVING_S = 60.0
"""Seconds that another runtime must be expected to save, so that a trial of it may pay."""

_PART_PX, _PART_PX_ELSEWHERE = 64, 256
"""Side of the picture on which torch's candidates are timed. Time per pixel hardly depends on the size."""

WHOLE_PX = 128
"""Side of the picture on which runtimes are timed."""

_ROUNDS_OF_RUNTIMES = 3

_WARM_UPS_ELSEWHERE = 3
"""First runs on a GPU that do not count: kernels are selected in one, and a graph is recorded in another."""


class Bench:
    """A place to time one network on one device.

    Args:
        checkpoint: The network.
        device: The device.
        store: The store of the figures. The default is that of this machine.

    Attributes:
        device: The device.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device, store: Store | None = None) -> None:
        self._checkpoint = checkpoint
        self.device = device
        self._store = store or Store.here()

    @property
    def network(self) -> nn.Module:
        """The network that is timed."""
        return self._checkpoint.network

    @property
    def key(self) -> str:
        """Name under which the figures of the network on the device are kept."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        return f"{name}: {self._checkpoint.config}"

    @property
    def _part_px(self) -> int:
        return _PART_PX if self.device.type == "cpu" else _PART_PX_ELSEWHERE

    def recall(self) -> Figures:
        """Return the figures that were measured earlier."""
        return self._store.recall(self.key)

    def in_words(self, figures: Figures) -> tuple[str, ...]:
        """Return a sentence for each kind of measurement."""
        part_px = self._part_px
        return figures.in_words(
            f"a block of the network with {part_px}x{part_px} pixels",
            f"the network with {WHOLE_PX}x{WHOLE_PX} pixels",
        )

    @property
    def remembers(self) -> bool:
        """Whether figures can be kept.

        If not, nothing is measured: a run that is interrupted would go on with other settings.
        """
        return self._store.can_keep

    def pays(self, total_px: int) -> bool:
        """Return whether a job is large enough for a trial of torch's candidates."""
        return total_px >= WORTHWHILE_PX.get(self.device.type, WORTHWHILE_PX_ELSEWHERE)

    def with_candidates(self, known: Figures, torch_runtime: Runtime, among: Sequence[Candidate]) -> Figures:
        """Time torch's candidates on a part of the network.

        Args:
            known: The figures so far.
            torch_runtime: The runtime of the candidates.
            among: The candidates.
        """
        part, before = shortened(self._checkpoint), self.recall()

        def way(one: Candidate) -> Callable[[], Run]:
            return lambda: self._run(
                torch_runtime.executor(part, self.device, one.dtype, one.attention), self._part_px
            )

        warm_ups = 1 if self.device.type == "cpu" else _WARM_UPS_ELSEWHERE
        result = race({one.name: way(one) for one in among}, warm_ups=warm_ups)
        names = [one.name for one in among]
        meanwhile = self.recall()
        if meanwhile != before and meanwhile.knows(names):
            return meanwhile  # another process was faster, and both shall choose the same
        failed = {name: reason for name, reason in known.failed.items() if name not in names}
        return self._kept(
            dataclasses.replace(known, candidates=result.timings, failed={**failed, **result.failed})
        )

    def with_runtimes(
        self, known: Figures, runtimes: Sequence[Runtime], among: Sequence[Candidate]
    ) -> Figures:
        """Time the whole network in several runtimes.

        Args:
            known: The figures so far.
            runtimes: The runtimes, with torch.
            among: The fastest candidate of torch for each precision.
        """

        def way(runtime: Runtime, one: Candidate) -> Callable[[], Run]:
            return lambda: self._run(
                runtime.executor(self._checkpoint, self.device, one.dtype, one.attention), WHOLE_PX
            )

        ways = {
            runtime_key(runtime.name, one.dtype): way(runtime, one)
            for one in among
            for runtime in runtimes
            if runtime.obstacle(self._checkpoint.network, self.device, one.dtype) is None
        }
        result = race(ways, least_rounds=_ROUNDS_OF_RUNTIMES)
        failed = {name: reason for name, reason in known.failed.items() if name not in ways}
        area_px = self._picture(WHOLE_PX)[:, 0].numel()
        return self._kept(
            dataclasses.replace(
                known,
                runtimes={**known.runtimes, **result.timings},
                failed={**failed, **result.failed},
                runtimes_px=area_px,
            )
        )

    def _run(self, executor: Executor, side_px: int) -> Run:
        low = self._picture(side_px)

        def run() -> None:
            with torch.inference_mode():
                executor(low)
            synchronize(self.device)

        return run

    def _picture(self, side_px: int) -> torch.Tensor:
        size = self._checkpoint.config.padded_size(side_px, side_px)
        generator = torch.Generator().manual_seed(0)
        return torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8, generator=generator)

    def _kept(self, figures: Figures) -> Figures:
        self._store.keep(self.key, figures)
        return figures


def shortened(checkpoint: Checkpoint) -> Checkpoint:
    """Return a network with only the first of its equal blocks, or the whole network if it has none."""
    one = checkpoint.config.shortened()
    if one == checkpoint.config:
        return checkpoint
    with torch.random.fork_rng(devices=()):
        network = build_network(one).eval()
    weights = checkpoint.network.state_dict()
    try:
        network.load_state_dict({name: weights[name] for name in network.state_dict()})
    except (KeyError, RuntimeError):  # its first block is not like the others
        return checkpoint
    return dataclasses.replace(checkpoint, network=network, config=one)
