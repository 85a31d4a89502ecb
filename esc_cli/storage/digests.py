"""Digests of files and of names."""

import hashlib
from pathlib import Path


def file_sha256(path: Path) -> str:
    """Compute a file's digest, hexadecimal.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
