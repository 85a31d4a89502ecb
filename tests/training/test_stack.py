"""Test that a batch that is cut at once equals its patches cut one by one."""

import torch

from esc_cli.training.stack import PictureStack, Place, turn

CPU = torch.device("cpu")
SIDE = 5


def test_patches_of_all_sizes_and_turns_are_those_cut_one_by_one() -> None:
    pictures = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in ((7, 9), (5, 5), (12, 6))]
    stack = PictureStack(list(pictures), CPU)
    places = [
        Place(number, top, left, flip, turns)
        for number, (top, left) in enumerate([(2, 4), (0, 0), (7, 1)])
        for flip in (False, True)
        for turns in range(4)
    ]
    singly = [
        turn(pictures[one.picture][:, one.top :, one.left :][:, :SIDE, :SIDE], one.flip, one.turns)
        for one in places
    ]
    assert torch.equal(stack.cut(places, SIDE), torch.stack(singly))


def test_turns_are_counter_clockwise_and_flips_come_after() -> None:
    square = torch.tensor([[1, 2], [3, 4]])
    assert turn(square, False, 1).tolist() == [[2, 4], [1, 3]]
    assert turn(square, True, 1).tolist() == [[4, 2], [3, 1]]


def test_a_stack_takes_the_place_of_its_pictures() -> None:
    pictures = [torch.full((3, 2, side), side, dtype=torch.uint8) for side in (2, 3)]
    given = list(pictures)
    stack = PictureStack(given, CPU)
    assert not given
    assert all(torch.equal(one, other) for one, other in zip(stack.pictures, pictures, strict=True))
