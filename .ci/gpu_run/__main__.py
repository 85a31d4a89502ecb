"""Use a GPU that is lent for a few minutes: see esc_cli/training/RECIPE.md, "The GPU run".

    python .ci/gpu_run pack PICTURES      on this machine: collect the files to carry, check their size
    python .ci/gpu_run a                  on the GPU: check and measure everything; ends with GO and a variant
    python .ci/gpu_run b VARIANT          on the GPU, right after a: train, then measure the engine

With --device cpu and small sizes everything runs on the CPU.
"""

import argparse
import dataclasses
import os
import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[2]))

from first_call import SECONDS as FIRST_SECONDS
from first_call import VARIANTS, run_first_call
from second_call import SECONDS as SECOND_SECONDS
from second_call import Plan, plan, run_second_call
from settings import Settings


def main() -> int:
    """Run the command; return 0 if it succeeded."""
    if sys.argv[1:2] == ["stage"]:
        from stages import run_stage

        name, settings, *words = sys.argv[2:]
        run_stage(name, Settings.from_json(settings), *words)
        return 0
    arguments = parsed()
    settings = Settings(**{one.name: getattr(arguments, one.name) for one in dataclasses.fields(Settings)})
    if arguments.what == "pack":
        from pack import pack

        return 0 if pack(Path(arguments.argument), settings) else 1
    if arguments.what == "a":
        return 0 if run_first_call(settings, arguments.seconds or FIRST_SECONDS, arguments.out) else 1
    seconds = arguments.seconds or SECOND_SECONDS
    shares = Plan(*arguments.shares) if arguments.shares else plan(seconds)
    return 0 if run_second_call(settings, arguments.argument, seconds, arguments.out, shares) else 1


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["pack", "a", "b"])
    parser.add_argument("argument", nargs="?", metavar="PICTURES|VARIANT")
    parser.add_argument("--seconds", type=float, help="time limit of the call")
    parser.add_argument(
        "--shares",
        type=float,
        nargs=3,
        metavar=("X2", "X4", "LATENCY"),
        help="seconds of call b for each part; default: computed from --seconds",
    )
    parser.add_argument(
        "--out", type=Path, default=Path(os.environ.get("OUT", "gpu-out")), help="default: $OUT"
    )
    for field in dataclasses.fields(Settings):
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default
        )
    arguments = parser.parse_args()
    if arguments.what == "pack" and not arguments.argument:
        parser.error("pack needs the folder PICTURES")
    if arguments.what == "b" and arguments.argument not in VARIANTS:
        parser.error(f"b needs a VARIANT, one of {', '.join(VARIANTS)}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
