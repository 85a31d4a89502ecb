"""Names of image sequences: `frames/%06d.png` stands for `frames/000001.png` and the files that follow."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from esc_cli.errors import InputError, UsageError

_TOKEN = re.compile(r"%(%|d|0[1-9][0-9]?d)?")


@dataclass(frozen=True)
class SequenceNames:
    """The names of a sequence of files.

    Attributes:
        folder: Folder of the files.
        before, after: Text before and after the number.
        digits: Minimum number of digits; shorter numbers are padded with zeros.
    """

    folder: Path
    before: str
    digits: int
    after: str

    def __str__(self) -> str:
        number = f"%0{self.digits}d" if self.digits else "%d"
        return str(self.folder / f"{self.before}{number}{self.after}")

    def path(self, number: int) -> Path:
        """Return the path of the file with this number."""
        return self.folder / f"{self.before}{number:0{self.digits}d}{self.after}"

    def files(self) -> list[Path]:
        """Return the existing files, from the lowest number on.

        Raises:
            InputError: There are no files, or a file in between is missing.
        """
        numbers = self._numbers()
        if not numbers:
            raise InputError(f"no files match {self}")
        for number, found in enumerate(numbers, start=numbers[0]):
            if number != found:
                last = self.path(numbers[-1]).name
                raise InputError(f"{self.path(number)} is missing, but the numbers continue to {last}")
        return [self.path(number) for number in numbers]

    def found(self) -> list[Path]:
        """Return the existing files; the list is empty if there are none."""
        return [self.path(number) for number in self._numbers()] if self.folder.is_dir() else []

    def _numbers(self) -> list[int]:
        name = re.compile(f"{re.escape(self.before)}([0-9]+){re.escape(self.after)}")
        try:
            matches = [name.fullmatch(path.name) for path in self.folder.iterdir()]
        except OSError as error:
            raise InputError(f"the folder {self.folder} cannot be read: {error.strerror}") from error
        found = ((int(match[1]), match[0]) for match in matches if match)
        return sorted(number for number, name in found if self.path(number).name == name)


def is_sequence(name: str) -> bool:
    """Return whether a name stands for an image sequence and is not the name of an existing file.

    The last part of such a name has one field, such as `%d` or `%06d`; `%%` stands for a percent sign.

    Args:
        name: The name to check.
    """
    return _parsed(name) is not None and not os.path.lexists(name)


def sequence_names(pattern: str) -> SequenceNames:
    """Parse a name that stands for an image sequence.

    Raises:
        UsageError: The name has no number, or several.
    """
    names = _parsed(pattern)
    if names is None:
        raise UsageError(
            f"'{pattern}' must have exactly one number field", hint="write it as %d or %06d, and % as %%"
        )
    return names


def _parsed(pattern: str) -> SequenceNames | None:
    """Parse the last part of a path; return None if it does not have exactly one number.

    Source: av_get_frame_filename of FFmpeg's libavformat.
    """
    path = Path(pattern)
    fields = [token for token in _TOKEN.finditer(path.name) if token[1] != "%"]
    if len(fields) != 1 or fields[0][1] is None:
        return None
    before, after = path.name[: fields[0].start()], path.name[fields[0].end() :]
    digits = int(fields[0][1].rstrip("d") or 0)
    return SequenceNames(path.parent, before.replace("%%", "%"), digits, after.replace("%%", "%"))
