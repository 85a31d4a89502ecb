"""The stages of both calls by name, and the function that runs one of them in its own process."""

import json
import os
import sys
from collections.abc import Callable

from checks import decoding, environment, exactness, gradients, tests
from settings import Settings, Told
from timings import latency, operations
from trainings import train, variant

STAGES: dict[str, Callable[..., Told]] = {
    one.__name__: one
    for one in (environment, decoding, exactness, gradients, tests, operations, latency, variant, train)
}


def run_stage(name: str, settings: Settings, *arguments: str) -> None:
    """Run a stage and print its events as lines of JSON. All other output goes to stderr."""
    lines = os.fdopen(os.dup(sys.stdout.fileno()), "w")  # processes that the stage starts do not inherit it
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for event in STAGES[name](settings, *arguments):
        print(json.dumps(event), file=lines, flush=True)
