"""Write a page that shows pictures of one scene in a browser, one over another with a slider between them.

The page loads nothing from the internet. The pictures are part of it, unless they are too large together. In
that case, they are cut into tiles, which lie in a folder beside the page.
"""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

from torch import Tensor

from esc_cli.enhancement.resize import resize
from esc_cli.evaluation.viewer.files import address_in, check_folder, filled_template, folder_beside
from esc_cli.media.formats.registry import format_named
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.picture import Picture, PictureFile, WriteSettings
from esc_cli.media.write import encode_file
from esc_cli.storage.whole_files import write_whole

EMBEDDED_PX = 60_000_000
"""Most pixels of all pictures together that are part of the page: about 35 MB of lossless WebP."""

EMBEDDED_SIDE_PX = 8192
"""Longest side of pictures that are part of the page: what graphics processors take as one texture."""

TILE_PX = 1024
"""Side of a tile. A browser shows some tens of them at once, and decodes only those."""

OVERVIEW_PX = 2048
"""Longest side of the picture that is shown instead of tiles while it is small on the screen."""

_Store = Callable[[str, Tensor], str]
"""Stores pixels (1, 3, H, W), uint8, under a name, and returns the address for the page."""


class Page:
    """The layers of a page, added one by one, so that only one picture is in memory.

    Args:
        store: Stores pixels and returns their address.
        tiled: Whether large layers are cut into tiles.
    """

    def __init__(self, store: _Store, *, tiled: bool) -> None:
        self._store = store
        self._tiled = tiled
        self._layers: list[dict[str, Any]] = []

    def add(self, name: str, color: Tensor, facts: Mapping[str, str]) -> None:
        """Add a layer. All layers are shown at the size of the largest one.

        Args:
            name: Name of the layer.
            color: Pixels (1, 3, H, W), uint8, sRGB.
            facts: Figures of the layer, in the order in which the page lists them.

        Raises:
            OutputError: A tile cannot be written.
        """
        height, width = color.shape[-2:]
        number = len(self._layers)
        is_cut = self._tiled and max(height, width) > OVERVIEW_PX
        tiles = self._tiles(number, color) if is_cut else None
        overview = self._store(f"{number}.webp", shrunk(color, OVERVIEW_PX) if is_cut else color)
        self._append(name, (height, width), overview, facts, tiles)

    def _tiles(self, number: int, color: Tensor) -> dict[str, Any]:
        height, width = color.shape[-2:]
        names = [
            [
                self._store(f"{number}-{row}-{column}.webp", _tile(color, row, column))
                for column in range(_count(width))
            ]
            for row in range(_count(height))
        ]
        return {"size": TILE_PX, "names": names, "overviewScale": OVERVIEW_PX / max(height, width)}

    def link(self, name: str, size: tuple[int, int], address: str, facts: Mapping[str, str]) -> None:
        """Add a layer that is a file, which the browser reads itself.

        Args:
            name: Name of the layer.
            size: Height and width, in pixels.
            address: Address of the file for the page.
            facts: See ``add``.
        """
        self._append(name, size, address, facts)

    def _append(
        self,
        name: str,
        size: tuple[int, int],
        overview: str,
        facts: Mapping[str, str],
        tiles: dict[str, Any] | None = None,
    ) -> None:
        height, width = size
        layer = {"name": name, "width": width, "height": height, "facts": dict(facts)}
        self._layers.append({**layer, "tiles": tiles, "overview": overview})

    def data(self, title: str) -> dict[str, Any]:
        """Return what the script of the page shows, which begins with the first layer and the last one."""
        largest = max(self._layers, key=lambda layer: layer["width"])
        size = {"width": largest["width"], "height": largest["height"]}
        return {"title": title, **size, "layers": self._layers}

    def text(self, title: str) -> str:
        """Return the whole page."""
        return filled_template("page", title, self.data(title))


def is_small(sizes: Sequence[tuple[int, int]]) -> bool:
    """Return whether a browser can show pictures of these sizes (height, width) without tiles."""
    return sum(map(prod, sizes)) <= EMBEDDED_PX and max(map(max, sizes)) <= EMBEDDED_SIDE_PX


@contextmanager
def written_page(
    target: Path, title: str, sizes: Sequence[tuple[int, int]], *, replace: bool
) -> Iterator[Page]:
    """Yield a page to add layers to, and write it when all were added without an error.

    Args:
        target: The file to write. The folder for its tiles has the same name with ``_files`` at the end.
        title: Title of the page.
        sizes: Height and width of each layer. They decide whether the pictures are part of the page.
        replace: Whether an existing page is replaced, with its folder.

    Raises:
        OutputExistsError: The page or its folder already exists.
        OutputError: A file cannot be written, or the folder holds other files than a page's tiles.
    """
    if is_small(sizes):
        page = Page(_embedded, tiled=False)
        yield page
        write_whole(target, page.text(title).encode(), replace=replace)
        return
    check_folder(target, replace=replace)
    with folder_beside(target) as (partial, name):
        page = Page(lambda file, color: _beside(partial, name, file, color), tiled=True)
        yield page
        text = page.text(title).encode()
    write_whole(target, text, replace=replace)


def _embedded(_: str, color: Tensor) -> str:
    return "data:image/webp;base64," + base64.b64encode(encoded(color)).decode()


def _beside(partial: Path, folder: str, name: str, color: Tensor) -> str:
    write_whole(partial / name, encoded(color))
    return address_in(folder, name)


def encoded(color: Tensor, extension: str = "webp", quality: int | None = None) -> bytes:
    """Return the content of a file with pixels (1, 3, H, W), uint8, by default without loss."""
    picture = Picture(color, None, False, Metadata(), "PNG")
    return encode_file(PictureFile((picture,)), format_named(extension), WriteSettings(quality))


def shrunk(color: Tensor, longest_px: int) -> Tensor:
    """Shrink (1, 3, H, W) until no side is longer than ``longest_px``."""
    height, width = color.shape[-2:]
    scale = min(1, longest_px / max(height, width))
    return resize(color, max(1, round(height * scale)), max(1, round(width * scale)))


def _tile(color: Tensor, row: int, column: int) -> Tensor:
    top, left = row * TILE_PX, column * TILE_PX
    return color[..., top : top + TILE_PX, left : left + TILE_PX]


def _count(length_px: int) -> int:
    return -(-length_px // TILE_PX)
