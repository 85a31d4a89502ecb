"""Measure whether neighboring attention layers of a network repeat each other.

ESC starts from the finding that they do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from esc_cli.analysis.attention_record import AttentionRecord, recorded
from esc_cli.analysis.kernel_alignment import (
    FEWEST_EXAMPLES,
    cka,
    correlation,
    cosine,
    debiased_cka,
    gram_matrix,
)
from esc_cli.analysis.subject import Subject, load_subject, low_picture
from esc_cli.engine.memory.free import check_room, host_free_bytes
from esc_cli.engine.pixels import to_unit
from esc_cli.errors import InputError, UsageError
from esc_cli.media.probe import find_pictures
from esc_cli.networks.attention.windows import attention_layers


@dataclass(frozen=True)
class LayerPair:
    """The similarity of an attention layer and the next one.

    Attributes:
        first: Name of the layer.
        second: Name of the next layer.
        cka: Linear CKA of their outputs over the pictures, 0 to 1.
        debiased_cka: CKA without the bias of few pictures: about 0 for unrelated outputs, at most 1.
        cosine: Cosine of their mean attention maps, 0 to 1; near 1 for any two maps that are nearly uniform.
        correlation: Correlation of their mean attention maps, -1 to 1: the similarity of their deviations
            from a uniform map.
    """

    first: str
    second: str
    cka: float
    debiased_cka: float
    cosine: float
    correlation: float


@dataclass(frozen=True)
class Similarity:
    """The similarity of the attention layers of a network, over a folder of pictures.

    Attributes:
        model: Name of the model or of its file.
        scale: Output pixels per input pixel.
        pictures: Number of pictures.
        height: Height of the part that the network saw of each picture, in low-resolution pixels.
        width: Width of that part.
        pairs: All pairs of neighboring layers, from the input to the output.
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

    All pictures are cropped, at the right and the bottom, to the size that they have in common. The outputs
    of all layers are kept in memory. Attention maps are averaged over heads, windows and pictures. Windows
    that extend past the edge are filled by reflection, as they are when the network runs.

    Args:
        folder: Folder that is searched with its subfolders. Each picture is one example.
        model: Name or file of a model; see ``load_checkpoint``.
        scale: Output pixels per input pixel. The default is the largest scale of the model.
        is_low: Whether the pictures have low resolution. Otherwise they are originals and are shrunk.
        device: Name of the device; see ``Upscaler``.
        progress: Function that is called with the number of pictures done and the number of all pictures.

    Raises:
        InputError: There are fewer than four pictures, or one cannot be read or is smaller than the scale.
        UsageError: The network has fewer than two attention layers.
        WeightsError: The model does not exist or does not have this scale.
        DeviceError: The device does not exist or does not have enough memory.

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
        raise InputError(f"{str(folder)!r} has {len(paths)} pictures, but CKA needs {FEWEST_EXAMPLES}")
    lows = [low_picture(path, scale, is_low=is_low) for path in paths]
    height, width = (min(low.shape[axis] for low in lows) for axis in (-2, -1))
    return [low[..., :height, :width] for low in lows]


def _check_memory(subject: Subject, lows: Sequence[Tensor]) -> None:
    """Raise an error if the outputs of all layers, and two copies of the largest, do not fit in memory."""
    layers = attention_layers(subject.network).values()
    channels = [layer.to_out.out_channels for layer in layers]
    pixels = sum(low[:, 0].numel() for low in lows)
    needed_bytes = torch.float32.itemsize * pixels * (sum(channels) + 2 * max(channels))
    hint = "use fewer or smaller pictures"
    check_room("the outputs of all layers need", needed_bytes, host_free_bytes(), hint)


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
