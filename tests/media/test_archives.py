"""Test archives that the tests write with the standard library, or byte by byte where it refuses to."""

import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from esc_cli.errors import InputError
from esc_cli.media import archives
from esc_cli.media.archives import ArchiveReader, is_archive
from esc_cli.media.formats.registry import FORMATS

PNG_HEAD = b"\x89PNG\r\n\x1a\n"


def packed(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(path, "w") as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def copied(path: Path, replacement: Callable[[int], tuple[str, bytes] | None] = lambda _: None) -> Path:
    target = path.with_name("copy.zip")
    with ArchiveReader(path) as archive:
        archive.rewrite(target, replacement)
    return target


def test_entries_keep_everything_that_describes_them(tmp_path: Path) -> None:
    first = zipfile.ZipInfo("b/2.txt", (1999, 12, 31, 23, 58, 2))
    first.compress_type, first.external_attr, first.comment = zipfile.ZIP_DEFLATED, 0o640 << 16, b"note"
    time, user = struct.pack("<HHBI", 0x5455, 5, 1, 946684682), struct.pack("<HHI", 0x7875, 4, 1000)
    first.extra, first.create_system = time + user, 3
    second = zipfile.ZipInfo("b/1.png", (1980, 0, 0, 0, 0, 0))
    second.create_system = 0
    path = packed(tmp_path / "in.zip", ("b/", b""), (first, b"text" * 99), (second, b"old"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"of the archive"
    target = copied(path, lambda number: ("b/1.webp", b"new") if number == 2 else None)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target) as new:
        assert new.testzip() is None
        assert new.comment == b"of the archive"
        assert new.namelist() == ["b/", "b/2.txt", "b/1.webp"]
        assert [new.read(name) for name in new.namelist()] == [b"", b"text" * 99, b"new"]
        for name in ("date_time", "compress_type", "comment", "create_system", "internal_attr"):
            assert [getattr(entry, name) for entry in new.infolist()] == [
                getattr(entry, name) for entry in old.infolist()
            ]
        assert new.getinfo("b/2.txt").extra == time
        assert [entry.external_attr for entry in new.infolist()] == [
            entry.external_attr for entry in old.infolist()
        ]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_compression_is_read_and_written(tmp_path: Path, compression: int) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w", compression) as archive:
        archive.writestr("a", b"a" * 5000)
    with zipfile.ZipFile(copied(tmp_path / "in.zip")) as new:
        assert (new.read("a"), new.getinfo("a").compress_type) == (b"a" * 5000, compression)


def test_names_keep_their_bytes_in_every_code_page(tmp_path: Path) -> None:
    shift_jis, latin = "漫画/001.txt".encode("shift-jis"), "Größe.txt".encode()
    path = packed(tmp_path / "in.zip", ("A" * len(shift_jis), b"1"), ("Größe.txt", b"2"))
    path.write_bytes(path.read_bytes().replace(b"A" * len(shift_jis), shift_jis))
    content = copied(path).read_bytes()
    assert content.count(shift_jis) == content.count(latin) == 2  # before the content, and in the directory
    with zipfile.ZipFile(copied(path), metadata_encoding="shift-jis") as new:
        assert new.namelist() == ["漫画/001.txt", "Größe.txt"]


def test_pictures_are_found_as_in_folders(tmp_path: Path) -> None:
    names = {
        "a.jpg": b"", "b": PNG_HEAD, "c.txt": b"x", "d/": b"", ".e.png": PNG_HEAD, "__MACOSX/._a.jpg": b"x",
        "raw.dng": b"II*\0", "Thumbs.db": b"\xd0\xcf",
    }  # fmt: skip
    with ArchiveReader(packed(tmp_path / "in.zip", *names.items())) as archive:
        found = [archive.names[number] for number in range(len(names)) if archive.is_picture(number)]
    raw = FORMATS["camera raw"]
    assert found == ["a.jpg", "b", *(["raw.dng"] if raw.counts_in_folders() else [])]


def _link() -> zipfile.ZipInfo:
    link = zipfile.ZipInfo("link.png")
    link.external_attr, link.create_system = 0o120777 << 16, 3
    return link


@pytest.mark.parametrize(
    "name", ["../a.png", "a/../../b", "/etc/passwd", "C:a.png", "C:\\a.png", "..\\a.png", "\\a", "a/.."]
)
def test_names_that_lead_outside_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="a name that leads outside of it"):
        ArchiveReader(packed(tmp_path / "in.zip", ("good.png", b""), (name, b"")))


@pytest.mark.parametrize("name", ["..a.png", "a..b/c", "a\\b.png", "a:b"])
def test_odd_names_inside_are_kept(tmp_path: Path, name: str) -> None:
    if name == "a:b":
        name = "aa:b"  # one letter would be a drive
    with zipfile.ZipFile(copied(packed(tmp_path / "in.zip", (name, b"1")))) as new:
        assert new.namelist() == [name]


def test_links_and_double_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'link.png' in .* is a symbolic link"):
        ArchiveReader(packed(tmp_path / "in.zip", (_link(), b"/etc/passwd")))
    with pytest.raises(InputError, match=r"two entries with the name 'a.png'"):
        ArchiveReader(packed(tmp_path / "in.zip", ("a.png", b"1"), ("a.png", b"2")))


def _patched(path: Path, offset: int, value: bytes) -> Path:
    """Change a field of the only entry in the central directory, counted from its beginning."""
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\1\2") + offset
    content[place : place + len(value)] = value
    path.write_bytes(content)
    return path


def test_encrypted_and_unknown_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.zip"
    with pytest.raises(InputError, match="is encrypted"):
        ArchiveReader(_patched(packed(path, ("a.png", b"1")), 8, b"\1\0"))
    with pytest.raises(InputError, match="compressed in a way"):
        ArchiveReader(_patched(packed(path, ("a.png", b"1")), 10, b"\x5d\0"))  # Zstandard
    with pytest.raises(InputError, match="not valid UTF-8"):
        ArchiveReader(_patched(_patched(packed(path, ("a.png", b"1")), 8, b"\0\x08"), 46, b"\xff"))


def test_archives_that_would_grow_dangerously_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path / "in.zip", ("a.png", b"1"))
    with pytest.raises(InputError, match=r"'a.png' in .* is larger than 2 GiB"):
        ArchiveReader(_patched(path, 24, struct.pack("<I", 2**31 + 1)))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.bmp", bytes(10**6))
    ArchiveReader(path).close()  # small enough to be harmless
    monkeypatch.setattr(archives, "_HARMLESS_BYTES", 10**5)
    with pytest.raises(InputError, match=r"would grow to \d+ times its size, and at most 200 times"):
        ArchiveReader(path)


