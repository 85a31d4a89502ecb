"""Test that colors under alpha 0 are kept where a format says that it keeps them."""

import pytest
import torch
import torch.nn.functional as F

from esc_cli.media.formats.registry import FORMATS, WRITTEN
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.picture import Picture, PictureFile, WriteSettings
from esc_cli.media.read import read_file
from esc_cli.media.write import encode_file

WITH_ALPHA = [format.name for format in WRITTEN if format.alpha and format.is_installed()]

LOSSY_ERROR = 4.0
"""Mean error in 8 bits that a lossy format may have. Lost colors are 50 or more off."""


def hidden_error(name: str, quality: int | None, *, alpha_is_data: bool) -> float:
    smooth = F.interpolate(torch.rand(1, 3, 6, 8), (48, 64), mode="bicubic").clamp_(0, 1)
    color = smooth.mul(255).round().to(torch.uint8)
    alpha = torch.full((1, 1, 48, 64), 255, dtype=torch.uint8)
    alpha[..., 20:50] = 0
    picture = Picture(color, alpha, False, Metadata(), "PNG", alpha_is_data=alpha_is_data)
    content = encode_file(PictureFile((picture,)), FORMATS[name], WriteSettings(quality))
    read = read_file(content).first.color
    return float((read.float() - color.float())[..., 20:50].abs().mean())


@pytest.mark.parametrize("quality", [None, 90])
@pytest.mark.parametrize("name", WITH_ALPHA)
def test_hidden_colors_are_kept_as_said(name: str, quality: int | None) -> None:
    error = hidden_error(name, quality, alpha_is_data=True)
    assert (error < LOSSY_ERROR) == FORMATS[name].keeps_hidden_colors(quality)


def test_hidden_colors_cost_nothing_where_alpha_is_opacity() -> None:
    assert hidden_error("WEBP", None, alpha_is_data=False) > LOSSY_ERROR
