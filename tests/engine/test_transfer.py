import pytest
import torch

from esc_cli.engine.transfer import PIECE_BYTES, Download, rows_per_piece

DTYPES = [torch.uint8, torch.uint16, torch.float32]


@pytest.mark.parametrize("dtype", DTYPES)
def test_blocks_arrive_where_they_belong(dtype: torch.dtype) -> None:
    high = torch.zeros(1, 3, 4, 6, dtype=dtype)
    left, right = torch.full((1, 3, 4, 2), 7).to(dtype), torch.full((1, 3, 4, 4), 9).to(dtype)
    with Download(torch.device("cpu")) as download:
        download.put(left, high[..., :2])
        download.put(right, high[..., 2:])
    assert torch.equal(high, torch.cat((left, right), dim=-1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1, 7, 640, 4096, 40000])
@pytest.mark.parametrize(("n", "height"), [(1, 1), (1, 9000), (2, 480), (3, 2161)])
def test_a_piece_is_as_large_as_it_may_be(n: int, height: int, width: int, dtype: torch.dtype) -> None:
    block = torch.empty(n, 3, height, width, dtype=dtype, device="meta")
    rows = rows_per_piece(block)
    row_bytes = 3 * n * width * dtype.itemsize
    assert rows * row_bytes <= PIECE_BYTES or rows == 1
    assert (rows + 1) * row_bytes > PIECE_BYTES


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("inference", [True, False])
def test_blocks_arrive_although_their_memory_is_used_again(dtype: torch.dtype, inference: bool) -> None:
    shape = (1, 3, 2000, 3000)
    expected = torch.arange(4 * 3 * 2000 * 3000, dtype=torch.int64).remainder(251).to(dtype)
    expected = expected.view(4, *shape)
    high = torch.zeros(shape[0], 3, 4 * shape[2], shape[3], dtype=dtype)
    on_device = expected.cuda()
    with torch.inference_mode(inference), Download(on_device.device) as download:
        for index in range(4):
            block = on_device[index].clone()
            download.put(block, high[:, :, index * shape[2] : (index + 1) * shape[2]])
            del block
            torch.zeros(shape, device="cuda").to(dtype)  # reuses the memory of the block
    assert torch.equal(high, torch.cat(list(expected), dim=2))


@pytest.mark.cuda
def test_a_cropped_block_arrives() -> None:
    block = torch.rand(2, 3, 50, 70, device="cuda")
    place = torch.zeros(2, 3, 41, 33)
    with Download(block.device) as download:
        download.put(block[..., :41, :33], place)
    assert torch.equal(place, block[..., :41, :33].cpu())
