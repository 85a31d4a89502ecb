"""The frame that all pages share. What a browser makes of it is in `test_browser.py`."""

from pathlib import Path

import pytest

from esc_cli.evaluation.viewer.files import filled_template, identity_of

KINDS = ("page", "gallery")


def test_all_pages_have_the_same_head() -> None:
    heads = [filled_template(kind, "a <b>", {}, "one").partition("</title>")[0] for kind in KINDS]
    assert heads[0].replace("upscale-page", "upscale-gallery") == heads[1]
    assert "default-src 'none'" in heads[0]
    assert heads[0].endswith("<title>a &lt;b&gt;")


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_no_templates(kind: str) -> None:
    text = filled_template(kind, "{script} {body}", {"name": "{style} {body}"}, "{title}")
    assert "<title>{script} {body}</title>" in text
    assert '{"name": "{style} {body}"}' in text
    assert 'content="{title}"' in text
    assert text.count("<main>") == text.count("<style>") == text.count("</script>\n</body>") == 1


def test_only_a_gallery_has_an_identity(tmp_path: Path) -> None:
    for kind in KINDS:
        (tmp_path / kind).write_text(filled_template(kind, "a page", {}, "one"), "utf-8")
    assert [identity_of(tmp_path / kind) for kind in KINDS] == [None, "one"]