def test_entries_that_overlap_are_refused(tmp_path: Path) -> None:
    """Entries are copied as they are stored, so a few bytes could otherwise be copied any number of times."""
    names = [f"{number}.txt" for number in range(9)]
    path = packed(tmp_path / "in.zip", *((name, b"x" * 50) for name in names))
    content = path.read_bytes()
    directory = content.index(b"PK\1\2")
    stated = struct.pack("<II", 50, 50)
    longer = content[directory:].replace(stated, struct.pack("<II", 400, 50))
    assert longer.count(stated) == 0
    path.write_bytes(content[:directory] + longer)
    with pytest.raises(InputError, match="overlap"):
        ArchiveReader(path)


@pytest.mark.parametrize("content", [b"", b"PK\5\6", b"hello" * 99, b"PK\3\4" + bytes(200)])
def test_what_is_not_a_whole_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "in.cbz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a complete ZIP archive"):
        ArchiveReader(path)


@pytest.mark.parametrize("head", [b"Rar!\x1a\x07\x01\0", b"7z\xbc\xaf\x27\x1c"])
@pytest.mark.parametrize("name", ["in.cbr", "in.cbz", "in"])
def test_other_archives_are_refused_under_every_name(tmp_path: Path, head: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(head + bytes(99))
    assert is_archive(path)
    with pytest.raises(InputError, match="a kind that this program cannot read"):
        ArchiveReader(path)


@pytest.mark.parametrize("name", ["in.cbt", "in.tar"])
def test_tar_archives_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("a.png"))
    assert is_archive(path)
    with pytest.raises(InputError, match="a kind that this program cannot read"):
        ArchiveReader(path)


def test_content_that_does_not_match_its_checksum_is_damaged(tmp_path: Path) -> None:
    path = packed(tmp_path / "in.zip", ("a.png", b"content"))
    path.write_bytes(path.read_bytes().replace(b"content", b"c0ntent"))
    with ArchiveReader(path) as archive, pytest.raises(InputError, match=r"'a.png' in .* is damaged"):
        archive.read(0)
    with ArchiveReader(copied(path)) as new:
        assert new.names == ("a.png",)
        with pytest.raises(InputError, match=r"'a.png' in .* is damaged"):
            new.read(0)


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_a_damaged_entry_is_copied_as_it_is_stored(tmp_path: Path, method: int) -> None:
    path, content = tmp_path / "in.zip", bytes(range(256)) * 9
    with zipfile.ZipFile(path, "w", method) as archive:
        for name in ("a", "b", "c"):
            archive.writestr(name, content)
        place = archive.infolist()[1].header_offset + 60
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 0xFF
    path.write_bytes(damaged)
    new = copied(path)
    assert new.read_bytes()[:place] == damaged[:place]
    with ArchiveReader(new) as archive:
        assert archive.read(0) == archive.read(2) == content
        with pytest.raises(InputError, match=r"'b' in .* is damaged"):
            archive.read(1)


def test_an_entry_that_is_not_where_the_archive_says_is_damaged(tmp_path: Path) -> None:
    path = packed(tmp_path / "in.zip", ("a.png", b"content"))
    path.write_bytes(path.read_bytes().replace(b"PK\3\4", b"PK\3\5"))
    with pytest.raises(InputError, match=r"'a.png' in .* is damaged"):
        copied(path)


def test_no_damage_ends_in_an_error_of_the_library(tmp_path: Path) -> None:
    path, random = tmp_path / "in.zip", Random(0)
    with zipfile.ZipFile(path, "w") as archive:
        for number, method in enumerate((0, 8, 12, 14)):
            archive.writestr(f"{number}/ä.png", PNG_HEAD + bytes(range(200)), compress_type=method)
    whole = path.read_bytes()
    refused = 0
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(random.choice((1, 2, 8))):
            damaged[random.randrange(len(damaged))] = random.choice((0, 1, 255, random.randrange(256)))
        path.write_bytes(damaged)
        try:
            with ArchiveReader(copied(path)) as archive:
                for number in range(len(archive.names)):
                    archive.read(number)
        except InputError:
            refused += 1
    assert 200 < refused < 400  # damage to a date, for example, is not noticed


def test_a_picture_is_no_archive_whatever_its_name_is(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(PNG_HEAD)
    packed(tmp_path / "a.docx", ("a.png", b""))
    assert not is_archive(tmp_path / "a.zip")
    assert not is_archive(tmp_path / "a.docx")
    assert is_archive(tmp_path / "missing.cbz")
