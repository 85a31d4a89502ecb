from pathlib import Path

import pytest

from esc_cli.training.ablation import Trained
from esc_cli.training.ablation_plot import draw_curves


def test_each_network_is_a_line(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    curves = {"esc": ((1, 30.0), (2, 31.0)), "kernel-9": ((1, 30.0), (2, 30.5))}
    trained = [Trained(name, 1, 1, 1.0, None, None, curve) for name, curve in curves.items()]
    draw_curves(trained, tmp_path / "curves.svg")
    text = (tmp_path / "curves.svg").read_text()
    for word in (*curves, "steps"):
        assert word in text
