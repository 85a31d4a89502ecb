"""Fixtures for training: a folder with two pictures from each source, and a network that trains fast."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from esc_cli.networks.architectures import registry
from esc_cli.networks.architectures.esc import ESCConfig

SOURCES = 6


@pytest.fixture(autouse=True)
def _tiny_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add a tiny network to the variants, because the published ones take too long for a test."""

    def tiny(scale: int) -> ESCConfig:
        return ESCConfig(
            scale, dim=16, partial_dim=8, heads=2, blocks=1, mixers=1, window_size=8, kernel_size=5
        )

    monkeypatch.setitem(registry.VARIANTS, "tiny", tiny)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    rows = []
    for source in range(SOURCES):
        for part in range(2):
            name = f"{source}_{part}.png"
            small = Image.fromarray(random.integers(0, 256, (12, 14, 3), np.uint8))
            small.resize((80, 70), Image.Resampling.BICUBIC).save(folder / name)
            rows.append({"file": name, "source_repo": "ours", "original_path": f"{source}.png"})
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return folder
