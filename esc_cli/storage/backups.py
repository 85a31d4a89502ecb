"""Keep a file under a second name, so that its first name can be given to another file."""

import os
from contextlib import suppress
from pathlib import Path

from esc_cli.errors import OutputExistsError
from esc_cli.storage.whole_files import copy_whole, file_sha256, folder_mode_of, make_folder


def back_up(source: Path, backup: Path) -> None:
    """Keep a file under a second name.

    The backup is a hard link where the disk allows it, and otherwise a complete copy with the date and the
    permissions of the file. When this returns, it is on the disk.

    Raises:
        OutputExistsError: The backup already exists and has other content.
        OutputError: The backup cannot be written.
        DiskFullError: There is no space left for the backup.
    """
    make_folder(backup.parent, folder_mode_of(source.parent))
    original = Path(os.path.realpath(source))
    check_backup(original, backup)
    if not os.path.lexists(backup):
        try:
            backup.hardlink_to(original)
        except OSError:  # another disk, or one without hard links
            copy_whole(original, backup)
    _flush_folder(backup.parent)


def check_backup(source: Path, backup: Path) -> None:
    """Refuse a backup whose name is taken by another file, such as the original of an earlier run.

    Raises:
        OutputExistsError: The backup already exists and has other content.
    """
    if _is_other_file(source, backup):
        raise OutputExistsError(
            f"the backup {str(backup)!r} already exists and is another file",
            hint="name another folder with --backup",
        )


def _is_other_file(source: Path, other: Path) -> bool:
    """Return whether a name is taken by a file whose content is not that of the source."""
    if not os.path.lexists(other):
        return False
    if not other.is_file():
        return True
    if source.samefile(other):
        return False
    return source.stat().st_size != other.stat().st_size or file_sha256(source) != file_sha256(other)


def _flush_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, where the system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
