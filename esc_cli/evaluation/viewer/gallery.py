"""Write a page that shows many pictures and their results, with what became of each.

Files that browsers show are not copied: the page refers to them. A folder beside the page has small pictures
where the inputs are large, copies of other files, and a page with a slider, which shows any of them.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import torch
from torch import Tensor

from esc_cli.errors import InputError, OutputError
from esc_cli.evaluation.shown import as_shown
from esc_cli.evaluation.viewer.files import SLIDER, address_in, check_folder, filled_template, folder_beside
from esc_cli.evaluation.viewer.page import Page, encoded, is_small, shrunk
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.picture import Picture
from esc_cli.media.pixels.depth import with_depth
from esc_cli.media.probe import Probe, probe
from esc_cli.media.read import read_picture, read_small
from esc_cli.media.video.reader import VideoReader
from esc_cli.storage.whole_files import mode_of, write_whole

SMALL_PX = 320
"""Longest side of the small pictures that are made."""

SMALL_QUALITY, COPY_QUALITY = 75, 95

SMALL_INPUT_PX = 2**20
"""An input with at most this many pixels is its own small picture: browsers decode it in no time."""

T = TypeVar("T")

State = Literal["done", "kept", "failed", "left"]


@dataclass(frozen=True)
class Entry:
    """One input of a gallery, with what became of it.

    Attributes:
        name: Name of the input.
        state: ``done``, ``kept`` (its result was there before), ``failed``, or ``left`` (it was not begun).
        before: File of the input; None if there is none to show.
        after: File of the result; None if there is none.
        facts: Figures of the result, by their names.
        seconds: Time that the work took, if it is known.
        problem: Sentences about a failure: what happened and, if it is known, what helps.
        notes: Sentences about what could not be kept.
    """

    name: str
    state: State
    before: Path | None = None
    after: Path | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None
    problem: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Summary:
    """The facts about a whole gallery.

    Attributes:
        title: Title of the page.
        facts: Figures, by their names.
        remarks: Sentences about the whole.
    """

    title: str
    facts: Mapping[str, str]
    remarks: tuple[str, ...] = ()


def write_gallery(
    target: Path,
    summary: Summary,
    entries: Sequence[Entry],
    *,
    replace: bool,
    identity: str = "",
    is_hurried: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write a gallery, which those can read who can read the pictures. At most one picture is in memory.

    Ctrl-C ends the making of copies and small pictures. The page is then written without the missing ones.

    Args:
        target: The file to write. Its folder has the same name with ``_files`` at the end.
        summary: What is said above the pictures.
        entries: The pictures, in order.
        replace: Whether an existing page is replaced, with its folder.
        identity: Text by which the page is recognized later; see ``files.identity_of``.
        is_hurried: Whether to make no copies and no small pictures.
        progress: Function that is called with the number of entries done and to do.

    Raises:
        OutputExistsError: The page or its folder already exists.
        OutputError: A file cannot be written, or the folder holds other files than a page's.
    """
    check_folder(target, replace=replace)
    with folder_beside(target) as (folder, name):
        files = _Files(target.parent, folder, name, is_hurried=is_hurried)
        shown, interruption = _all_shown(files, entries, progress)
        write_whole(folder / SLIDER, filled_template("page", "Slider", None).encode())
        data = {
            "facts": dict(summary.facts),
            "remarks": (*summary.remarks, *files.remarks),
            "slider": address_in(name, SLIDER),
            "entries": shown,
        }
        page = filled_template("gallery", summary.title, data, identity=identity)
    named = (path for entry in entries for path in (entry.before, entry.after) if path is not None)
    write_whole(target, page.encode(), replace=replace, mode=mode_of(named))
    if interruption is not None:
        raise interruption


def _all_shown(
    files: "_Files", entries: Sequence[Entry], progress: Callable[[int, int], None]
) -> tuple[list[dict[str, Any]], BaseException | None]:
    """Return what the page knows about all entries, and the exception that ended the making of files."""
    shown: list[dict[str, Any]] = []
    interruption: BaseException | None = None
    for number, entry in enumerate(entries):
        try:
            one = files.shown(number, entry)
            progress(number + 1, len(entries))
        except Exception:
            raise
        except BaseException as error:  # noqa: BLE001 - Ctrl-C and the like, raised again at the end
            interruption, files.is_hurried = error, True
            one = files.shown(number, entry)
        shown.append(one)
    return shown, interruption


