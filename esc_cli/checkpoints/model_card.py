"""The model card, ``weights/README.md``, made from the manifest."""

from collections.abc import Sequence

from esc_cli.checkpoints.manifest import DEFAULT_MODEL, ModelEntry

SETS = ("Set5", "Set14", "B100")

BICUBIC = {2: (33.66, 30.24, 29.56), 3: (30.39, 27.55, 27.21), 4: (28.42, 26.00, 25.96)}
"""PSNR of bicubic upscaling on ``SETS``, as every paper of the field gives it."""

PUBLISHED = {
    ("esc-light", 2): (38.24, 33.98, 32.35),
    ("esc-light", 3): (34.61, 30.52, 29.26),
    ("esc-light", 4): (32.52, 28.87, 27.72),
    ("esc", 2): (38.35, 34.11, 32.41),
    ("esc", 3): (34.84, 30.74, 29.34),
    ("esc", 4): (32.68, 28.93, 27.80),
}
"""PSNR on ``SETS`` of the published checkpoints. Source: ESC (arXiv 2503.06671), table 2 (DIV2K)."""

_HEAD = """\
# The shipped models

<!-- Made from manifest.toml by .ci/ship_model; do not edit. -->

PSNR in dB on luma, published protocol (`esc-upscale evaluate`): next to it bicubic upscaling, and the
published checkpoints of the same network, trained for 500,000 steps on DIV2K.

| model | scale | set | ours | bicubic | published |
|---|---|---|---|---|---|
"""

_DATA = """
## What they were trained on

Only on freely licensed pictures: [`training-pictures.csv`](training-pictures.csv) lists every one with its
source, commit and licence. No picture of an evaluation set is among them.

| model | scale | network | training data | steps | date | licence | file | sha256 |
|---|---|---|---|---|---|---|---|---|
"""


def render_model_card(entries: Sequence[ModelEntry]) -> str:
    """Write the model card, in Markdown, ending in a newline."""
    figures = "".join(row for entry in entries for row in _figure_rows(entry))
    data = "".join(_data_row(entry) for entry in entries)
    return f"{_HEAD}{figures}{_DATA}{data}"


def render_models_table(entries: Sequence[ModelEntry]) -> str:
    """Write the README's short table: a row for each model and scale, the gain over bicubic on B100."""
    rows = "".join(_short_row(entry) for entry in entries)
    head = "| model | scale | Set5 | Set14 | B100 | above bicubic (B100) |\n|---|---|---|---|---|---|\n"
    return head + rows


def _short_row(entry: ModelEntry) -> str:
    figures = " | ".join(f"{entry.psnr[name]:.2f}" for name in SETS)
    name = f"**{entry.name}** (default)" if entry.name == DEFAULT_MODEL else entry.name
    gain = entry.psnr["B100"] - BICUBIC[entry.scale][SETS.index("B100")]
    return f"| {name} | x{entry.scale} | {figures} | {gain:+.2f} dB |\n"


def _figure_rows(entry: ModelEntry) -> list[str]:
    published = PUBLISHED.get((entry.network, entry.scale))
    return [
        f"| {entry.name} | x{entry.scale} | {name} | {entry.psnr[name]:.2f} "
        f"| {BICUBIC[entry.scale][index]:.2f} | {f'{published[index]:.2f}' if published else ''} |\n"
        for index, name in enumerate(SETS)
    ]


def _data_row(entry: ModelEntry) -> str:
    cells = (
        entry.name,
        f"x{entry.scale}",
        entry.network,
        entry.training_data,
        f"{entry.steps:,}",
        entry.date.isoformat(),
        entry.licence,
        f"`{entry.path.name}`",
        f"`{entry.sha256[:16]}…`",
    )
    return f"| {' | '.join(cells)} |\n"
