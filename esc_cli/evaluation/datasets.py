"""Folders of pictures."""

from pathlib import Path

from esc_cli.errors import InputError
from esc_cli.media.probe import is_picture


def find_pictures(folder: Path) -> tuple[Path, ...]:
    """List the pictures in a folder and its sub-folders, in a stable order.

    Raises:
        InputError: It is no folder, or there are none in it.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {str(folder)!r}")
    files = (path for path in folder.rglob("*") if path.is_file() and is_picture(path))
    pictures = tuple(sorted(files, key=lambda path: path.relative_to(folder).as_posix()))
    if not pictures:
        raise InputError(f"there are no pictures in {str(folder)!r}")
    return pictures