class _Files:
    """The files that a gallery refers to, and those that are made for it.

    Args:
        place: The folder of the page.
        folder: The folder of the files that are made.
        name: The name of that folder in addresses.
        is_hurried: Whether no files are made.
    """

    def __init__(self, place: Path, folder: Path, name: str, *, is_hurried: bool) -> None:
        self._place = place
        self._folder = folder
        self._name = name
        self.is_hurried = is_hurried

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences about what is missing."""
        missing = "Copies and small pictures are missing, because there was no time to make them."
        return (missing,) if self.is_hurried else ()

    def shown(self, number: int, entry: Entry) -> dict[str, Any]:
        """Return what the script of the page knows about an entry."""
        there = {"input": entry.before, "result": entry.after}
        if self.is_hurried and entry.state == "left":
            there = {}
        files = {layer: path for layer, path in there.items() if path is not None and os.path.isfile(path)}  # noqa: PTH113 - long names
        pictures = {layer: _Shown(path, header) for layer, path in files.items() if (header := _header(path))}
        last = next(reversed(files.values()), None)
        result = files.get("result")
        return {
            "name": entry.name,
            "state": entry.state,
            "facts": {**_facts(pictures), **entry.facts},
            "px": max((picture.px for picture in pictures.values()), default=None),
            "bytes": self._tried(lambda: None if result is None else result.stat().st_size),
            "seconds": entry.seconds,
            "problem": entry.problem,
            "notes": entry.notes,
            "small": self._tried(self._small, number, [*pictures.values()], [*files.values()]),
            "page": self._tried(self._page, number, entry, pictures),
            "file": None if last is None else self._address(last),
        }

    def _tried(self, make: Callable[..., T | None], *arguments: Any) -> T | None:
        """Return what a function makes, or None if a file cannot be read."""
        try:
            return make(*arguments)
        except OutputError:
            raise
        except Exception:  # noqa: BLE001 - no file stops the page, whatever a library raises
            return None

    def _small(self, number: int, pictures: Sequence["_Shown"], files: Sequence[Path]) -> str | None:
        """Return the address of a small picture, made of the input, which is smaller than the result."""
        first = pictures[0] if pictures else None
        if first is not None and first.is_light:
            return self._address(first.path)
        if self.is_hurried or not files:
            return None
        color = _first_look(files[0]) if first is None else as_shown(read_small(first.path, SMALL_PX)).color
        content = encoded(shrunk(color, SMALL_PX), quality=SMALL_QUALITY)
        return self._stored(f"{number}.webp", content, mode_of(files))

    def _page(self, number: int, entry: Entry, pictures: Mapping[str, "_Shown"]) -> dict[str, Any] | None:
        """Return the data of the page with the slider, or None if there is nothing to show."""
        if not pictures or (self.is_hurried and not all(picture.is_linked for picture in pictures.values())):
            return None
        mode = mode_of(picture.path for picture in pictures.values())
        page = Page(partial(self._store_copy, number, mode), tiled=True)
        for layer, picture in pictures.items():
            size = picture.header.height, picture.header.width
            facts = {"size": f"{size[1]}x{size[0]}", "format": picture.header.format}
            if picture.is_linked:
                page.link(layer, size, self._address(picture.path), facts)
            else:
                copy = {"shown as": f"a JPEG of quality {COPY_QUALITY}"}
                page.add(layer, as_shown(read_picture(picture.path)).color, {**facts, **copy})
        return page.data(entry.name)

    def _store_copy(self, number: int, mode: int, name: str, color: Tensor) -> str:
        content = encoded(color, "jpg", COPY_QUALITY)
        return self._stored(f"{number}-{Path(name).stem}.jpg", content, mode)

    def _stored(self, name: str, content: bytes, mode: int) -> str:
        write_whole(self._folder / name, content, mode=mode)
        return address_in(self._name, name)

    def _address(self, file: Path) -> str:
        """Return the address of a file as seen from the page."""
        try:
            return quote(os.fsencode(os.path.relpath(file, self._place)).replace(os.fsencode(os.sep), b"/"))
        except ValueError:  # another drive of Windows
            return file.resolve().as_uri()


@dataclass(frozen=True)
class _Shown:
    """A picture file that a gallery shows, with its header."""

    path: Path
    header: Probe

    @property
    def px(self) -> int:
        """Number of its pixels."""
        return self.header.height * self.header.width

    @property
    def is_linked(self) -> bool:
        """Whether browsers show the file itself."""
        return self.header.shown_by_browsers and is_small([(self.header.height, self.header.width)])

    @property
    def is_light(self) -> bool:
        """Whether the file itself is used as the small picture."""
        return self.is_linked and self.header.frames == 1 and self.px <= SMALL_INPUT_PX


def _facts(pictures: Mapping[str, _Shown]) -> dict[str, str]:
    sizes = [f"{picture.header.width}x{picture.header.height}" for picture in pictures.values()]
    formats = dict.fromkeys(picture.header.format for picture in pictures.values())
    return {"size": " → ".join(sizes), "format": " → ".join(formats)} if pictures else {}


def _header(path: Path) -> Probe | None:
    try:
        return probe(path, keep_damaged=True)
    except InputError:
        return None


def _first_look(clip: Path) -> Tensor:
    """Return the frame in the middle of a clip, or its first one, as (1, 3, H, W), uint8.

    Raises:
        InputError: The file is not a clip, or it cannot be read.
    """
    with VideoReader(clip, deinterlace=True, may_end_early=True) as reader:
        middle = reader.clip.pts_at((reader.clip.duration_s or 0) / 2)
        frame = next(reader.frames_from(middle), None) or next(iter(reader))
        color = frame.turned(reader.clip.rotation_deg).color
    depth_bits = 8 if color.dtype == torch.uint8 else 16
    return with_depth(Picture(color, None, False, Metadata(), "PNG", depth_bits=depth_bits), 8).color
