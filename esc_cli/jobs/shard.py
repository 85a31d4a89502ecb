"""One share of a list of inputs, so that several machines divide a folder without talking to each other."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from esc_cli.errors import UsageError


@dataclass(frozen=True)
class Shard:
    """One of several equal shares.

    Attributes:
        number: Which, from 1.
        count: Of how many.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read ``2/8``.

        Raises:
            UsageError: It is no such share.
        """
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(f"{text!r} is no share of the work", hint="the second of eight is 2/8")
        return cls(int(match[1]), int(match[2]))

    def has(self, stem: Path) -> bool:
        """Tell whether an input belongs to this share.

        It depends on the input's own name alone, so that files may come and go; and not on its ending, case
        or Unicode form, so that inputs whose results could collide are in one share, where that is noticed.

        Args:
            stem: The input's path below the folder that was named, without its ending.
        """
        key = unicodedata.normalize("NFC", stem.as_posix()).casefold()
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1
