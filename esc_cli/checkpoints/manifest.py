"""The models that ship with the package, and the names that stand for models.

The models are ``manifest.toml`` and the files that it names. This module does not import torch.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeGuard, get_args

from esc_cli.checkpoints.scales import reachable_scale
from esc_cli.errors import WeightsError, did_you_mean
from esc_cli.storage.whole_files import file_sha256

AUTO_MODEL = "auto"
"""Value in place of a model's name that chooses the model for each picture by its content."""

DEFAULT_MODEL = "esc"
"""The model for clean pictures, which is used if no model is named and no picture is examined."""

Baseline = Literal["nearest", "bicubic"]
"""Names of the baselines, which are interpolations and need no weights."""

PICKLE_SUFFIXES = (".pth", ".pt", ".ckpt")
WEIGHT_SUFFIXES = (".safetensors", *PICKLE_SUFFIXES)
"""Extensions of checkpoint files."""

MANIFEST_FILE = "manifest.toml"


@dataclass(frozen=True)
class ModelEntry:
    """One shipped model.

    Attributes:
        name: Name for the option ``-m``, the same for all scales of a model.
        scale: Output pixels per input pixel, along each axis.
        network: Variant of the network.
        path: Path of the weights file.
        sha256: SHA-256 digest of the file, hexadecimal.
        licence: License of the weights.
        training_data: Pictures that the model was trained on.
        teacher: Network from whose results the model also learned, with its license; empty if there is none.
        steps: Optimizer steps, including those of the models that the training started from.
        date: Date of the training.
        psnr: PSNR on luma in dB by data set, in the published protocol.
        ssim: SSIM on luma by data set, in the published protocol. Values that were not measured are missing.
        minutes: Training time in minutes, counted like ``steps``; None if it was not recorded.
        hardware: Hardware of the training; empty if it was not recorded.
        degradation: Degradation of the training pictures; ``bicubic`` means that they were not degraded.
        psnr_degraded: PSNR in dB by data set, on pictures with this degradation: ``ours`` of this model,
            ``clean`` of the model for clean pictures, ``bicubic`` of bicubic upscaling.
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
    """Return the folder of the weights.

    It is inside the package in a wheel, and beside the package in a checkout or an editable install.

    Raises:
        WeightsError: The folder does not exist, so the installation is broken.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_weights", package.parent / "weights"):
        if (folder / MANIFEST_FILE).is_file():
            return folder
    raise WeightsError("the weights of this program are missing", hint="install the program again")


def read_manifest(folder: Path | None = None) -> tuple[ModelEntry, ...]:
    """Return the shipped models, sorted by name and scale.

    Args:
        folder: Folder of the manifest. The default is ``weights_folder``, whose manifest is read only once.

    Raises:
        WeightsError: The manifest is missing or invalid.
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
        raise WeightsError(
            f"the list of models is damaged: {error}", hint="install the program again"
        ) from error
    return tuple(sorted(entries, key=lambda entry: (entry.name, entry.scale)))


def auto_models(entries: Iterable[ModelEntry], factor: float) -> tuple[str, str]:
    """Return the names of two shipped models: the one for clean pictures and the one for degraded pictures.

    The model for degraded pictures is a robust model. If there are several, the order of preference is: the
    model whose networks enlarge the least beyond ``factor``, then the model with the same network as the
    model for clean pictures, then the first by name. Without a robust model, the model for clean pictures is
    used.

    Args:
        entries: Entries of the manifest.
        factor: Factor by which the result is larger than the picture, above 1.

    Raises:
        UsageError: The factor is not a positive number.
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
    """Check a model's file against its digest.

    Raises:
        WeightsError: The file is missing or has another digest.
    """
    try:
        digest = file_sha256(entry.path)
    except OSError as error:
        raise WeightsError(f"the weights of {entry.name} x{entry.scale} are missing") from error
    if digest != entry.sha256:
        raise WeightsError(
            f"the weights of {entry.name} x{entry.scale} are damaged: {entry.path.name} has a wrong SHA-256",
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


def is_baseline(model: str | Path) -> TypeGuard[Baseline]:
    """Return whether a name stands for a baseline."""
    return model in get_args(Baseline)


def is_name(model: str | Path) -> bool:
    """Return whether a model is given by the name of a shipped model or a baseline, and not as a file.

    Raises:
        WeightsError: The model is neither a known name nor a file.
    """
    if is_baseline(model) or model in {entry.name for entry in read_manifest()}:
        return True
    path = Path(model)
    if path.suffix.lower() in WEIGHT_SUFFIXES or path.is_file():
        return False
    raise _unknown(str(model))


def _unknown(name: str) -> WeightsError:
    if name == AUTO_MODEL:
        return WeightsError(
            f"{name!r} cannot choose a model here", hint=f"name a model, for example {DEFAULT_MODEL}"
        )
    names = sorted({entry.name for entry in read_manifest()} | set(get_args(Baseline)))
    hint = did_you_mean(name, names) or f"use one of {', '.join(names)}, or the path of a file"
    return WeightsError(f"there is no model {name!r}", hint=hint)
