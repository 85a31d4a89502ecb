"""Galleries in a real browser."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from esc_cli.evaluation.viewer.gallery import Entry, Summary, write_gallery
from esc_cli.media.formats.registry import WRITTEN
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.picture import Picture, PictureFile
from esc_cli.media.write import encode_file

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

RED, BLUE = (200, 0, 0), (0, 0, 200)
DESKTOP, PHONE = (1000, 700), (390, 800)


def pair(folder: Path, name: str, width: int = 40, extension: str = "png", **more: Any) -> Entry:
    """Return an entry with a red input and a blue result, twice as large."""
    before, after = folder / f"{name} in.{extension}", folder / f"{name} out.{extension}"
    Image.new("RGB", (width, 30), RED).save(before)
    Image.new("RGB", (2 * width, 60), BLUE).save(after)
    return Entry(name, "done", before, after, {"model": "esc"}, **more)


@pytest.fixture
def show(open_page: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Return a function that opens a gallery of some entries."""

    def show(entries: Sequence[Entry], size: tuple[int, int] = DESKTOP) -> Any:
        target = tmp_path / "a 50% #1 gallery.html"
        summary = Summary("holiday", {"command": "esc-upscale holiday"}, ("The run ended early.",))
        write_gallery(target, summary, entries, replace=False)
        return open_page(target, size)

    return show


@pytest.fixture
def entries(tmp_path: Path) -> list[Entry]:
    return [
        pair(tmp_path, "b 10", 20, seconds=1.5),
        pair(tmp_path, "b 9", 60, seconds=0.5, notes=("the profile is not kept",)),
        Entry("bad", "failed", problem=("bad is empty", "name another file")),
        pair(tmp_path, "a", 40),
    ]


def names(shown: Any) -> list[str]:
    return [text.strip() for text in shown.locator("#list h2 a, #list h2:not(:has(a))").all_text_contents()]


def test_order_and_choice(show: Callable[..., Any], entries: list[Entry]) -> None:
    shown = show(entries)
    texts = [name.removeprefix("no preview").strip() for name in names(shown)]
    assert texts == ["bad", "b 10", "b 9", "a"]
    shown.locator("#failures").select_option("last")
    for order, wanted in {
        "name": ["a", "b 9", "b 10"],
        "-px": ["b 9", "a", "b 10"],
        "px": ["b 10", "a", "b 9"],
        "-seconds": ["b 10", "b 9", "a"],
        "seconds": ["b 9", "b 10", "a"],
    }.items():
        shown.locator("#order").select_option(order)
        assert names(shown)[:3] == wanted
    shown.locator("#failures").select_option("only")
    assert shown.locator("#list > li").count() == 1
    assert "bad is empty" in shown.locator("#list").text_content()
    shown.locator("#failures").select_option("first")
    shown.locator("#filter").fill("PROFILE")
    playwright.expect(shown.locator("#status")).to_have_text("1 of 4")
    assert names(shown) == ["b 9"]


