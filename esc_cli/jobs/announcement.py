"""Report a plan before the work: what will be done, by which networks, and how long it will take."""

from collections.abc import Iterator

from esc_cli.enhancement.choice import Chooser
from esc_cli.enhancement.models import Models
from esc_cli.jobs.estimate import Timed, estimate_plan
from esc_cli.jobs.events import Engine, Listener, Planned, Skipped
from esc_cli.jobs.plan import Plan
from esc_cli.jobs.run import failed
from esc_cli.jobs.task import Task
from esc_cli.jobs.work.events import engine_event, model_and_reason


def announce(
    plan: Plan, chooser: Chooser, listener: Listener, timed: Timed, *, here: bool, threads: int | None
) -> None:
    """Report what will be done, what is already done and what cannot be done.

    The workers of a cluster report their own engines, and their speed is not known here.

    Args:
        plan: The plan.
        chooser: The networks of the run.
        listener: A function that receives the events.
        timed: Whether the time is measured.
        here: Whether the work is done in this process.
        threads: The number of threads that the user asked for, or None.
    """
    for task in plan.tasks:
        listener(_planned(task, chooser))
    for task, reason in (
        *((task, "up to date") for task in plan.up_to_date),
        *((task, "there already") for task in plan.skipped),
    ):
        listener(Skipped(task.source.name, task.target_name, reason))
    for failure in plan.failures:
        listener(failed(failure))
    for engine in _engines(plan, chooser, threads) if here else ():
        listener(engine)
    estimate = estimate_plan(plan, chooser, timed=timed)
    if timed == "always" or not plan.names_one or estimate.seconds is not None or estimate.warnings:
        listener(estimate)


def _planned(task: Task, chooser: Chooser) -> Planned:
    unread = chooser.name if chooser.default.enlarges(task.factor) else None
    model, reason = (unread, None) if task.choice is None else model_and_reason(task.choice)
    output_height, output_width = task.written_size
    return Planned(
        input=task.source.name,
        output=task.target_name,
        format=task.format_name,
        height=task.probe.height,
        width=task.probe.width,
        output_height=output_height,
        output_width=output_width,
        frames=task.probe.frames,
        lost=task.lost,
        model=model,
        model_reason=reason,
        several=task.probe.several,
    )


def _engines(plan: Plan, chooser: Chooser, threads: int | None) -> Iterator[Engine]:
    """Yield the event of each model that is known to be run, for the largest factor that it is run for."""
    factors: dict[Models, float] = {}
    for task in plan.tasks:
        if task.choice is not None or not chooser.is_auto:
            models = chooser.models(task.choice)
            factors[models] = max(factors.get(models, 0), task.factor)
    for models, factor in factors.items():
        engine = engine_event(models, factor, threads)
        if engine is not None:
            yield engine
