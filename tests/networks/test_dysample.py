import copy

import pytest
import torch

from esc_cli.networks.dysample import DySample


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.02), (torch.float16, 0.002)], ids=str)
def test_half_precision_samples_where_float32_does(dtype: torch.dtype, tolerance: float) -> None:
    """At 300 pixels, positions in half precision would lie outside the map."""
    torch.manual_seed(0)
    head = DySample(8, 3, 2)
    features = torch.rand(1, 8, 300, 300)
    half = copy.deepcopy(head).to(dtype)
    with torch.inference_mode():
        expected, result = head(features), half(features.to(dtype))
    torch.testing.assert_close(result.float(), expected, rtol=0, atol=tolerance)


def test_some_rows_are_those_of_the_whole() -> None:
    head = DySample(8, 3, 2).double()
    torch.nn.init.normal_(head.scope.weight)
    features = torch.rand(2, 8, 9, 7, dtype=torch.float64)
    torch.testing.assert_close(head(features, 3, 5), head(features)[:, :, 6:10])
