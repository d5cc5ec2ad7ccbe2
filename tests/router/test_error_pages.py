"""The pages that HAProxy shows on its own."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from binderlet.router.error_pages import default_pages

PAGES = default_pages("Binder of <you> & me").by_file()


class Outline(HTMLParser):
    """Collects what the checks need."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the tag and its attributes."""
        self.tags.append(tag)
        self.attributes += attrs


@pytest.mark.parametrize("file", PAGES)
def test_page_is_small_whole_and_accessible(file: str) -> None:
    """Each page fits one buffer, loads nothing, and has what a screen reader and a phone need."""
    html = PAGES[file]
    outline = Outline(html)
    assert len(html.encode()) < 8192
    assert ("lang", "en") in outline.attributes
    assert ("name", "viewport") in outline.attributes
    assert outline.tags.count("h1") == outline.tags.count("main") == outline.tags.count("title") == 1
    assert not {"link", "img", "iframe"} & set(outline.tags)
    assert not [value for name, value in outline.attributes if name == "src"]
    assert "prefers-color-scheme: dark" in html
    assert "Binder of &lt;you&gt; &amp; me" in html
    assert not re.search(r"\$[a-z]", html)


def test_pages_say_what_to_do() -> None:
    """Each page says what happened and what to do next."""
    assert "Binder not found" in PAGES["gone.html"]
    assert "starts a new session" in PAGES["gone.html"]
    assert "ran out of memory" in PAGES["session_down.html"]
    assert "Sessions that run go on" in PAGES["control_down.html"]


def test_only_pages_that_may_mend_look_again() -> None:
    """A session that is gone does not come back, so its page only asks why."""
    assert "setTimeout" not in PAGES["gone.html"]
    assert "/api/sessions/" in PAGES["gone.html"]
    for file in ("session_down.html", "control_down.html"):
        assert "sessionStorage" in PAGES[file]
        assert 'role="status"' in PAGES[file]


@pytest.mark.parametrize("light", [True, False])
def test_contrast(*, light: bool) -> None:
    """Text, soft text and links stand out from the background by at least 4.5 to 1."""
    palettes = re.findall(r"--(\w+): #([0-9a-f]{6})", PAGES["gone.html"])
    colours = dict(palettes[:4] if light else palettes[4:])
    for name in ("text", "soft", "accent"):
        assert _contrast(colours[name], colours["back"]) >= 4.5


def _contrast(one: str, other: str) -> float:
    """Give the contrast of two colours, as WCAG defines it."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    """Give a colour's relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
