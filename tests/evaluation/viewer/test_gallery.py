"""What a written gallery holds. What a browser makes of it is in `test_gallery_browser.py`."""

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from esc_cli.errors import OutputError, OutputExistsError
from esc_cli.evaluation.viewer.files import identity_of
from esc_cli.evaluation.viewer.gallery import Entry, Summary, write_gallery


def page(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text("utf-8").split('id="page">')[1].split("</script>")[0])
    return data


def tiff(folder: Path, name: str) -> Entry:
    Image.new("RGB", (40, 30)).save(folder / f"{name}.tiff")
    return Entry(name, "done", folder / f"{name}.tiff")


def test_an_interruption_ends_only_the_making_of_pictures(tmp_path: Path) -> None:
    entries = [tiff(tmp_path, name) for name in ("a", "b", "c")]
    target = tmp_path / "all.html"

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_gallery(target, Summary("all", {}, ("one",)), entries, replace=False, progress=interrupt)
    written = page(target)
    assert [entry["small"] is None for entry in written["entries"]] == [False, True, True]
    assert [entry["file"] for entry in written["entries"]] == ["a.tiff", "b.tiff", "c.tiff"]
    assert written["remarks"][0] == "one"
    assert "missing" in written["remarks"][1]


def test_nothing_stays_of_a_gallery_that_fails(tmp_path: Path) -> None:
    def fail(done: int, total: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_gallery(
            tmp_path / "all.html", Summary("", {}), [Entry("a", "left")], replace=False, progress=fail
        )
    assert not list(tmp_path.iterdir())


def test_a_gallery_is_replaced_with_its_folder_only_on_demand(tmp_path: Path) -> None:
    target, entries = tmp_path / "all.html", [tiff(tmp_path, "a")]
    write_gallery(target, Summary("all", {}), entries, replace=False, identity="one")
    assert identity_of(target) == "one"
    assert len(list((tmp_path / "all_files").iterdir())) == 3
    with pytest.raises(OutputExistsError):
        write_gallery(target, Summary("all", {}), [], replace=False)
    write_gallery(target, Summary("all", {}), [], replace=True)
    assert [path.name for path in (tmp_path / "all_files").iterdir()] == ["slider.html"]
    (tmp_path / "all_files" / "holiday.jpg").touch()
    with pytest.raises(OutputError, match="not a folder of a page"):
        write_gallery(target, Summary("all", {}), [], replace=True)


def test_names_are_texts_and_no_code(tmp_path: Path) -> None:
    name = "</script><b>{title}"
    entry = Entry(os.fsdecode(name.encode() + b"\xff"), "failed", problem=("<i>",))
    target = tmp_path / "all.html"
    write_gallery(target, Summary("<b>&{page}\udcff", {}), [entry], replace=False)
    assert page(target)["entries"][0]["name"] == name + "\udcff"
    assert "<h1>&lt;b&gt;&amp;{page}?</h1>" in target.read_text("utf-8")


def test_files_that_cannot_be_found_or_read_are_no_reason_to_fail(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"\x89PNG\r\n\x1a\n and nothing else")
    files = (damaged, tmp_path, tmp_path / ("a" * 300), tmp_path / "nothing.png")
    entries = [Entry(str(number), "failed", file, file) for number, file in enumerate(files)]
    write_gallery(tmp_path / "all.html", Summary("all", {}), entries, replace=False)
    shown = page(tmp_path / "all.html")["entries"]
    assert [(one["small"], one["page"]) for one in shown] == [(None, None)] * 4
    assert [one["file"] for one in shown] == ["damaged.png", None, None, None]


def arithmetic_jpeg() -> bytes:
    """Return a JPEG with arithmetic coding, 8x8 pixels of the gray 192. Pillow reads it, but writes none."""
    content = io.BytesIO()
    Image.new("L", (8, 8)).save(content, "JPEG", quality=50)
    head = content.getvalue().partition(b"\xff\xda")[0].replace(b"\xff\xc0", b"\xff\xff\xc9")
    return head + bytes.fromhex("ffda 0008 01 0100 003f00 d2 ffd9")


def test_only_files_that_browsers_show_are_linked(tmp_path: Path) -> None:
    (tmp_path / "coded.jpg").write_bytes(arithmetic_jpeg())
    Image.new("L", (8, 8)).save(tmp_path / "plain.jpg", progressive=True)
    entries = [Entry(name, "done", tmp_path / f"{name}.jpg") for name in ("coded", "plain")]
    write_gallery(tmp_path / "all.html", Summary("all", {}), entries, replace=False)
    coded, plain = page(tmp_path / "all.html")["entries"]
    assert (coded["small"], plain["small"]) == ("all_files/0.webp", "plain.jpg")
    (layer,) = coded["page"]["layers"]
    assert (layer["overview"], layer["facts"]["shown as"]) == ("all_files/0-0.jpg", "a JPEG of quality 95")
    with Image.open(tmp_path / layer["overview"]) as copy:
        assert abs(copy.convert("L").getpixel((4, 4)) - 192) < 3
    assert plain["page"]["layers"][0]["overview"] == "plain.jpg"


def test_identities(tmp_path: Path) -> None:
    (tmp_path / "other.html").write_text("<html></html>")
    assert identity_of(tmp_path / "other.html") is None
    assert identity_of(tmp_path / "nothing.html") is None


def test_what_is_private_stays_private(tmp_path: Path) -> None:
    entries = [tiff(tmp_path, "a"), tiff(tmp_path, "b")]
    (tmp_path / "a.tiff").chmod(0o600)
    write_gallery(tmp_path / "all.html", Summary("all", {}), entries, replace=False)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "all_files").iterdir()}
    open_to_all = modes.pop("slider.html")
    assert modes == {"0.webp": 0o600, "0-0.jpg": 0o600, "1.webp": open_to_all, "1-0.jpg": open_to_all}
    assert (tmp_path / "all.html").stat().st_mode & 0o777 == 0o600
