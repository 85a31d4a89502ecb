"""Estimate the memory that pictures take while they are read, wait and are written."""

import sys

from esc_cli.engine.memory.free import check_room, host_free_bytes
from esc_cli.jobs.task import PictureTask, Task
from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.picture import PictureFile
from esc_cli.media.video.containers import Container

_FLOAT_BYTES = 4

_SHARE_FOR_WAITING = 8
"""Pictures that wait before and after the network may take an eighth of the free memory together."""


def room_for_waiting() -> int:
    """Return the bytes that pictures may take while they wait before the network, and again after it."""
    return host_free_bytes() // _SHARE_FOR_WAITING // 2


def low_bytes(task: Task) -> int:
    """Return the most memory of a task's pictures while they are read, and as long as they wait."""
    source = FORMATS.get(task.probe.format)
    return round(task.low_px * _bytes_a_pixel(task) * (1 if source is None else source.reading_memory))


def high_bytes(task: Task) -> int:
    """Return the most memory of a task's enlarged pictures while they wait and are written."""
    growth = task.height * task.width / (task.probe.height * task.probe.width)
    times = task.format.writing_memory if isinstance(task.format, PictureFormat) else 1
    if isinstance(task, PictureTask):
        times *= _growth_of_channel(task, _channel_bytes(task))
    return round(task.low_px * growth * _bytes_a_pixel(task) * times)


def check_room_for_reading(task: PictureTask, free_bytes: int) -> None:
    """Refuse pictures that take more memory than there is while they are read.

    Frames of an animation may be equal, which their header does not tell, so they are not counted.

    Raises:
        OutOfMemoryError: There is too little memory.
    """
    if task.probe.several != "frames":
        _check(f"{task.source.name} needs", low_bytes(task), free_bytes, "close other programs")


def check_room_for_result(task: PictureTask, low: PictureFile, free_bytes: int) -> None:
    """Refuse a result that takes more memory than there is when it is written. Equal frames share theirs.

    Args:
        task: The task.
        low: The pictures that are enlarged.
        free_bytes: Free memory, without them.

    Raises:
        OutOfMemoryError: There is too little memory.
    """
    pictures = {id(picture.color): picture for picture in low.pictures}.values()
    planes = [plane for one in pictures for plane in (one.color, one.alpha) if plane is not None]
    pixels = sum(plane.numel() * plane.element_size() for plane in planes)
    growth = task.height * task.width / (task.probe.height * task.probe.width)
    times = task.format.writing_memory * _growth_of_channel(task, low.first.color.element_size())
    needed = round(pixels * (1 + growth * times))
    hint = "choose a smaller size or another format with -f, or close other programs"
    _check(f"a {task.format.name} of {task.width}x{task.height} pixels needs", needed, free_bytes, hint)


def check_room_for_animation(
    format: PictureFormat | Container, frames: int, size: tuple[int, int], *, alpha: bool
) -> None:
    """Refuse an animation that takes more memory than there is when it is written.

    Args:
        format: The format of the animation.
        frames: Number of its frames, as far as it is known before the work.
        size: Size of its frames, (height, width), in pixels.
        alpha: Whether it has transparency.

    Raises:
        OutOfMemoryError: There is too little memory.
    """
    height, width = size
    times = format.writing_memory if isinstance(format, PictureFormat) else 1
    needed = round(frames * height * width * (4 if alpha else 3) * times)
    hint = "choose a smaller size, or a part of the clip with --start and --end"
    what = f"a {format.name} of {frames} frames of {width}x{height} pixels needs"
    _check(what, needed, host_free_bytes(), hint)


def _check(what: str, needed_bytes: int, free_bytes: int, hint: str) -> None:
    if sys.platform != "win32":  # Windows does not tell how much is free
        check_room(f"{what} about", needed_bytes, free_bytes, hint)


def _channel_bytes(task: Task) -> int:
    return 1 if task.probe.depth_bits <= 8 else _FLOAT_BYTES if task.probe.floating else 2


def _growth_of_channel(task: PictureTask, channel_bytes: int) -> float:
    """Return how much larger a sample is when it is written: formats of light get floats of all pictures."""
    return _FLOAT_BYTES / channel_bytes if task.format.scene_linear else 1.0


def _bytes_a_pixel(task: Task) -> int:
    """Return the bytes of a pixel in memory: three or four channels, with the bytes of a sample.

    Pictures of floats get alpha for pixels without data.
    """
    return _channel_bytes(task) * (4 if task.probe.alpha or task.probe.floating else 3)
