"""Define the task of making a preview of a picture, and plan it."""

from dataclasses import dataclass

from esc_cli.engine.tiling.tiles import Span
from esc_cli.enhancement.choice import Chooser
from esc_cli.enhancement.parts import Area, area_of_result, work_px
from esc_cli.enhancement.size import Geometry
from esc_cli.errors import UsageError
from esc_cli.jobs.naming import Destination, target_path
from esc_cli.jobs.options import Options
from esc_cli.jobs.previews.request import PREVIEW_LABEL, PreviewRequest
from esc_cli.jobs.previews.sheet import sheet_size
from esc_cli.jobs.record import Recipe
from esc_cli.jobs.sources import Source
from esc_cli.jobs.task import PictureTask
from esc_cli.media.archives import ArchiveFormat
from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.formats.registry import DEFAULT_FORMAT
from esc_cli.media.probe import Probe

PART_PX = 128
"""Side of a part that is chosen here, in pixels of the picture."""


@dataclass(frozen=True, kw_only=True)
class PreviewTask(PictureTask):
    """The task of making a preview. Its height and width are those of the whole result.

    Attributes:
        request: What is shown.
        is_page: Whether the result is a page for a browser. Otherwise, it is a sheet.
        exact: Whether the parts equal those of the whole result.
    """

    request: PreviewRequest
    is_page: bool
    exact: bool

    @property
    def format_name(self) -> str:
        """Name of the format of the result."""
        return "HTML" if self.is_page else super().format_name

    @property
    def is_one_file(self) -> bool:
        """Whether the result is one file. A page has its pictures beside it."""
        return not self.is_page

    def own_recipe(self, chooser: Chooser) -> Recipe:
        """Return what the preview shows, as a JSON object."""
        place = None if self.request.place is None else list(self.request.place)
        return {"preview": {"parts": self.request.parts, "place": place, "exact": self.exact}}

    @property
    def written_size(self) -> tuple[int, int]:
        """Size of the sheet or of the page's pictures, if there are as many parts as were asked for."""
        high = area_of_result(self._first, (self.probe.height, self.probe.width), (self.height, self.width))
        return sheet_size(*high.size, self.request.parts, is_page=self.is_page)

    @property
    def result_px(self) -> int:
        """Number of pixels of the result."""
        height, width = self.written_size
        return height * width

    @property
    def work_px(self) -> int:
        """Number of pixels that the network processes."""
        height, width = self.probe.height, self.probe.width
        whole_px = height * width
        part_px = whole_px if self.exact else work_px(self._first, height, width)
        return part_px * self.request.parts

    @property
    def _first(self) -> Area:
        return self.area or Area(
            *(Span(0, min(PART_PX, side)) for side in (self.probe.height, self.probe.width))
        )

    @property
    def area(self) -> Area | None:
        """The part that the user named, or None."""
        return None if self.request.place is None else _area(self.request.place, self.probe)


def plan_preview(
    source: Source, destination: Destination, size: Geometry, options: Options, header: Probe
) -> PreviewTask:
    """Plan the preview of a picture.

    Args:
        source: The picture.
        destination: The destination of all results.
        size: The rule for the size of the whole result.
        options: The options of the run, with a preview.
        header: The properties of the picture.

    Raises:
        UsageError: The part is not inside the picture, or the format of the result is not one of pictures.
    """
    format = destination.format or DEFAULT_FORMAT
    if not isinstance(format, PictureFormat):
        if not destination.is_folder:
            what = "an archive" if isinstance(format, ArchiveFormat) else "a container for clips"
            raise UsageError(f"a preview is a picture, but {format.name} is {what}")
        format = DEFAULT_FORMAT
    request = options.previewed or PreviewRequest()
    place = request.place
    if place is not None and not _is_inside(place, header):
        raise UsageError(
            f"the part {','.join(map(str, place))} is not inside {source.name}, "
            f"which has {header.width}x{header.height} pixels"
        )
    height, width = size.size_of(header.height, header.width)
    labels = (f"{label}{PREVIEW_LABEL}" for label in (size.label, size.file_label((height, width))))
    target = target_path(source, destination, format, *labels)
    if target is not None and destination.is_folder:
        target = target.with_name(f"{target.stem}{PREVIEW_LABEL}{target.suffix}")
    return PreviewTask(
        source=source,
        target=target,
        format=format,
        probe=header,
        height=height,
        width=width,
        lost=_not_shown(header),
        request=request,
        is_page=destination.is_page,
        exact=options.tiling == "exact",
    )


def _not_shown(header: Probe) -> tuple[str, ...]:
    if header.several is None:
        return ()
    return (f"a preview shows only the first of {header.frames} {header.several}",)


def _is_inside(place: tuple[int, ...], header: Probe) -> bool:
    x, y, *size = place
    width, height = size or (1, 1)
    return x + width <= header.width and y + height <= header.height


def _area(place: tuple[int, ...], header: Probe) -> Area:
    x, y, *size = place
    if size:
        width, height = size
        return Area(Span(y, y + height), Span(x, x + width))
    return Area(_around(y, header.height), _around(x, header.width))


def _around(middle: int, length_px: int) -> Span:
    """Return the span of the usual length that has a pixel in its middle, as far as the borders allow."""
    part_px = min(PART_PX, length_px)
    start = min(max(0, middle - part_px // 2), length_px - part_px)
    return Span(start, start + part_px)
