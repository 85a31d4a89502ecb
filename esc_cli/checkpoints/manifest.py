"""The models that ship with the package: ``manifest.toml`` and the files it names. Loads without torch."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from esc_cli.checkpoints.scales import reachable_scale
from esc_cli.errors import WeightsError
from esc_cli.storage.digests import file_sha256

AUTO_MODEL = "auto"
"""Instead of a model's name: for each picture the one for what it is."""

DEFAULT_MODEL = "esc"
"""The model for clean pictures, which runs where nobody says otherwise and no picture is looked at."""

MANIFEST_FILE = "manifest.toml"


@dataclass(frozen=True)
class ModelEntry:
    """One shipped model.

    Attributes:
        name: What ``-m`` takes; the same for all scales of a model.
        scale: Pixels out per pixel in.
        network: Variant of the network.
        path: Its file.
        sha256: Of the file, hexadecimal.
        licence: Of the weights.
        training_data: What it was trained on.
        teacher: Whose results it learned, too, with the licence; empty if nobody's.
        steps: Optimiser steps, those of the models it was started from included.
        date: When it was trained.
        psnr: dB on luma by the name of the data set, published protocol.
        ssim: On luma, likewise; without those that nobody measured.
        minutes: Of training, as ``steps``; None if nobody wrote them down.
        hardware: It was trained on; empty if nobody wrote it down.
        degradation: How the pictures that it was trained on were degraded; ``bicubic``: not at all.
        psnr_degraded: By data set, dB on pictures degraded so: ``ours`` of this model, ``clean`` of the
            one for clean pictures, ``bicubic`` of bicubic upscaling.
    """

    name: str
    scale: int
    network: str
    path: Path
    sha256: str
    licence: str
    training_data: str
    teacher: str
    steps: int
    date: date
    psnr: Mapping[str, float]
    ssim: Mapping[str, float]
    minutes: float | None
    hardware: str
    degradation: str
    psnr_degraded: Mapping[str, Mapping[str, float]]


def weights_folder() -> Path:
    """Find the weights: inside the package in a wheel, beside it in a checkout or an editable install.

    Raises:
        WeightsError: There are none: the installation is broken.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_weights", package.parent / "weights"):
        if (folder / MANIFEST_FILE).is_file():
            return folder
    raise WeightsError("the weights that belong to this program are missing", hint="install it again")


def read_manifest(folder: Path | None = None) -> tuple[ModelEntry, ...]:
    """List the shipped models, by name and scale.

    Args:
        folder: Where the manifest lies; by default where ``weights_folder`` finds it, which is read once.

    Raises:
        WeightsError: There is no manifest, or it cannot be understood.
    """
    return _shipped() if folder is None else _entries(folder)


@cache
def _shipped() -> tuple[ModelEntry, ...]:
    return _entries(weights_folder())


def _entries(folder: Path) -> tuple[ModelEntry, ...]:
    try:
        names = tomllib.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        entries = [
            _entry(name, scale, values, folder)
            for name, scales in names.items()
            for scale, values in scales.items()
        ]
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"the list of models is damaged: {error}", hint="install it again") from error
    return tuple(sorted(entries, key=lambda entry: (entry.name, entry.scale)))


def auto_models(entries: Iterable[ModelEntry], factor: float) -> tuple[str, str]:
    """Name the shipped models that there are to choose from: for clean pictures and for degraded ones.

    For degraded ones it is a robust model: that whose networks enlarge the least beyond the factor, then that
    with the network of the model for clean pictures, then the first by name. Without any it is the model for
    clean pictures.

    Args:
        entries: Of the manifest.
        factor: How much larger the result is; above 1.
    """
    entries = tuple(entries)
    full_size = {entry.network for entry in entries if entry.name == DEFAULT_MODEL}
    scales: dict[str, tuple[int, ...]] = {}
    for entry in entries:
        scales[entry.name] = (*scales.get(entry.name, ()), entry.scale)
    robust = (entry for entry in entries if entry.degradation == "robust")
    ranked = (
        (reachable_scale(factor, scales[one.name]), one.network not in full_size, one.name) for one in robust
    )
    return DEFAULT_MODEL, min(ranked, default=(0, False, DEFAULT_MODEL))[2]


def verify(entry: ModelEntry) -> None:
    """Compare a model's file with its digest.

    Raises:
        WeightsError: It is missing or differs.
    """
    try:
        digest = file_sha256(entry.path)
    except OSError as error:
        raise WeightsError(f"the weights of {entry.name} x{entry.scale} are missing") from error
    if digest != entry.sha256:
        raise WeightsError(
            f"the weights of {entry.name} x{entry.scale} are damaged: {entry.path.name} has another sha256",
            hint="install the program again",
        )


def _entry(name: str, scale: str, values: dict[str, Any], folder: Path) -> ModelEntry:
    return ModelEntry(
        name=name,
        scale=int(scale.removeprefix("x")),
        network=values["network"],
        path=folder / values["file"],
        sha256=values["sha256"],
        licence=values["licence"],
        training_data=values["training_data"],
        teacher=values.get("teacher", ""),
        steps=values["steps"],
        date=values["date"],
        psnr=values["psnr"],
        ssim=values.get("ssim", {}),
        minutes=values.get("minutes"),
        hardware=values.get("hardware", ""),
        degradation=values.get("degradation", "bicubic"),
        psnr_degraded=values.get("psnr_degraded", {}),
    )
