"""Pages in a real browser: Chromium, driven by Playwright. Without both, these tests are skipped."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from esc_cli.evaluation.viewer.gallery import Summary, write_gallery
from esc_cli.evaluation.viewer.page import written_page

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

RED, BLUE, GREEN = (200, 0, 0), (0, 0, 200), (0, 200, 0)
STATUS = "document.getElementById('status')"
DESKTOP, PHONE = (1000, 700), (390, 800)


def flat(color: tuple[int, int, int], height: int = 300, width: int = 400) -> Tensor:
    return torch.tensor(color, dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, height, width)


def gradients(height: int, width: int) -> Tensor:
    """Return a picture whose red tells the column, and whose green tells the row."""
    columns = torch.linspace(0, 255, width).expand(height, width)
    rows = torch.linspace(0, 255, height)[:, None].expand(height, width)
    return torch.stack((columns, rows, torch.zeros_like(rows)))[None].to(torch.uint8)


@pytest.fixture
def show(open_page: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Return a function that opens a page of layers from a file."""

    def show(size: tuple[int, int] = DESKTOP, **layers: Tensor) -> Any:
        sizes = [(color.shape[-2], color.shape[-1]) for color in layers.values()]
        target = tmp_path / "50% #1.html"
        with written_page(target, "a page", sizes, replace=False) as page:
            for name, color in layers.items():
                page.add(name, color, {"size": f"{color.shape[-1]}x{color.shape[-2]}", "PSNR, dB": "31.82"})
        shown = open_page(target, size)
        wait_for_pictures(shown)
        return shown

    return show


def wait_for_pictures(shown: Any) -> None:
    # The policy of the page allows evaluate(), but not the later tries of wait_for_function().
    shown.evaluate("Promise.allSettled([...document.images].map((image) => image.decode()))")


def pixels(shown: Any) -> Any:
    """Return what the view shows, as an array (H, W, 3), without the last rows, which may be cut in half."""
    wait_for_pictures(shown)
    return np.array(Image.open(io.BytesIO(shown.locator("#view").screenshot())).convert("RGB"))[:-2]


def middle(shown: Any) -> tuple[float, float]:
    box = shown.locator("#view").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def near(pixel: Any, color: tuple[int, ...], levels: int = 3) -> bool:
    return bool(np.abs(np.asarray(pixel, int) - color).max() <= levels)


