"""What a written page holds. What a browser makes of it is in `test_browser.py`."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from esc_cli.errors import OutputError, OutputExistsError
from esc_cli.evaluation.viewer.page import EMBEDDED_SIDE_PX, OVERVIEW_PX, TILE_PX, written_page
from esc_cli.media.read import read_picture

LONG = EMBEDDED_SIDE_PX + 1
Write = Callable[..., Path]


def flat(height: int, width: int, value: int = 90) -> Tensor:
    return torch.full((1, 3, height, width), value, dtype=torch.uint8)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a page of layers, given by their names."""

    def write(layers: dict[str, Tensor], title: str = "a page", *, replace: bool = False) -> Path:
        sizes = [(color.shape[-2], color.shape[-1]) for color in layers.values()]
        with written_page(tmp_path / "page.html", title, sizes, replace=replace) as page:
            for name, color in layers.items():
                page.add(name, color, {"size": "large"})
        return tmp_path / "page.html"

    return write


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="page">(.*?)</script>', page.read_text("utf-8"))
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_small_pictures_are_part_of_the_page(write: Write) -> None:
    page = write({"before": flat(4, 6), "after": flat(8, 12)})
    data = data_of(page)
    assert (data["width"], data["height"]) == (12, 8)
    assert [layer["name"] for layer in data["layers"]] == ["before", "after"]
    assert all(layer["overview"].startswith("data:image/webp;base64,") for layer in data["layers"])
    assert [path.name for path in page.parent.iterdir()] == ["page.html"]


def test_tiles_of_a_large_picture_are_the_picture(write: Write) -> None:
    wide = torch.arange(LONG, dtype=torch.int64).remainder(256).to(torch.uint8).expand(1, 3, 3, LONG)
    page = write({"wide": wide, "small": flat(3, 7)})
    large, small = data_of(page)["layers"]
    names = large["tiles"]["names"]
    assert [len(row) for row in names] == [-(-LONG // TILE_PX)]
    tiles = [read_picture(page.parent / name).color for name in names[0]]
    assert torch.equal(torch.cat(tiles, dim=-1), wide)
    assert max(read_picture(page.parent / large["overview"]).color.shape) == OVERVIEW_PX
    assert small["tiles"] is None
    assert {path.name for path in page.parent.iterdir()} == {"page.html", "page_files"}


def test_names_are_texts_and_no_code(write: Write) -> None:
    name = "</script><b>{title}"
    page = write({name: flat(2, 2)}, title="<b>&{page}")
    assert data_of(page)["layers"][0]["name"] == name
    assert "<h1>&lt;b&gt;&amp;{page}</h1>" in page.read_text("utf-8")


def test_nothing_stays_of_a_page_that_fails(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        written_page(tmp_path / "a.html", "", [(2, LONG)], replace=False) as page,
    ):
        page.add("one", flat(2, LONG), {})
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_a_page_is_replaced_with_its_folder_only_on_demand(write: Write) -> None:
    page = write({"wide": flat(2, LONG)})
    before = page.read_bytes()
    with pytest.raises(OutputExistsError, match="page_files"):
        write({"wide": flat(2, LONG, value=1)})
    assert page.read_bytes() == before
    write({"wide": flat(2, LONG - 1, value=1), "other": flat(2, LONG)}, replace=True)
    assert len(data_of(page)["layers"]) == 2
    assert int(read_picture(page.parent / "page_files" / "0.webp").color.max()) == 1


def test_a_folder_with_other_files_is_never_replaced(write: Write, tmp_path: Path) -> None:
    (tmp_path / "page_files").mkdir()
    (tmp_path / "page_files" / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(OutputError, match="not a folder of a page"):
        write({"wide": flat(2, LONG)}, replace=True)
    assert (tmp_path / "page_files" / "holiday.jpg").read_bytes() == b"mine"
