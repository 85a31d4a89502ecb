"""Find the directories of a TIFF that are pages.

Other directories belong to a page: smaller copies (overviews) and transparency masks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from PIL.ExifTags import Base as Tag

from esc_cli.media.tiff_directories import Directory, TiffReader

# Source: TIFF 6.0, NewSubfileType (bit 0: a smaller copy of another image; bit 2: a mask of another image),
# SubfileType (2: a smaller copy), PhotometricInterpretation (4: a mask); TIFF technical note 1 (SubIFDs).
_SMALLER_BIT, _MASK_BIT = 1, 4
_SMALLER, _MASK = 2, 4


@dataclass(frozen=True)
class TiffContents:
    """The directories of a TIFF that are pages, and the number of others.

    Attributes:
        numbers: Number of each page among all directories.
        starts: Offset of each page's directory.
        overviews: Number of smaller copies of pages. Those of masks do not count.
        masks: Number of transparency masks in full size.
    """

    numbers: tuple[int, ...]
    starts: tuple[int, ...]
    overviews: int
    masks: int

    def notes(self) -> Iterator[str]:
        """Yield a sentence for each kind of picture that is left out."""
        if self.overviews:
            yield f"smaller copies of the picture (overviews: {self.overviews}) were left out"
        if self.masks:
            yield "the transparency mask was left out, so masked areas are visible"


def contents_of(file: IO[bytes]) -> TiffContents:
    """Sort the directories of a TIFF. If none is a full picture, smaller copies count as pages.

    A camera raw file may begin with a smaller copy of what lies in its nested directories. It stays the first
    page, by which such a file is detected.

    Raises:
        ValueError: The file is damaged.
    """
    reader = TiffReader(file)
    directories = list(reader.chain())
    masks, copies = ([test(reader, one) for one in directories] for test in (_is_mask, _is_smaller))
    if copies[0] and Tag.SubIFDs in directories[0].entries:
        copies = [False] * len(directories)
    everything = range(len(directories))
    full = [at for at in everything if not masks[at] and not copies[at]]
    pages = full or [at for at in everything if not masks[at]] or list(everything)
    nested = [_is_smaller(reader, one) for at in pages for one in _sub_directories(reader, directories[at])]
    hidden = set(everything) - set(pages)
    return TiffContents(
        tuple(pages),
        tuple(directories[at].start for at in pages),
        overviews=sum(not masks[at] for at in hidden) + sum(nested),
        masks=sum(masks[at] and not copies[at] for at in hidden),
    )


def _is_mask(reader: TiffReader, page: Directory) -> bool:
    is_mask = bool(reader.number_of(page, Tag.NewSubfileType) & _MASK_BIT)
    return is_mask or reader.number_of(page, Tag.PhotometricInterpretation) == _MASK


def _is_smaller(reader: TiffReader, page: Directory) -> bool:
    is_smaller = bool(reader.number_of(page, Tag.NewSubfileType) & _SMALLER_BIT)
    return is_smaller or reader.number_of(page, Tag.SubfileType) == _SMALLER


def _sub_directories(reader: TiffReader, page: Directory) -> Iterator[Directory]:
    """Yield the directories that a page names, as far as they can be read."""
    if Tag.SubIFDs not in page.entries:
        return
    for start in reader.numbers(page.entries[Tag.SubIFDs]):
        try:
            yield reader.directory(start)
        except ValueError:
            continue
