import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from esc_cli.analysis.attribution import Attribution, Window
from esc_cli.analysis.drawing import draw_attribution, draw_similarity
from esc_cli.analysis.similarity import LayerPair, Similarity
from esc_cli.errors import OutputError, UsageError

SIMILARITY = Similarity("esc <&> light", 4, 6, 8, 9, (LayerPair("a.attn", "b.attn", 0.75, -0.25, 0.5, 0.1),))


def an_attribution() -> Attribution:
    map = torch.zeros(12, 20)
    map[5, 6] = 1
    map[5, 12] = 0.1
    return Attribution("esc <&> light", 2, torch.full((1, 3, 12, 20), 0.5), Window(8, 10, 4), map)


@pytest.mark.parametrize("name", ["plot.svg", "plot.PNG"])
def test_the_same_numbers_give_the_same_file(tmp_path: Path, name: str) -> None:
    pytest.importorskip("matplotlib")
    for draw, found in ((draw_similarity, SIMILARITY), (draw_attribution, an_attribution())):
        contents = []
        for _ in range(2):
            draw(found, tmp_path / name)
            contents.append((tmp_path / name).read_bytes())
        assert contents[0] == contents[1]
    assert len(list(tmp_path.iterdir())) == 1
    assert "matplotlib.pyplot" not in sys.modules  # pyplot would look for a screen


def test_what_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw_similarity(SIMILARITY, tmp_path / "plot.svg")
    text = (tmp_path / "plot.svg").read_text()
    for word in ("esc &lt;&amp;&gt; light x4, 6 pictures", "a.attn", "0.75", "-0.25", "mean 0.500"):
        assert word in text.replace("\N{MINUS SIGN}", "-")
    draw_attribution(an_attribution(), tmp_path / "map.svg")
    assert "esc &lt;&amp;&gt; light x2" in (tmp_path / "map.svg").read_text()


def test_pixels_are_as_hot_as_they_matter(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw_attribution(an_attribution(), tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as image:
        colors = image.convert("RGB").getcolors(maxcolors=2**20)
    assert colors is not None
    counts = {color: count for count, color in colors}
    assert counts[252, 254, 164] > 100  # the hottest color of matplotlib's inferno
    assert counts[128, 128, 128] > 100 * 100  # most of the picture has no attribution


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.png or \.svg"):
        draw_similarity(SIMILARITY, tmp_path / "plot.pdf")
    pytest.importorskip("matplotlib")
    with pytest.raises(OutputError, match="folder does not exist"):
        draw_attribution(an_attribution(), tmp_path / "nowhere" / "map.png")
