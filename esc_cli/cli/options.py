"""Options that several commands share."""

from typing import Annotated, Literal

import typer

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME|FILE",
        help="A shipped model, any ESC checkpoint file, or the stand-ins nearest and bicubic.",
    ),
]
Device = Annotated[
    str, typer.Option("--device", "-d", help="auto, cpu, cuda, cuda:1, mps, ...", metavar="DEVICE")
]
Tta = Annotated[
    bool, typer.Option("--tta", help="Average eight flips and rotations: a little better, 8 times the work.")
]
Degradation = Annotated[
    Literal["bicubic", "robust", "real"],
    typer.Option(help="How pictures are made small: bicubic; slight blur, noise, JPEG; or as Real-ESRGAN."),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to stdout instead of talk.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")]
