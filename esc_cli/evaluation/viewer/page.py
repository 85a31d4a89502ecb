"""Write a page that shows pictures of one scene in a browser, one over another with a slider between them.

The page loads nothing from the internet. The pictures are part of it, unless they are too large together. In
that case, they are cut into tiles, which lie in a folder beside the page.
"""

import base64
import html
import json
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from math import prod
from pathlib import Path
from typing import Any

from torch import Tensor

from esc_cli.enhancement.resize import resize
from esc_cli.errors import OutputError, OutputExistsError
from esc_cli.media.formats.registry import format_named
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.picture import Picture, PictureFile
from esc_cli.media.write import encode_file
from esc_cli.storage.whole_files import make_folder, output_error, write_whole

EMBEDDED_PX = 60_000_000
"""Most pixels of all pictures together that are part of the page: about 35 MB of lossless WebP."""

EMBEDDED_SIDE_PX = 8192
"""Longest side of pictures that are part of the page: what graphics processors take as one texture."""

TILE_PX = 1024
"""Side of a tile. A browser shows some tens of them at once, and decodes only those."""

OVERVIEW_PX = 2048
"""Longest side of the picture that is shown instead of tiles while it is small on the screen."""

_TILE_NAME = re.compile(r"\d+(-\d+-\d+)?\.webp")

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
        layer = {"name": name, "width": width, "height": height, "facts": dict(facts)}
        layer["tiles"] = self._tiles(number, color) if is_cut else None
        layer["overview"] = self._store(f"{number}.webp", _overview(color) if is_cut else color)
        self._layers.append(layer)

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

    def text(self, title: str) -> str:
        """Return the whole page, which begins with the first layer on the left and the last on the right."""
        largest = max(self._layers, key=lambda layer: layer["width"])
        page = {"width": largest["width"], "height": largest["height"], "layers": self._layers}
        folder = files(__package__)
        parts = {
            "title": html.escape(title),
            "style": folder.joinpath("page.css").read_text(encoding="utf-8"),
            "script": folder.joinpath("page.js").read_text(encoding="utf-8"),
            # A "<" could end the script element that the data stand in.
            "page": json.dumps(page, ensure_ascii=False).replace("<", "\\u003c"),
        }
        template = folder.joinpath("page.html").read_text(encoding="utf-8")
        return re.sub(r"\{(\w+)\}", lambda match: parts[match[1]], template)


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
    if sum(map(prod, sizes)) <= EMBEDDED_PX and max(map(max, sizes)) <= EMBEDDED_SIDE_PX:
        page = Page(_embedded, tiled=False)
        yield page
        write_whole(target, page.text(title).encode(), replace=replace)
        return
    folder = target.with_name(f"{target.stem}_files")
    _check_folder(folder, replace=replace)
    partial = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    try:
        make_folder(partial)
        page = Page(lambda name, color: _beside(partial, folder.name, name, color), tiled=True)
        yield page
        text = page.text(title).encode()
        _publish(partial, folder)
        write_whole(target, text, replace=replace)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _embedded(_: str, color: Tensor) -> str:
    return "data:image/webp;base64," + base64.b64encode(_encoded(color)).decode()


def _beside(partial: Path, folder: str, name: str, color: Tensor) -> str:
    write_whole(partial / name, _encoded(color))
    return f"{folder}/{name}"


def _encoded(color: Tensor) -> bytes:
    picture = Picture(color, None, False, Metadata(), "PNG")
    return encode_file(PictureFile((picture,)), format_named("webp"))


def _check_folder(folder: Path, *, replace: bool) -> None:
    if not folder.exists():
        return
    if not replace:
        raise OutputExistsError(
            f"{str(folder)!r} already exists", hint="choose another name, or use --overwrite"
        )
    if not folder.is_dir() or not all(_TILE_NAME.fullmatch(path.name) for path in folder.iterdir()):
        raise OutputError(f"{str(folder)!r} is not a folder of a page", hint="choose another name")


def _publish(partial: Path, folder: Path) -> None:
    try:
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    except OSError as error:
        raise output_error(f"cannot write {str(folder)!r}", error) from error


def _overview(color: Tensor) -> Tensor:
    height, width = color.shape[-2:]
    scale = OVERVIEW_PX / max(height, width)
    return resize(color, max(1, round(height * scale)), max(1, round(width * scale)))


def _tile(color: Tensor, row: int, column: int) -> Tensor:
    top, left = row * TILE_PX, column * TILE_PX
    return color[..., top : top + TILE_PX, left : left + TILE_PX]


def _count(length_px: int) -> int:
    return -(-length_px // TILE_PX)
