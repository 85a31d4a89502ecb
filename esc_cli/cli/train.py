"""``esc-upscale train FOLDER``: a network from pictures."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from esc_cli.cli.guard import guarded
from esc_cli.cli.options import Device, Quiet
from esc_cli.cli.output import answer
from esc_cli.errors import UsageError
from esc_cli.training.configuration import TrainingConfig

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

_DEFAULT = TrainingConfig()

Variant = Literal["esc", "esc-light", "esc-fp", "esc-xl", "esc-real", "esc-rib"]
"""The networks' names, which stand beside them, too; but looking there would load torch."""


@app.command()
@guarded
def train(
    pictures: Annotated[
        Path, typer.Argument(help="Folder of high-resolution pictures, with its sub-folders.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for state, weights and log.")],
    variant: Annotated[Variant, typer.Option(help="The network.")] = "esc",
    scale: Annotated[
        int, typer.Option("--scale", "-s", min=1, help="Pixels out per pixel in.")
    ] = _DEFAULT.scale,
    initial: Annotated[
        Path | None, typer.Option(help="Weights to start from, of any scale, with as many blocks or fewer.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the output folder.")
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.01, help="Last this long instead, annealing to zero over it."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the whole run.")] = _DEFAULT.steps,
    batch_size: Annotated[int, typer.Option(min=1, help="Patches a step.")] = _DEFAULT.batch_size,
    patch_px: Annotated[
        int, typer.Option(min=1, help="Side of the low-resolution patches.")
    ] = _DEFAULT.patch_px,
    learning_rate: Annotated[float, typer.Option(help="After the warm-up.")] = _DEFAULT.learning_rate,
    betas: Annotated[tuple[float, float], typer.Option(help="Of AdamW.")] = _DEFAULT.betas,
    weight_decay: Annotated[float, typer.Option(help="Of AdamW.")] = _DEFAULT.weight_decay,
    warm_up_steps: Annotated[int, typer.Option(help="Steps of linear warm-up.")] = _DEFAULT.warm_up_steps,
    milestones: Annotated[
        str, typer.Option(help="Steps at which the rate is halved, with commas.")
    ] = ",".join(str(step) for step in _DEFAULT.milestones),
    ema_decay: Annotated[float, typer.Option(help="Of the averaged weights.")] = _DEFAULT.ema_decay,
    zero_head: Annotated[
        bool, typer.Option("--zero-head", help="Start with the last layer at zero.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Decides every batch and the first weights.")] = _DEFAULT.seed,
    device: Device = "auto",
    precision: Annotated[
        Literal["float32", "bfloat16"], typer.Option("--precision", "-p", help="Of the forward pass.")
    ] = _DEFAULT.precision,
    compile: Annotated[bool, typer.Option("--compile", help="Compile the network first.")] = False,
    validation_pictures: Annotated[
        int, typer.Option(min=1, help="Source pictures to hold out.")
    ] = _DEFAULT.validation_pictures,
    validate_every: Annotated[
        int, typer.Option(min=1, help="Steps between measurements on those.")
    ] = _DEFAULT.validate_every,
    save_every: Annotated[
        float, typer.Option(min=1, help="Seconds between states that --resume goes on from.")
    ] = _DEFAULT.save_every_s,
    quiet: Quiet = False,
) -> None:
    """Train a network; the defaults are the published recipe.

    The batch of step n depends on the seed and n alone: a run of --steps that was killed goes on with
    --resume (and its own options) as if nothing had happened. The averaged weights lie in
    OUTPUT/weights.safetensors, ready for -m.
    """
    from esc_cli.engine.device import choose_device
    from esc_cli.training.loop import train as run_training

    config = TrainingConfig(
        variant=variant,
        scale=scale,
        steps=steps,
        minutes=minutes,
        batch_size=batch_size,
        patch_px=patch_px,
        learning_rate=learning_rate,
        betas=betas,
        weight_decay=weight_decay,
        warm_up_steps=warm_up_steps,
        milestones=_parsed(milestones),
        ema_decay=ema_decay,
        zero_head=zero_head,
        seed=seed,
        precision=precision,
        compile=compile,
        validation_pictures=validation_pictures,
        validate_every=validate_every,
        save_every_s=save_every,
    )
    chosen = choose_device(device).device
    weights = run_training(
        config, pictures, output, device=chosen, initial=initial, resume=resume, quiet=quiet
    )
    answer(str(weights))


def _parsed(milestones: str) -> tuple[int, ...]:
    try:
        return tuple(int(step) for step in milestones.split(",") if step.strip())
    except ValueError as error:
        raise UsageError(f"--milestones takes whole numbers with commas, not {milestones!r}") from error
