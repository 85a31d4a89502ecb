"""Options that several commands share."""

from typing import Annotated, Literal

import typer

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME|FILE",
        help="Model to use: a shipped one, the file of any ESC checkpoint, nearest or bicubic.",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device", "-d", help="Device to run on: auto, cpu, cuda, cuda:1, mps, ...", metavar="DEVICE"
    ),
]
Tta = Annotated[
    bool,
    typer.Option(
        "--tta", help="Average the results of eight flips and rotations: a little better, 8 times the work."
    ),
]
Degradation = Annotated[
    Literal["bicubic", "robust", "real"],
    typer.Option(
        help="How pictures are made small: by bicubic; with slight blur, noise and JPEG; as by Real-ESRGAN."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON lines to stdout instead of text.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there already.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
