"""Name results by a template of the user, such as ``{stem}_{scale}x``."""

import os
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from esc_cli.errors import UsageError, did_you_mean
from esc_cli.jobs.sources import without_extension

FIELDS = ("stem", "scale", "width", "height", "model")
"""The fields that a template may have."""

_SEPARATORS = {separator for separator in (os.sep, os.altsep, "/") if separator}


@dataclass(frozen=True)
class NameTemplate:
    """A template for the names of results, without their extension.

    Attributes:
        text: Text with fields in braces. Doubled braces stand for themselves.
    """

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check a template.

        Raises:
            UsageError: The template is empty, names a folder or an extension, or has an unknown field.
        """
        fields = _fields_of(text)
        for name in fields:
            if name not in FIELDS:
                known = ", ".join(f"{{{field}}}" for field in FIELDS)
                raise UsageError(f"a name cannot have the field {{{name}}}", _near(name) or f"use {known}")
        if not text.strip(" ."):
            raise UsageError(
                "a name for results cannot be empty, or only dots", hint="write one such as {stem}_{scale}x"
            )
        if "\0" in text:
            raise UsageError(f"the name {text!r} has a NUL, which no name of a file can have")
        if any(separator in text for separator in _SEPARATORS):
            raise UsageError(f"the name {text!r} has a folder", hint="name a folder for the results with -o")
        if without_extension(Path(text)) != Path(text):
            raise UsageError(
                f"the name {text!r} has an extension, which each result gets from its format",
                hint="choose a format with -f",
            )
        return cls(text)

    def needs(self, field: str) -> bool:
        """Return whether the template has a field."""
        return field in _fields_of(self.text)

    def fill(self, values: Mapping[str, object]) -> str:
        """Return a name.

        Args:
            values: The value of each field.
        """
        return self.text.format_map(values)


def _fields_of(text: str) -> list[str]:
    """Return the fields of a template, with everything inside their braces.

    Raises:
        UsageError: The braces do not match.
    """
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise UsageError(
            f"the braces in the name {text!r} do not match", hint="write a brace itself as {{ or }}"
        ) from error
    return [_whole(*part[1:]) for part in parts if part[1] is not None]


def _whole(name: str | None, format: str | None, conversion: str | None) -> str:
    return f"{name}{f'!{conversion}' if conversion else ''}{f':{format}' if format else ''}"


def _near(name: str) -> str | None:
    nearest = did_you_mean(name, FIELDS)
    return nearest and f"{nearest} (the fields are {', '.join(FIELDS)})"
