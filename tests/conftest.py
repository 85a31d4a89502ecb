"""What all tests share: where the pictures of the workplace lie, if they do."""

from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference vectors and pictures that lies beside a developer's checkout."""
    if not SHARED.is_dir():
        pytest.skip("the reference vectors and pictures are not here")
    return SHARED


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked ``cuda`` where there is no such device."""
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")


# Threads pay on networks of real size only; on the tests' small ones they wait for each other.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    torch.manual_seed(0)
