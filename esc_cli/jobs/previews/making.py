"""Make the preview of a picture that was read."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from esc_cli.engine.tiling.tiles import Span
from esc_cli.engine.upscaler import ProgressCallback
from esc_cli.enhancement.enlarge import Enlarger, share_of
from esc_cli.enhancement.models import Models
from esc_cli.enhancement.options import EnhancementOptions
from esc_cli.enhancement.parts import Area, enlarge_part
from esc_cli.evaluation.windows import most_detailed
from esc_cli.jobs.previews.sheet import Version, layer_of, sheet_of, shown
from esc_cli.jobs.previews.task import PART_PX, PreviewTask
from esc_cli.media.picture import Picture

PLAIN = "bicubic"
"""Model whose result is shown beside that of the network."""

_PAGE_PLAIN = ("nearest", PLAIN)


@dataclass(frozen=True)
class Preview:
    """A preview that is not written yet.

    Attributes:
        parts: The parts that it shows, each as ``X,Y,WIDTH,HEIGHT``.
        sheet: The sheet; for a page, the picture of the network's result.
        layers: Name and pixels (1, 3, H, W), uint8, of each layer of a page.
    """

    parts: tuple[str, ...]
    sheet: Picture
    layers: tuple[tuple[str, Tensor], ...] = ()


def make_preview(
    task: PreviewTask, picture: Picture, enlarger: Enlarger, progress: ProgressCallback | None
) -> Preview:
    """Enlarge the parts of a picture, plainly and by the network.

    Args:
        task: The task.
        picture: The whole picture.
        enlarger: The enlarger of the whole picture.
        progress: Called with the work that is done and its total.

    Raises:
        OutOfMemoryError: The device has too little memory.
    """
    areas = _areas(task, picture)
    made = tuple(
        enlarge_part(enlarger, picture, area, share_of(progress, number, len(areas)), exact=task.exact)
        for number, area in enumerate(areas)
    )
    names = _PAGE_PLAIN if task.is_page else (PLAIN,)
    versions = [
        *(_plain(name, picture, areas, enlarger) for name in names),
        Version(enlarger.models.name, made),
    ]
    places = tuple(map(_text, areas))
    if not task.is_page:
        return Preview(places, sheet_of(versions, places))
    layers = tuple((version.name, layer_of(version)) for version in versions)
    return Preview(
        places, Picture(layers[-1][1], None, picture.gray, picture.metadata, picture.format), layers
    )


def _areas(task: PreviewTask, picture: Picture) -> list[Area]:
    if task.area is not None:
        return [task.area]
    windows = most_detailed(shown(picture).color, PART_PX, task.request.parts)
    return [
        Area(Span(one.top, one.top + one.height), Span(one.left, one.left + one.width)) for one in windows
    ]


def _plain(name: str, picture: Picture, areas: Sequence[Area], enlarger: Enlarger) -> Version:
    models = Models(EnhancementOptions(model=name, device="cpu"))
    plain = Enlarger(models, enlarger.size, alpha_is_data=enlarger.alpha_is_data)
    return Version(name, tuple(enlarge_part(plain, picture, area) for area in areas))


def _text(area: Area) -> str:
    height, width = area.size
    return f"{area.columns.start},{area.rows.start},{width},{height}"
