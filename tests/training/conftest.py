"""A folder of pictures, cut two from each source."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SOURCES = 6


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    rows = []
    for source in range(SOURCES):
        for part in range(2):
            name = f"{source}_{part}.png"
            small = Image.fromarray(random.integers(0, 256, (12, 14, 3), np.uint8))
            small.resize((70, 60), Image.Resampling.BICUBIC).save(folder / name)
            rows.append({"file": name, "source_repo": "ours", "original_path": f"{source}.png"})
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return folder
