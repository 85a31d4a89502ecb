"""Make the events of the work."""

from esc_cli.engine.pixels import dtype_name
from esc_cli.engine.threads import threads_in_use
from esc_cli.enhancement.choice import Choice
from esc_cli.enhancement.models import Models
from esc_cli.jobs.clips.task import ClipTask
from esc_cli.jobs.events import Done, Engine, Progressed
from esc_cli.jobs.made import Made
from esc_cli.jobs.task import Task


def engine_event(models: Models, factor: float, threads: int | None) -> Engine | None:
    """Return the event that describes the network, or None if there is nothing to enlarge.

    Args:
        models: The networks.
        factor: The factor that pictures are enlarged by.
        threads: The number of threads that the user asked for, or None.
    """
    upscaler = models.upscaler(factor)
    if upscaler is None:
        return None
    used, reason = threads_in_use(threads) if upscaler.device.type == "cpu" else (None, None)
    return Engine(
        model=models.name,
        passes=models.passes(factor),
        device=upscaler.device_name,
        device_reason=upscaler.device_reason,
        precision=dtype_name(upscaler.precision),
        precision_reason=upscaler.precision_reason,
        attention=upscaler.attention,
        attention_reason=upscaler.attention_reason,
        threads=used,
        threads_reason=reason,
        measured=upscaler.measured,
    )


def clip_progress(task: ClipTask, frames: int, total: int, frames_per_second: float) -> Progressed:
    """Return the event for a number of finished frames of a clip."""
    frame_px = task.probe.height * task.probe.width
    return Progressed(task.source.name, frames * frame_px, total * frame_px, round(frames_per_second, 3))


def done_event(task: Task, made: Made, choice: Choice | None, seconds: float) -> Done:
    """Return the event of a result that was made."""
    notes = tuple(dict.fromkeys((*made.notes, *notes_on_choice(choice))))
    ways, model = made.frames.ways, model_and_reason(choice)
    kinds = {part.probe.several for part in task.parts} - {None}
    several = kinds.pop() if len(kinds) == 1 else None
    name, repeated = task.source.name, made.frames.repeated
    return Done(name, task.target_name, *made.size, seconds, notes, ways, *model, repeated, several)


def model_and_reason(choice: Choice | None) -> tuple[str | None, str | None]:
    """Return the model and the reason for it, as events contain them."""
    return (None, None) if choice is None else (choice.model, choice.reason)


def notes_on_choice(choice: Choice | None) -> tuple[str, ...]:
    """Return the note for a result without a model, which was at most resized."""
    return ("no network was run, since the result is not larger than its source",) if choice is None else ()
