"""Draw the results of both analyses. Drawing needs matplotlib, which is optional."""

from pathlib import Path
from typing import TYPE_CHECKING

from esc_cli.analysis.attribution import Attribution
from esc_cli.analysis.similarity import Similarity
from esc_cli.evaluation.figures import saved_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FAINTEST = 1e-3
"""Smallest visible attribution, relative to the largest: it falls by powers of ten within a few pixels."""


def draw_similarity(found: Similarity, path: Path) -> None:
    """Draw the similarity of all neighboring layers as a bar chart.

    Args:
        found: Result of ``similarity``.
        path: Path of a .png or .svg file. An existing file is replaced.

    Raises:
        UsageError: The plot cannot be drawn; see ``check_plot``.
        OutputError: The file cannot be written.
    """
    bars = {
        f"CKA of the outputs, mean {found.cka:.3f}": [pair.cka for pair in found.pairs],
        f"the same, debiased, mean {found.debiased_cka:.3f}": [pair.debiased_cka for pair in found.pairs],
        f"cosine of the mean maps, mean {found.cosine:.3f}": [pair.cosine for pair in found.pairs],
        f"correlation of the same, mean {found.correlation:.3f}": [pair.correlation for pair in found.pairs],
    }
    with saved_figure(path, (4 + 1.2 * len(found.pairs), 4)) as figure:
        axes = figure.subplots()
        for number, (label, heights) in enumerate(bars.items()):
            places = [place + (number - 1.5) / 5 for place in range(len(heights))]
            container = axes.bar(places, heights, width=0.2, label=label)
            axes.bar_label(container, fmt="%.2f", fontsize=7, padding=2)
        axes.set_xticks(range(len(found.pairs)), [f"{pair.first}\n{pair.second}" for pair in found.pairs])
        axes.set_title(f"{found.model} x{found.scale}, {found.pictures} pictures", loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside lower left", ncols=2)


def draw_attribution(found: Attribution, path: Path) -> None:
    """Draw the input of the network, the window in it, and the attribution of each pixel.

    Args:
        found: Result of ``attribution``.
        path: Path of a .png or .svg file. An existing file is replaced.

    Raises:
        UsageError: The plot cannot be drawn; see ``check_plot``.
        OutputError: The file cannot be written.
    """
    height, width = found.map.shape
    place = {"extent": (0, width, height, 0), "interpolation": "nearest"}
    color = found.low[0].permute(1, 2, 0).clamp(0, 1)  # (H, W, 3)
    with saved_figure(path, (9, 1 + 4 * height / width)) as figure:
        from matplotlib.colors import LogNorm

        seen, heat = figure.subplots(1, 2)
        seen.imshow(color.numpy(), **place)
        heat.imshow(color.mean(dim=2).numpy(), cmap="gray", vmin=-0.5, vmax=1.5, **place)
        norm = LogNorm(_FAINTEST, 1, clip=True)
        map = found.map.clamp(min=_FAINTEST).numpy()
        colors = heat.imshow(map, cmap="inferno", norm=norm, alpha=norm(map).clip(0, 1) ** 0.5, **place)
        figure.colorbar(colors, ax=heat, shrink=0.7, label="attribution, by the largest")
        for axes in (seen, heat):
            _draw_window(axes, found)
        seen.set_title(f"{found.model} x{found.scale}, its input and the window", loc="left")
        reach = f"99% within {found.reach_px(0.99):.1f} px of it"
        heat.set_title(f"diffusion index {found.diffusion_index:.2f}, {reach}", loc="left")


def _draw_window(axes: "Axes", found: Attribution) -> None:
    from matplotlib.patches import Rectangle

    window, scale = found.window, found.scale
    side = window.size_px / scale
    corner = (window.left / scale, window.top / scale)
    axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor="red", linewidth=1.5))
    axes.set_axis_off()
