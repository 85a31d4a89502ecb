"""ESC-LTE computes each pixel separately, however the result is cut and wherever the pixels lie."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from esc_cli.engine.tiling.streaming import Strips
from esc_cli.engine.tiling.tiles import Span
from esc_cli.networks.architectures import lte
from esc_cli.networks.architectures.lte import LTE, LTEConfig
from esc_cli.networks.grid import Grid

SMALL = LTEConfig(
    dim=16, partial_dim=8, heads=2, blocks=1, mixers=1, window_size=8, texture_dim=12, decoder_dims=(10, 8)
)
sides = st.integers(1, 20)


@pytest.fixture(scope="module")
def network() -> LTE:
    torch.manual_seed(0)
    made = LTE(SMALL).eval().double()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.2)
    return made


def reference(network: LTE, low: Tensor, height: int, width: int) -> Tensor:
    """Compute the published formula, which samples maps at shifted coordinates in [-1, 1].

    The result is NaN where a pixel lies on the center of the last row or column. There both neighbors are
    the same row or column, and the shares of all four neighbors are quotients of rounding errors.
    """
    features = network._encode(low * 2 - 1, lte.WHOLE)
    coefficients, frequencies = network.coef(features), network.freq(features)
    h, w = low.shape[-2:]
    y, x = ((2 * torch.arange(n, dtype=low.dtype) + 1) / n - 1 for n in (height, width))
    target = torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1)  # (H, W, 2)
    centres = torch.stack(
        torch.meshgrid(*((2 * torch.arange(n, dtype=low.dtype) + 1) / n - 1 for n in (h, w)), indexing="ij")
    )[None]
    made, areas = [], []
    for down in (-1, 1):
        for across in (-1, 1):
            shifted = (target + torch.tensor([down / h, across / w]) + 1e-6).clamp(-1 + 1e-6, 1 - 1e-6)
            where = shifted.flip(-1)[None].expand(len(low), -1, -1, -1)

            def sampled(pixels: Tensor, where: Tensor = where) -> Tensor:
                return F.grid_sample(pixels, where, mode="nearest", align_corners=False).permute(0, 2, 3, 1)

            relative = (target - sampled(centres.expand(len(low), -1, -1, -1))) * torch.tensor([h, w])
            cell = torch.tensor([2 / min(height / h, 4), 2 / min(width / w, 4)], dtype=low.dtype)
            pairs = sampled(frequencies).unflatten(-1, (-1, 2))
            angle = math.pi * ((pairs * relative[..., None, :]).sum(-1) + network.phase(cell))
            waves = torch.cat((angle.cos(), angle.sin()), dim=-1)
            made.append(network.imnet["layers"](sampled(coefficients) * waves))
            areas.append(relative.prod(-1, keepdim=True).abs() + 1e-9)
    total = sum(one * area for one, area in zip(made, reversed(areas), strict=True)) / sum(areas)
    total[sum(areas).expand_as(total) < 1e-6] = torch.nan
    beneath = F.grid_sample(
        low * 2 - 1,
        target.flip(-1)[None].expand(len(low), -1, -1, -1),
        padding_mode="border",
        align_corners=False,
    )
    return (total.permute(0, 3, 1, 2) + beneath) / 2 + 0.5


@settings(max_examples=25)
@given(st.integers(2, 12), st.integers(2, 12), st.floats(1, 6), st.floats(1, 6), st.integers(1, 2))
def test_it_is_the_published_formula(
    network: LTE, height: int, width: int, down: float, across: float, batch: int
) -> None:
    low = torch.rand(batch, 3, height, width, dtype=torch.float64)
    size = round(height * down), round(width * across)
    with torch.inference_mode():
        high = network(low, grid=Grid.between((height, width), size))
        expected = reference(network, low, *size)
    known = expected.isfinite()
    torch.testing.assert_close(high[known], expected[known], rtol=1e-5, atol=1e-5)
    assert known.any()


@settings(max_examples=12)
@given(sides, sides, st.integers(1, 90), st.integers(1, 90), st.integers(1, 3))
def test_strips_and_blocks_equal_the_whole(
    network: LTE, height: int, width: int, high_height: int, high_width: int, windows: int
) -> None:
    """The picture is padded to whole windows, as the engine does, and the grid excludes the padding."""
    size = height + high_height, width + high_width
    grid = Grid.between((height, width), size)
    padded = torch.rand(1, 3, -height % 8 + height, width, dtype=torch.float64)
    strips = Strips(8, 8 * windows)
    blocks: list[Tensor] = []
    rows: list[int] = []

    def take(span: Span, columns: Span, block: Tensor) -> None:
        blocks.append(block)
        rows.extend(range(grid.rows_above(span.start), grid.rows_above(span.stop)))

    with torch.inference_mode(), pytest.MonkeyPatch.context() as patch:
        whole = network(padded, grid=grid)
        patch.setattr("esc_cli.engine.tiling.streaming.LEAST_ROWS", 1)
        patch.setattr(lte, "BLOCK_PX", 7)
        strips.hand_out(network(padded, strips, grid), take)
    assert whole.shape == (1, 3, *size)
    torch.testing.assert_close(torch.cat(blocks, dim=2), whole)
    assert rows == list(range(size[0]))


def test_what_a_picture_is_padded_with_is_not_sampled(network: LTE, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        network, "_encode", lambda centred, run: torch.zeros(1, 16, *centred.shape[-2:]).double()
    )
    low = torch.rand(1, 3, 5, 6, dtype=torch.float64)
    padded = torch.cat((low, torch.full_like(low, 9.0)), dim=2)
    grid = Grid.between((5, 6), (13, 19))
    with torch.inference_mode():
        torch.testing.assert_close(network(padded, grid=grid), network(low, grid=grid))


def test_a_batch_is_its_pictures(network: LTE) -> None:
    low = torch.rand(2, 3, 9, 7, dtype=torch.float64)
    grid = Grid.between((9, 7), (23, 30))
    with torch.inference_mode():
        together, alone = network(low, grid=grid), [network(one[None], grid=grid) for one in low]
    torch.testing.assert_close(together, torch.cat(alone))


def test_it_has_the_published_parameters() -> None:
    with torch.device("meta"):
        network = LTE(LTEConfig())
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_433_631
    head = ("coef.", "freq.", "phase.", "imnet.")
    described = {key: value for key, value in network.state_dict().items() if not key.startswith(head)}
    assert len(described) == 400
    assert sum(value.numel() for value in described.values()) == 939_804


def test_without_a_grid_it_does_its_scale() -> None:
    with torch.inference_mode():
        assert LTE(SMALL)(torch.rand(1, 3, 5, 6)).shape == (1, 3, 20, 24)