def test_the_divider_is_dragged(show: Callable[..., Any]) -> None:
    shown = show(red=flat(RED), blue=flat(BLUE))
    seen = pixels(shown)
    row, width = seen.shape[0] // 4, seen.shape[1]
    assert near(seen[row, width // 2 - 40], RED)
    assert near(seen[row, width // 2 + 40], BLUE)
    x, y = middle(shown)
    shown.mouse.move(x, y)
    shown.mouse.down()
    shown.mouse.move(x - 100, y, steps=3)
    shown.mouse.up()
    seen = pixels(shown)
    assert near(seen[row, width // 2 - 40], BLUE)
    assert near(seen[row, width // 2 - 140], RED)
    assert float(shown.locator("#slider").input_value()) == pytest.approx(100 * (0.5 - 100 / width), abs=0.2)


def test_the_point_under_the_pointer_stays_when_zooming(show: Callable[..., Any]) -> None:
    shown = show(one=gradients(300, 400), two=gradients(600, 800))
    x, y = middle(shown)
    box = shown.locator("#view").bounding_box()
    for dx, dy in ((130, 70), (-150, -90)):
        shown.keyboard.press("f")
        fitting = shown.locator("#status").inner_text()
        shown.mouse.move(x + dx, y + dy)
        at = round(y + dy - box["y"]), round(x + dx - box["x"])
        before = pixels(shown)[at]
        shown.mouse.wheel(0, -700)
        playwright.expect(shown.locator("#status")).not_to_have_text(fitting)
        assert near(pixels(shown)[at], tuple(map(int, before)), levels=4)


def test_dragging_pans(show: Callable[..., Any]) -> None:
    shown = show(one=gradients(300, 400), two=gradients(300, 400))
    x, y = middle(shown)
    for _ in range(5):
        shown.keyboard.press("+")
    before = pixels(shown)
    at = before.shape[0] // 2 + 50, before.shape[1] // 2 + 60
    shown.mouse.move(x + 60, y + 50)
    shown.mouse.down()
    shown.mouse.move(x + 140, y + 20, steps=4)
    shown.mouse.up()
    assert near(pixels(shown)[at[0] - 30, at[1] + 80], tuple(map(int, before[at])), levels=4)


def test_all_keys(show: Callable[..., Any]) -> None:
    shown = show(red=flat(RED), blue=flat(BLUE), green=flat(GREEN))

    def sides() -> tuple[bool, ...]:
        seen = pixels(shown)
        row, width = seen.shape[0] // 4, seen.shape[1]
        left, right = seen[row, width // 2 - 60], seen[row, width // 2 + 60]
        return tuple(near(left, color) for color in (RED, BLUE, GREEN)) + tuple(
            near(right, color) for color in (RED, BLUE, GREEN)
        )

    assert sides() == (True, False, False, False, False, True)
    shown.keyboard.press("2")
    assert sides() == (True, False, False, False, True, False)
    shown.keyboard.press("Shift+Digit3")
    assert sides() == (False, False, True, False, True, False)
    shown.keyboard.press("9")  # there is no ninth layer
    assert sides() == (False, False, True, False, True, False)
    shown.keyboard.press("ArrowLeft")
    assert float(shown.locator("#slider").input_value()) == 48
    before = shown.locator("#status").inner_text()
    shown.keyboard.press("+")
    assert shown.locator("#status").inner_text() != before
    shown.keyboard.press("0")
    assert shown.locator("#status").inner_text().endswith(", 100 %")
    shown.keyboard.press("i")
    assert "31.82" in shown.locator("#table").inner_text()
    shown.keyboard.press("i")
    assert shown.locator("#table").is_hidden()
    shown.keyboard.press("m")
    shown.mouse.move(*middle(shown))
    assert shown.locator("#glass").is_visible()


def test_the_difference_is_that_of_the_pixels(show: Callable[..., Any]) -> None:
    shown = show(one=flat((10, 100, 30)), two=flat((15, 90, 30)), three=flat((10, 100, 30)))
    shown.keyboard.press("d")
    assert near(pixels(shown).max((0, 1)), (0, 0, 0))
    shown.keyboard.press("2")
    seen = pixels(shown)
    assert near(seen[seen.shape[0] // 2, seen.shape[1] // 2], (20, 40, 0))  # the gain is 4


def test_a_small_picture_is_shown_in_plain_pixels(show: Callable[..., Any]) -> None:
    checkers = (torch.arange(8)[:, None] + torch.arange(8)).remainder(2).mul(255).to(torch.uint8)
    shown = show(small=checkers.expand(1, 3, 8, 8), large=flat(RED, 320, 320))
    shown.keyboard.press("Shift+Digit1")
    shown.keyboard.press("1")
    seen = pixels(shown)
    inside = seen[:, seen.shape[1] // 2 - 100 : seen.shape[1] // 2 - 20]
    assert ((inside < 8) | (inside > 247)).mean() > 0.97


def test_a_picture_of_96_megapixels(show: Callable[..., Any]) -> None:
    high = gradients(8_000, 12_000)
    shown = show(low=high[..., ::8, ::8], high=high)
    shown.keyboard.press("0")
    seen = pixels(shown)
    center = seen[seen.shape[0] // 2, seen.shape[1] // 2 + 40]
    assert near(center, (127, 127, 0), levels=4)
    tiles = shown.locator("img[src*='_files/1-']").count()
    assert 1 <= tiles <= 12
    x, y = middle(shown)
    shown.mouse.move(x + 50, y + 50)
    shown.mouse.down()
    shown.mouse.move(x - 350, y - 250, steps=5)
    shown.mouse.up()
    seen = pixels(shown)
    center = seen[seen.shape[0] // 2, seen.shape[1] // 2 + 40]
    assert near(center, (127 + 400 * 255 // 12_000, 127 + 300 * 255 // 8_000, 0), levels=4)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(show: Callable[..., Any], size: tuple[int, int], scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    shown = show(size, red=flat(RED), blue=flat(BLUE))
    shown.emulate_media(color_scheme=scheme)
    for key in ("i", "d"):
        shown.keyboard.press(key)
        found = axe.Axe().run(shown).response["violations"]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
    overflow = shown.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0


def test_the_keyboard_reaches_everything(show: Callable[..., Any]) -> None:
    shown = show(red=flat(RED), blue=flat(BLUE))
    reached = []
    for _ in range(11):
        shown.keyboard.press("Tab")
        reached.append(shown.evaluate("document.activeElement.id"))
    assert reached == [
        "left", "right", "fit", "actual", "out", "in", "difference", "lens", "figures", "view", "slider",
    ]  # fmt: skip
    shown.keyboard.press("ArrowLeft")
    assert float(shown.locator("#slider").input_value()) < 50


@pytest.mark.parametrize("kind", ["page", "gallery"])
def test_the_policy_of_a_page_lets_no_request_out(browser: Any, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "page.html"
    if kind == "page":
        with written_page(target, "a page", [(9, 9)], replace=False) as page:
            page.add("red", flat(RED, 9, 9), {})
    else:
        write_gallery(target, Summary("all", {}), [], replace=False)
    shown = browser.new_page()
    asked: list[str] = []
    shown.on("requestfinished", lambda request: asked.append(request.url))
    shown.goto(target.as_uri())
    blocked = """(tag) => new Promise((resolve) => {
        const answer = (event) => resolve(event.blockedURI);
        document.addEventListener("securitypolicyviolation", answer, { once: true });
        const made = document.body.appendChild(document.createElement(tag));
        made[tag === "link" ? "href" : "src"] = `https://127.0.0.1:9/${tag}`;
        if (tag === "link") made.rel = "stylesheet";
    })"""
    for tag in ("img", "script", "iframe", "link", "video"):
        assert "127.0.0.1:9" in shown.evaluate(blocked, tag)
    assert all(url.startswith(("data:", "file:")) for url in asked)
    shown.close()