@pytest.mark.parametrize("extension", ["png", "tiff"])
def test_a_picture_opens_with_a_slider(show: Callable[..., Any], tmp_path: Path, extension: str) -> None:
    shown = show([pair(tmp_path, "50% #1 ünï", 40, extension)])
    shown.evaluate("Promise.all([...document.images].map((image) => image.decode()))")
    shown.locator("#list a").click()
    playwright.expect(shown.locator("h1")).to_have_text("50% #1 ünï")
    shown.evaluate("Promise.all([...document.images].map((image) => image.decode()))")
    seen = np.array(Image.open(io.BytesIO(shown.locator("#view").screenshot())).convert("RGB")).astype(int)
    row, width = seen.shape[0] // 4, seen.shape[1]
    assert np.abs(seen[row, width // 2 - 60] - RED).max() < 4
    assert np.abs(seen[row, width // 2 + 60] - BLUE).max() < 4
    shown.keyboard.press("i")
    assert "80x60" in shown.locator("#table").inner_text()
    shown.go_back()
    assert names(shown) == ["50% #1 ünï"]


def test_pictures_of_all_formats_are_seen(show: Callable[..., Any], tmp_path: Path) -> None:
    values = torch.tensor([51_400, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 30, 40)
    entries = []
    for format in WRITTEN:
        for depth_bits in format.depths_bits if format.is_installed() else ():
            color = {8: values // 257, 32: values / 65_535}.get(depth_bits, values)
            if format.scene_linear:  # sRGB's curve, for values that are not small
                color = (color > 0) * ((color + 0.055) / 1.055) ** 2.4
            color = color.to({8: torch.uint8, 32: torch.float32}.get(depth_bits, torch.uint16))
            picture = Picture(color, None, False, Metadata(), format.name, depth_bits=depth_bits)
            file = tmp_path / f"{depth_bits}{format.extensions[0]}"
            file.write_bytes(encode_file(PictureFile((picture,)), format))
            entries.append(Entry(file.name, "done", file))
    shown = show(entries)
    sizes = "(images) => Promise.all(images.map((one) => one.decode().then(() => one.naturalWidth)))"
    for image in shown.locator("#list img").all():
        image.scroll_into_view_if_needed()
    assert shown.locator("#list img").evaluate_all(sizes) == [40] * len(entries)
    for image in shown.locator("#list img").all():
        seen = np.array(Image.open(io.BytesIO(image.screenshot())).convert("RGB")).astype(int)
        assert np.abs(seen[seen.shape[0] // 2, seen.shape[1] // 2] - RED).max() < 6


def test_a_file_that_the_browser_cannot_read_has_no_preview(show: Callable[..., Any], tmp_path: Path) -> None:
    shown = show([pair(tmp_path, "a")])
    (tmp_path / "a in.png").write_bytes(b"something else")
    shown.reload()
    playwright.expect(shown.locator("#list .empty")).to_have_text("no preview")


def test_options_are_not_torn_at_their_hyphens(show: Callable[..., Any]) -> None:
    hint = "a is damaged; to keep it, use --damaged keep or --quality 9"
    shown = show([Entry("a", "failed", problem=(hint,))])
    lines = """() => {
        const text = document.createTreeWalker(document.querySelector(".problem"), NodeFilter.SHOW_TEXT);
        const found = [];
        while (text.nextNode()) {
            for (const { index, 0: option } of text.currentNode.data.matchAll(/--[a-z]+/g)) {
                const range = document.createRange();
                range.setStart(text.currentNode, index);
                range.setEnd(text.currentNode, index + option.length);
                found.push([option, new Set([...range.getClientRects()].map((line) => line.top)).size]);
            }
        }
        return found;
    }"""
    for width in range(300, 400, 10):
        shown.set_viewport_size({"width": width, "height": 800})
        assert shown.evaluate(lines) == [["--damaged", 1], ["--quality", 1]]
    assert shown.locator(".problem").inner_text() == hint


def test_a_large_result_opens_in_tiles(show: Callable[..., Any], tmp_path: Path) -> None:
    entry = pair(tmp_path, "wide", 5000)
    shown = show([entry])
    shown.locator("#list a").click()
    playwright.expect(shown.locator("h1")).to_have_text("wide")
    shown.keyboard.press("0")
    shown.evaluate("Promise.all([...document.images].map((image) => image.decode()))")
    assert 1 <= shown.locator("img[src*='_files/0-1-0-']").count() <= 4


def test_ten_thousand_pictures(show: Callable[..., Any]) -> None:
    entries = [Entry(f"{number}.png", "failed" if number == 9_000 else "left") for number in range(10_000)]
    shown = show(entries)
    assert shown.locator("#list > li").count() == 200
    assert "9000.png" in names(shown)[0]
    shown.locator("#failures").select_option("last")
    shown.locator("#last").click()
    assert "9000.png" in names(shown)[-1]
    assert shown.evaluate("document.activeElement.id") == "list"  # from there, Tab goes to its first picture
    assert shown.locator("#part").inner_text() == "9801 to 10000 of 10000"
    shown.locator("#filter").fill("9000.png")
    playwright.expect(shown.locator("#status")).to_have_text("1 of 10000")
    assert shown.locator("#parts").is_hidden()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_gallery_is_accessible(
    show: Callable[..., Any], entries: list[Entry], size: tuple[int, int], scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    more = range(200 if size == PHONE else 0)
    shown = show([*entries, *(Entry(f"{number}", "left") for number in more)], size)
    shown.emulate_media(color_scheme=scheme)
    found = axe.Axe().run(shown).response["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
    overflow = shown.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0


def test_the_keyboard_reaches_everything(show: Callable[..., Any], entries: list[Entry]) -> None:
    shown = show(entries)
    reached = []
    for _ in range(6):
        shown.keyboard.press("Tab")
        reached.append(shown.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert reached == ["filter", "order", "failures", "b 10", "b 9", "a"]
    shown.keyboard.press("Enter")
    playwright.expect(shown.locator("h1")).to_have_text("a")
