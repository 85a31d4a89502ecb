"""Do neighboring attention layers repeat each other? The finding that ESC begins with, for any network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from esc_cli.analysis.attention_record import AttentionRecord, attention_layers, recorded
from esc_cli.analysis.kernel_alignment import (
    FEWEST_EXAMPLES,
    cka,
    correlation,
    cosine,
    debiased_cka,
    gram_matrix,
)
from esc_cli.analysis.subject import Subject, load_subject, low_picture
from esc_cli.engine.memory.free import host_free_bytes
from esc_cli.engine.pixels import to_unit
from esc_cli.errors import InputError, OutOfMemoryError, UsageError
from esc_cli.media.probe import find_pictures

_FLOAT_BYTES = 4


@dataclass(frozen=True)
class LayerPair:
    """How alike an attention layer and the next one are.

    Attributes:
        first: The layer's name.
        second: The next one's.
        cka: Linear CKA of their outputs over the pictures, 0 to 1.
        debiased_cka: The same without the bias of few pictures, about 0 for unrelated outputs, at most 1.
        cosine: Of their mean attention maps, 0 to 1; near 1 for any two that are nearly even.
        correlation: Of the same, -1 to 1: what is left when both are compared with an even map.
    """

    first: str
    second: str
    cka: float
    debiased_cka: float
    cosine: float
    correlation: float


@dataclass(frozen=True)
class Similarity:
    """How alike the attention layers of a network are, over a folder of pictures.

    Attributes:
        model: Its name, or the file's.
        scale: Pixels out per pixel in.
        pictures: How many there were.
        height: Of what was seen of each, at low resolution, pixels.
        width: Likewise.
        pairs: Each two neighbors, from the input to the output.
    """

    model: str
    scale: int
    pictures: int
    height: int
    width: int
    pairs: tuple[LayerPair, ...]

    @property
    def cka(self) -> float:
        """Mean over the pairs."""
        return fmean(pair.cka for pair in self.pairs)

    @property
    def debiased_cka(self) -> float:
        """Mean over the pairs."""
        return fmean(pair.debiased_cka for pair in self.pairs)

    @property
    def cosine(self) -> float:
        """Mean over the pairs."""
        return fmean(pair.cosine for pair in self.pairs)

    @property
    def correlation(self) -> float:
        """Mean over the pairs."""
        return fmean(pair.correlation for pair in self.pairs)


def similarity(
    folder: Path,
    model: str | Path,
    scale: int | None = None,
    *,
    is_low: bool = False,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Similarity:
    """Compare each attention layer of a network with the next one.

    All pictures are cut, at the right and the bottom, to the size that they have in common. The outputs of
    all layers are held in memory. Attention maps are averaged over heads, windows and pictures; windows that
    reach over the edge are filled by reflection, as the network sees them.

    Args:
        folder: Searched with its sub-folders; each picture is one example.
        model: As for ``load_checkpoint``.
        scale: Pixels out per pixel in; by default the largest of the model.
        is_low: The pictures are of low resolution; else they are originals, and are shrunk.
        device: As for ``Upscaler``.
        progress: Is told how many pictures are done, of how many.

    Raises:
        InputError: There are fewer than four pictures, or one cannot be read or is smaller than the scale.
        UsageError: The network has no two attention layers.
        WeightsError: There is no such model or it has no such scale.
        DeviceError: There is no such device, or not enough memory.

    Source: ESC (arXiv 2503.06671), section 3, and its author's answer in issue 8 of the published code.
    """
    subject = load_subject(model, scale, device)
    _check_layers(subject)
    lows = _common_crops(folder, subject.scale, is_low)
    _check_memory(subject, lows)
    with subject.in_float32(), torch.inference_mode(), recorded(subject.network) as records:
        for done, low in enumerate(lows, start=1):
            subject.network(to_unit(low).to(subject.device))
            if progress is not None:
                progress(done, len(lows))
    height, width = lows[0].shape[-2:]
    return Similarity(subject.name, subject.scale, len(lows), height, width, _compared(records))


def _check_layers(subject: Subject) -> None:
    count = len(attention_layers(subject.network))
    if count < 2:
        found = "no attention layers" if count == 0 else "one attention layer"
        raise UsageError(f"the model {subject.name!r} has {found}")


def _common_crops(folder: Path, scale: int, is_low: bool) -> list[Tensor]:
    paths = find_pictures(folder)
    if len(paths) < FEWEST_EXAMPLES:
        raise InputError(f"{str(folder)!r} holds {len(paths)} pictures, and CKA needs {FEWEST_EXAMPLES}")
    lows = [low_picture(path, scale, is_low=is_low) for path in paths]
    height, width = (min(low.shape[axis] for low in lows) for axis in (-2, -1))
    return [low[..., :height, :width] for low in lows]


def _check_memory(subject: Subject, lows: Sequence[Tensor]) -> None:
    """Refuse what the outputs of all layers, and those of one twice more, have no room for."""
    layers = attention_layers(subject.network).values()
    channels = [layer.to_out.out_channels for layer in layers]
    pixels = sum(low[:, 0].numel() for low in lows)
    needed, free = _FLOAT_BYTES * pixels * (sum(channels) + 2 * max(channels)), host_free_bytes()
    if needed > free:
        raise OutOfMemoryError(
            f"the outputs of all layers take {needed / 10**6:,.0f} MB, and {free / 10**6:,.0f} MB are free",
            hint="take fewer or smaller pictures",
        )


def _compared(records: Sequence[AttentionRecord]) -> tuple[LayerPair, ...]:
    grams = [gram_matrix(torch.stack(record.outputs)) for record in records]
    maps = [record.mean_map() for record in records]
    return tuple(
        LayerPair(
            records[i].layer,
            records[j].layer,
            cka(grams[i], grams[j]),
            debiased_cka(grams[i], grams[j]),
            cosine(maps[i], maps[j]),
            correlation(maps[i], maps[j]),
        )
        for i, j in pairwise(range(len(records)))
    )
