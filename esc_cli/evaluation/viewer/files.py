"""The files of a page: the page itself, made from a template, and the folder beside it."""

import html
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from esc_cli.errors import OutputError, OutputExistsError
from esc_cli.storage.whole_files import make_folder, output_error

SLIDER = "slider.html"
"""Name of the page that shows any picture of a gallery."""

_OWN_NAME = re.compile(rf"\d+(-\d+)*\.(webp|jpg)|{re.escape(SLIDER)}")


def filled_template(kind: str, title: str, data: Mapping[str, Any] | None, identity: str = "") -> str:
    """Return a page, which is made of the files ``KIND.html``, ``KIND.css`` and ``KIND.js`` in a frame.

    Args:
        kind: ``page``, which shows one picture with a slider, or ``gallery``.
        title: Title of the page.
        data: Data for the script of the page. None means that they are in the page's address.
        identity: Text by which the page is recognized later; see ``identity_of``.
    """
    parts = {
        "kind": kind,
        "identity": _plain(identity),
        "title": _plain(title),
        "style": _template("frame.css") + _template(f"{kind}.css"),
        "script": _template(f"{kind}.js"),
        # A "<" could end the script element that the data stand in.
        "page": "" if data is None else json.dumps(data).replace("<", "\\u003c"),
    }
    whole = _template("frame.html").replace("{body}", _template(f"{kind}.html"))
    return re.sub(r"\{(\w+)\}", lambda match: parts[match[1]], whole)


def _template(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _plain(text: str) -> str:
    """Return a text for HTML. Names of files may have bytes that are not valid in UTF-8."""
    return html.escape(text.encode("utf-8", "replace").decode())


def identity_of(page: Path) -> str | None:
    """Return the text by which a gallery is recognized, or None if the file is not a gallery."""
    try:
        with page.open(encoding="utf-8", errors="replace") as file:
            beginning = file.read(2000)
    except OSError:
        return None
    _, mark, after = beginning.partition('<meta name="esc-upscale-gallery" content="')
    return after.partition('"')[0] if mark else None


def check_folder(target: Path, *, replace: bool) -> None:
    """Check that the folder beside a page can be written.

    Args:
        target: The page.
        replace: Whether an existing folder may be replaced.

    Raises:
        OutputExistsError: The folder exists, and must not be replaced.
        OutputError: The folder holds other files than those of a page.
    """
    folder = folder_of(target)
    if not folder.exists():
        return
    if not replace:
        raise OutputExistsError(
            f"{str(folder)!r} already exists", hint="choose another name, or use --overwrite"
        )
    if not folder.is_dir() or not all(_OWN_NAME.fullmatch(path.name) for path in folder.iterdir()):
        raise OutputError(f"{str(folder)!r} is not a folder of a page", hint="choose another name")


@contextmanager
def folder_beside(target: Path) -> Iterator[tuple[Path, str]]:
    """Yield a new folder for the files of a page, and the name that it gets at the end.

    It replaces the folder of an earlier page. After an error, nothing of it stays.

    Args:
        target: The page. The folder has the same name with ``_files`` at the end.

    Raises:
        OutputError: The folder cannot be written.
    """
    folder = folder_of(target)
    partial = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    try:
        make_folder(partial)
        yield partial, folder.name
        _publish(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def folder_of(target: Path) -> Path:
    """Return the folder for the files of a page, which need not exist."""
    return target.with_name(f"{target.stem}_files")


def address_in(folder: str, name: str) -> str:
    """Return the address of a file in the folder beside a page, as seen from the page."""
    return f"{quote(os.fsencode(folder))}/{name}"


def _publish(partial: Path, folder: Path) -> None:
    try:
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    except OSError as error:
        raise output_error(f"cannot write {str(folder)!r}", error) from error
