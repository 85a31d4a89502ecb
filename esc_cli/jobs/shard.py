"""Divide a list of inputs into shards, so that several machines share a folder without communicating."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from esc_cli.errors import UsageError


@dataclass(frozen=True)
class Shard:
    """One of several equal parts of the work.

    Attributes:
        number: The number of the shard, starting at 1.
        count: The number of all shards.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Parse a shard such as ``2/8``.

        Raises:
            UsageError: The text is not a valid shard.
        """
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(f"{text!r} is not a valid shard", hint="write the second of eight as 2/8")
        return cls(int(match[1]), int(match[2]))

    def has(self, stem: Path) -> bool:
        """Return whether an input belongs to this shard.

        The shard depends only on the name of the input, so files may be added and removed. It does not depend
        on the extension, the case or the Unicode form of the name. Therefore, inputs whose results could
        collide are in one shard, where the collision is noticed.

        Args:
            stem: The path of the input relative to the folder that was named, without its extension.
        """
        key = unicodedata.normalize("NFC", stem.as_posix()).casefold()
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1
