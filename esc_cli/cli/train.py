"""``esc-upscale train FOLDER``: train a network on a folder of pictures."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from esc_cli.cli.application import in_panels, new_application
from esc_cli.cli.guard import guarded
from esc_cli.cli.options import Degradation, Device, Quiet
from esc_cli.cli.output import answer, stderr_console
from esc_cli.errors import UsageError, did_you_mean
from esc_cli.training.configuration import PRESETS, PUBLISHED, TrainingConfig, is_over

_PANELS = {
    "output": "Run",
    "variant": "Network",
    "teacher": "Teacher",
    "seed": "Length and seed",
    "batch_size": "Patches and loss",
    "learning_rate": "Optimizer",
    "device": "Device and speed",
    "validation_pictures": "Validation and saved states",
}

app = new_application()

Variant = Literal[
    "esc",
    "esc-light",
    "esc-tiny",
    "esc-fp",
    "esc-xl",
    "esc-real",
    "esc-realm",
    "esc-rib",
    "esc-milk",
    "esc-atconv",
]
"""Names of the networks. They are repeated here because importing the networks would load torch.

Networks for any scale (ESC-LTE) are left out: their training draws a scale for every batch, and this one
does not.
"""

_PUBLISHED = PRESETS[PUBLISHED]


@app.command(cls=in_panels(_PANELS))
@guarded
def train(
    context: typer.Context,
    pictures: Annotated[Path, typer.Argument(help="Folder of high-resolution pictures, with subfolders.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for state, weights and log.")],
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME", help=f"Recipe to start from: {', '.join(PRESETS)}. Other options override it."
        ),
    ] = PUBLISHED,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in the output folder with its own options.")
    ] = False,
    branch_of: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of a run to branch off from. The branch starts with the state and the options of "
            "the run. Other options override them. The run itself is not changed.",
        ),
    ] = None,
    variant: Annotated[Variant, typer.Option(help="Network to train.")] = "esc",
    scale: Annotated[
        int, typer.Option("--scale", "-s", min=1, help="Factor that the network enlarges by.")
    ] = _PUBLISHED.scale,
    initial: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Model to start from. Its scale and head may differ, and it may have fewer blocks.",
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE|FOLDER",
            help="Model whose results are also learned, or a folder of its results, named like PICTURES.",
        ),
    ] = None,
    teacher_source: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Name and license of the program that made the teacher's folder."),
    ] = None,
    teacher_share: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of the loss that compares with the teacher. 0 means no teacher."
        ),
    ] = _PUBLISHED.teacher_share,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the batches and of the initial weights.")
    ] = _PUBLISHED.seed,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.01, help="Length of the run in minutes, over all sessions, instead of in steps."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Length of the run in steps.")] = _PUBLISHED.steps,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Number of patches per step.")
    ] = _PUBLISHED.batch_size,
    patch_px: Annotated[
        int, typer.Option(min=1, help="Side of the low-resolution patches in pixels.")
    ] = _PUBLISHED.patch_px,
    border_weight: Annotated[
        float,
        typer.Option(
            min=0, help="Weight of a loss that hides the borders of attention windows. 0 means none."
        ),
    ] = _PUBLISHED.border_weight,
    frequency_weight: Annotated[
        float, typer.Option(min=0, help="Weight of a loss on the frequencies of patches. 0 means none.")
    ] = _PUBLISHED.frequency_weight,
    degradation: Degradation = _PUBLISHED.degradation,
    low_pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of low-resolution pictures, named like PICTURES. They are used as they are.",
        ),
    ] = None,
    sharpen_originals: Annotated[
        bool, typer.Option("--sharpen-originals/--no-sharpen-originals", help="Train on sharpened originals.")
    ] = False,
    learning_rate: Annotated[
        float, typer.Option(help="Learning rate after the warm-up.")
    ] = _PUBLISHED.learning_rate,
    schedule: Annotated[
        Literal["halvings", "cosine", "constant", "decay"],
        typer.Option(
            help="Schedule of the learning rate. halvings: halved at milestones, or a cosine with --minutes; "
            "cosine: one cosine to zero; constant: no change; decay: down to zero, for a branch."
        ),
    ] = _PUBLISHED.schedule,
    optimizer: Annotated[
        Literal["adamw", "muon"],
        typer.Option(
            help="Optimizer. muon trains the kernels inside the blocks, and AdamW all other weights."
        ),
    ] = _PUBLISHED.optimizer,
    betas: Annotated[tuple[float, float], typer.Option(help="Betas of AdamW.")] = _PUBLISHED.betas,
    weight_decay: Annotated[
        float, typer.Option(help="Weight decay of the optimizer.")
    ] = _PUBLISHED.weight_decay,
    warm_up_steps: Annotated[
        int, typer.Option(help="Steps of linear warm-up, for halvings and constant.")
    ] = _PUBLISHED.warm_up_steps,
    milestones: Annotated[
        str, typer.Option(help="Steps at which the learning rate is halved, separated by commas.")
    ] = ",".join(str(step) for step in _PUBLISHED.milestones),
    ema_decay: Annotated[
        float, typer.Option(help="Decay of the exponential moving average of the weights.")
    ] = _PUBLISHED.ema_decay,
    zero_head: Annotated[
        bool, typer.Option("--zero-head/--no-zero-head", help="Start with zeros in the last layer.")
    ] = False,
    device: Device = "auto",
    precision: Annotated[
        Literal["float32", "bfloat16"],
        typer.Option("--precision", "-p", help="Number format of the forward pass."),
    ] = _PUBLISHED.precision,
    compile: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Compile the blocks of the network first.")
    ] = False,
    cuda_graph: Annotated[
        bool,
        typer.Option(
            "--cuda-graph/--no-cuda-graph",
            help="On one CUDA device, record a step as a CUDA graph and replay it.",
        ),
    ] = False,
    validation_pictures: Annotated[
        int, typer.Option(min=1, help="Number of source pictures to hold out.")
    ] = _PUBLISHED.validation_pictures,
    validate_every: Annotated[
        int, typer.Option(min=1, help="Steps between measurements on the held-out pictures.")
    ] = _PUBLISHED.validate_every,
    save_every_s: Annotated[
        float,
        typer.Option(
            "--save-every", min=0, help="Seconds between saved states, from which --resume continues."
        ),
    ] = _PUBLISHED.save_every_s,
    quiet: Quiet = False,
) -> None:
    """Train a network. The defaults are the published recipe; --preset selects another one.

    The batch of step n depends only on the seed and n. So a killed run of --steps continues with --resume
    as if nothing had happened. A run with a constant rate continues for as long as --steps or --minutes say.
    The averaged weights are written to OUTPUT/weights.safetensors, ready for -m.
    Under torchrun, the processes share every batch.
    """
    from esc_cli.engine.device import choose_device
    from esc_cli.training.loop import train as run_training
    from esc_cli.training.processes import is_first_process, own_device

    config = _configured(_base(preset, output if resume else branch_of), context)
    chosen = choose_device(own_device(device)).device
    if resume and not quiet and is_first_process() and _is_at_its_end(output, config):
        stderr_console().print(f"the run in {str(output)!r} is already complete", markup=False)
    weights = run_training(
        config, pictures, output, device=chosen, resume=resume, trunk=branch_of, quiet=quiet
    )
    if is_first_process():
        answer(str(weights))


def _is_at_its_end(run: Path, config: TrainingConfig) -> bool:
    """Return whether a run is complete. A run with a constant rate is as long as ``config`` says."""
    from esc_cli.training.run_folder import load_state

    state = load_state(run)
    length = config if state.config.schedule == "constant" else state.config
    return is_over(length, state.step, state.elapsed_s)


def _base(preset: str, begun: Path | None) -> TrainingConfig:
    """Return the options of an existing run, or those of a preset if no run is given."""
    if begun is not None:
        from esc_cli.training.run_folder import load_state

        return load_state(begun).config
    if preset not in PRESETS:
        raise UsageError(
            f"there is no preset {preset!r}", hint=did_you_mean(preset, PRESETS) or ", ".join(PRESETS)
        )
    return PRESETS[preset]


def _configured(base: TrainingConfig, context: typer.Context) -> TrainingConfig:
    """Return the options of a run, changed by the command-line options of the same names."""
    given = {name: context.params[name] for name in context.params if _was_given(name, context)}
    if "branch_of" in given and not {"steps", "minutes"} & given.keys():
        raise UsageError("a branch needs a length", hint="add --steps or --minutes")
    changes: dict[str, Any] = {
        field.name: _plain(given[field.name])
        for field in dataclasses.fields(TrainingConfig)
        if field.name in given
    }
    if "milestones" in changes:
        changes["milestones"] = _parsed(changes["milestones"])
    if "steps" in changes:
        changes.setdefault("minutes", None)
    return dataclasses.replace(base, **changes)


def _plain(value: Any) -> Any:
    """Return a value as it is stored in the configuration file."""
    return str(value) if isinstance(value, Path) else value


def _was_given(name: str, context: typer.Context) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _parsed(milestones: str) -> tuple[int, ...]:
    try:
        return tuple(int(step) for step in milestones.split(",") if step.strip())
    except ValueError as error:
        raise UsageError(
            f"--milestones takes whole numbers separated by commas, not {milestones!r}"
        ) from error
