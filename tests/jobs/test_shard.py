from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esc_cli.errors import UsageError
from esc_cli.jobs.shard import Shard

names = st.text(st.characters(exclude_characters="/\0"), min_size=1).filter(
    lambda name: name not in (".", "..")
)


@given(st.lists(names, min_size=1, max_size=30), st.integers(1, 20))
def test_every_input_is_in_one_share(stems: list[str], count: int) -> None:
    for stem in stems:
        assert [Shard(number, count).has(Path(stem)) for number in range(1, count + 1)].count(True) == 1


def test_shares_are_alike_and_stay() -> None:
    """The digest is that of ``printf %s NAME | sha256sum``: a new version must not change the shards."""
    assert Shard(0x9F86D081884C7D65 % 8 + 1, 8).has(Path("test"))
    sizes = [sum(Shard(n, 8).has(Path(f"holiday/{i:05}")) for i in range(8000)) for n in range(1, 9)]
    assert sum(sizes) == 8000
    assert all(900 < size < 1100 for size in sizes)


def test_names_that_could_collide_are_together() -> None:
    shard = next(Shard(number, 100) for number in range(1, 101) if Shard(number, 100).has(Path("a/\xe9")))
    assert shard.has(Path("a/e\u0301"))
    assert shard.has(Path("A/\xc9"))


@pytest.mark.parametrize("text", ["", "2", "0/8", "9/8", "-1/8", "1/0", "a/b", "1/8/9", "1.5/2", "٣/٨" + "x"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(UsageError, match="is not a valid shard"):
        Shard.parse(text)


def test_a_share() -> None:
    assert Shard.parse("2/8") == Shard(2, 8)
