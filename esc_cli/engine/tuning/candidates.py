"""The ways of running a network that are candidates: a precision and an attention backend."""

from dataclasses import dataclass

import torch

from esc_cli.engine.device import has_fast_bfloat16
from esc_cli.engine.pixels import dtype_name
from esc_cli.networks.attention.windows import ATTENTION_BACKENDS, AUTOMATIC


@dataclass(frozen=True)
class Candidate:
    """A precision and an attention backend.

    Attributes:
        dtype: Type of the network's weights and features.
        attention: Name in ``ATTENTION_BACKENDS``.
    """

    dtype: torch.dtype
    attention: str

    @property
    def name(self) -> str:
        """Name for users."""
        return f"{dtype_name(self.dtype)} with {self.attention}"

    def can_run(self, device: torch.device) -> bool:
        """Return whether the candidate is meant for a device."""
        return ATTENTION_BACKENDS[self.attention].can_run(device, self.dtype)


def candidates(
    usual: Candidate, device: torch.device, *, any_precision: bool, any_attention: bool
) -> tuple[Candidate, ...]:
    """Return the candidates for 8-bit results on a device, the usual one first.

    Args:
        usual: The choice where nothing is measured.
        device: Device that the network runs on.
        any_precision: Whether the precision may differ from the usual one.
        any_attention: Whether the attention backend may differ from the usual one.
    """
    dtypes = (usual.dtype, torch.float32, *half_precisions(device)) if any_precision else (usual.dtype,)
    backends = (usual.attention, *AUTOMATIC) if any_attention else (usual.attention,)
    all_of_them = (Candidate(dtype, attention) for dtype in dtypes for attention in backends)
    return tuple(dict.fromkeys(one for one in all_of_them if one == usual or one.can_run(device)))


def half_precisions(device: torch.device) -> tuple[torch.dtype, ...]:
    """Return the types of half precision whose error is below that of rounding to 8 bits, and may be fast.

    On GPUs this is float16: the error of bfloat16 was 18 dB larger there, because more is rounded.
    """
    if device.type != "cpu":
        return (torch.float16,)
    return (torch.bfloat16,) if has_fast_bfloat16(torch.cpu.get_capabilities()) else ()
