import io
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esc_cli.errors import UsageError
from esc_cli.jobs.sources import Shard, Sources, expand, find_sources

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


Save = Callable[..., Path]


def found(sources: Sources) -> list[str]:
    return [source.name for source in sources.pictures]


def test_a_folder_gives_its_pictures_by_name_and_counts_the_rest(save: Save) -> None:
    save("in/b.png"), save("in/a.jpg"), save("in/sub/c.png"), save("in/.hidden.png")
    save("in/really a png", format="PNG")
    Path("in/empty.png").touch()
    Path("in/notes.txt").write_text("BMW is no bitmap")
    sources = find_sources(["in"], recursive=False)
    assert found(sources) == ["in/a.jpg", "in/b.png", "in/empty.png", "in/really a png"]
    assert sources.passed_over == 1
    assert not sources.failures


def test_sub_folders_only_if_asked_for(save: Save) -> None:
    save("in/b.png"), save("in/a/c.png"), save("in/.git/d.png")
    assert found(find_sources(["in"], recursive=True)) == ["in/a/c.png", "in/b.png"]
    assert [str(source.relative) for source in find_sources(["in"], recursive=True).pictures] == [
        "a/c.png",
        "b.png",
    ]


def test_linked_folders_are_searched_once(save: Save) -> None:
    save("in/b/1.png"), save("in/c.png"), save("elsewhere/2.png"), save("elsewhere/deep/3.png")
    for name, target in {
        "in/a": "in/b",
        "in/b/loop": "in",
        "in/d": "elsewhere",
        "in/e": "elsewhere",
        "elsewhere/back": "in",
        "elsewhere/deep/up": "elsewhere",
    }.items():
        Path(name).symlink_to(Path(target).absolute())
    Path("in/link.png").symlink_to("c.png")
    Path("in/broken").symlink_to("nowhere")
    sources = find_sources(["in"], recursive=True)
    assert found(sources) == ["in/b/1.png", "in/c.png", "in/d/2.png", "in/d/deep/3.png", "in/link.png"]
    assert sources.passed_over == 1
    assert found(find_sources(["in"], recursive=False)) == ["in/c.png", "in/link.png"]
    assert found(find_sources(["in/a"], recursive=True))[0] == "in/a/1.png"
    never = [Path("elsewhere")]
    assert found(find_sources(["in"], recursive=True, never=never)) == [
        "in/b/1.png",
        "in/c.png",
        "in/link.png",
    ]


def test_folders_of_results_are_left_out_however_they_are_called(save: Save) -> None:
    save("in/a.png"), save("in/out/b.png")
    never = [Path("in/../in/out")]
    assert found(find_sources(["in"], recursive=True, never=never)) == ["in/a.png"]


def test_a_named_file_is_taken_whatever_it_is(save: Save) -> None:
    save(".hidden.png")
    Path("notes.txt").touch()
    assert found(find_sources([".hidden.png", "notes.txt", "nowhere.png"], recursive=False)) == [
        ".hidden.png",
        "notes.txt",
        "nowhere.png",
    ]


def test_the_same_name_twice_is_one_input(save: Save) -> None:
    save("a.png"), save("b.png")
    assert found(find_sources(expand(["b.png", "./b.png", "*.png"]), recursive=False)) == ["b.png", "a.png"]


def test_a_folder_without_pictures_is_a_failure(save: Save) -> None:
    save("in/sub/a.png")
    Path("in/notes.txt").touch()
    sources = find_sources(["in"], recursive=False)
    (failure,) = sources.failures
    assert failure.error.message == "there are no pictures or clips in the folder 'in'"
    assert failure.error.hint is not None
    assert "-r" in failure.error.hint
    assert sources.passed_over == 1


def test_a_folder_that_cannot_be_read_does_not_stop_the_others(
    public_folder: Path, save: Save, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    for name in ("a/1.png", "closed/2.png", "b/3.png"):
        save(str(public_folder / name))
    (public_folder / "closed").chmod(0)
    with unprivileged():
        sources = find_sources([str(public_folder)], recursive=True)
    (public_folder / "closed").chmod(0o755)
    assert [source.relative.name for source in sources.pictures] == ["1.png", "3.png"]
    (failure,) = sources.failures
    assert failure.error.message == f"the folder '{public_folder}/closed' cannot be read: Permission denied"


def test_patterns_that_the_shell_left_alone(save: Save) -> None:
    for name in ("a1.png", "a2.png", "a[1].png", "deep/er/a3.png", "b.jpg"):
        save(name)
    assert expand(["a?.png"]) == ("a1.png", "a2.png")
    assert expand(["**/*.png"]) == ("a1.png", "a2.png", "a[1].png", "deep/er/a3.png")
    assert expand([str(Path("*.jpg").absolute())]) == (str(Path("b.jpg").absolute()),)
    assert expand(["nothing*.png", "-"]) == ("nothing*.png", "-")


def test_what_is_there_is_no_pattern(save: Save) -> None:
    save("a[1].png"), save("a1.png")
    assert expand(["a[1].png"]) == ("a[1].png",)


def test_brackets_in_the_name_of_a_folder_are_plain(save: Save) -> None:
    """On Windows, no shell expands patterns, and brackets are plain characters in many names."""
    for name in ("a [12]/1.png", "a 1/2.png", "b [x]/c [y]/3.png", "b x/c y/4.png"):
        save(name)
    assert expand(["a [12]/*.png"]) == ("a [12]/1.png",)
    assert expand(["b [x]/c [y]/*.png"]) == ("b [x]/c [y]/3.png",)
    assert expand(["*/c [y]/*.png"]) == ("b x/c y/4.png",)
    assert expand(["a [[]12]/*.png"]) == ("a [12]/1.png",)
    assert expand([str(Path("a [12]/*.png").absolute())]) == (str(Path("a [12]/1.png").absolute()),)


def test_brackets_that_match_nothing_are_plain(save: Save) -> None:
    save("in [2020]-1.png"), save("in [2020]-2.png")
    assert expand(["in [2020]*.png"]) == ("in [2020]-1.png", "in [2020]-2.png")


def test_an_empty_name_is_not_the_current_folder() -> None:
    with pytest.raises(UsageError, match="an input has an empty name"):
        expand(["a.png", ""])


def test_names_of_any_length() -> None:
    name = "x" * 5000 + "*"
    assert found(find_sources(expand([name]), recursive=False)) == [name]


@pytest.mark.parametrize(
    ("stdin", "sentence"),
    [
        (io.TextIOWrapper(io.BytesIO()), "there is nothing on standard input"),
        (None, "standard input is closed"),
        (io.TextIOWrapper(io.BytesIO(b"PK\3\4...")), "an archive cannot come through standard input"),
        (io.TextIOWrapper(io.BytesIO(b"Rar!\x1a\x07")), "an archive cannot come through standard input"),
    ],
)
def test_standard_input_that_cannot_be_taken(
    stdin: io.TextIOWrapper | None, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    (failure,) = find_sources(["-"], recursive=False).failures
    assert (failure.name, failure.error.message) == ("-", sentence)


def test_a_folder_as_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unreadable(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: object) -> int:
            raise IsADirectoryError(21, "Is a directory")

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Unreadable())))
    (failure,) = find_sources(["-"], recursive=False).failures
    assert failure.error.message == "standard input cannot be read: Is a directory"
