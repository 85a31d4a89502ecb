"""``esc-upscale export``: write a network as an ONNX file for other programs."""

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Literal

import typer

from esc_cli.checkpoints.manifest import DEFAULT_MODEL
from esc_cli.cli.application import new_application
from esc_cli.cli.guard import guarded
from esc_cli.cli.options import Json, Overwrite
from esc_cli.cli.output import answer, answer_json
from esc_cli.errors import UsageError

app = new_application()


@app.command()
@guarded
def export(
    output: Annotated[Path, typer.Argument(metavar="OUT.onnx", help="File to write.")],
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", metavar="NAME|FILE", help="Shipped model, or the file of any ESC checkpoint."
        ),
    ] = DEFAULT_MODEL,
    scale: Annotated[
        int | None,
        typer.Option("--scale", "-s", min=1, help="Factor to enlarge by. The default is the largest."),
    ] = None,
    precision: Annotated[
        Literal["float32", "float16"],
        typer.Option("--precision", "-p", help="Number format of the weights, the input and the output."),
    ] = "float32",
    size: Annotated[
        str,
        typer.Option(
            metavar="any|windows|HxW",
            help="Sizes of pictures to accept: any, multiples of the attention window (without padding in "
            "the graph), or one height and width, for one picture at a time.",
        ),
    ] = "any",
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Write a model as an ONNX file, for ONNX Runtime, TensorRT, vs-mlrt and others.

    The file has an input called input, RGB in [0, 1] of shape (N, 3, H, W), and an output called output. It
    is compared with torch on a small picture before it is written.
    """
    if output.suffix.lower() != ".onnx":
        raise UsageError(f"an exported model must be written to an .onnx file, not {str(output)!r}")
    import torch

    from esc_cli.checkpoints.checkpoint import load_checkpoint
    from esc_cli.engine.onnx_graphs.export import export as make
    from esc_cli.engine.onnx_graphs.export import read_size
    from esc_cli.storage.whole_files import check_target, write_whole

    sizes = read_size(size)
    check_target(output, replace=overwrite, inputs=[Path(model)])
    checkpoint = load_checkpoint(model, scale)
    made = make(checkpoint, getattr(torch, precision), sizes)
    write_whole(output, made.content, replace=overwrite)
    if json:
        facts = {one.name: getattr(made, one.name) for one in fields(made) if one.name != "content"}
        name, factor = checkpoint.name, checkpoint.config.scale
        answer_json("export", model=name, scale=factor, file=str(output), bytes=len(made.content), **facts)
        return
    answer(
        f"{checkpoint.name} x{checkpoint.config.scale}: ONNX opset {made.opset}, {made.precision}, "
        f"{len(made.content) / 10**6:.1f} MB"
    )
    answer(f"size of the input: {made.size}")
    shape = "x".join(map(str, made.checked))
    answer(f"largest difference from torch on {shape}: {made.largest_error:.1e}")
