"""Filling the templates."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

from binderlet.config.federation import FederationSettings, SponsorSettings
from binderlet.config.schema import PageSettings, ServerSettings, Settings
from binderlet.pages.views import Pages, script_json
from support.services import DISPLAYS

BASE = "https://binder.test/"


def pages(settings: Settings | None = None) -> Pages:
    """Give the pages of a service."""
    return Pages(settings or Settings(), list(DISPLAYS.values()), "1.2.3")


def first_script(html: str) -> str:
    """Give the text of the head's first script."""
    found = re.search(r"<head>\s*<script>(.*?)</script>", html, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_policy_allows_the_one_inline_script() -> None:
    """Its hash is in the policy, and no other inline script may run."""
    page = pages().launch(BASE, "gh", "o/r/HEAD", "t.o.k")
    digest = base64.b64encode(hashlib.sha256(first_script(page.html).encode()).digest()).decode()
    assert f"script-src 'self' 'sha256-{digest}';" in page.csp
    assert "unsafe" not in page.csp
    assert page.html.count("<script>") == 1


@pytest.mark.parametrize(("name", "framed"), [("home", False), ("launch", True)])
def test_only_the_launch_page_may_be_framed(name: str, *, framed: bool) -> None:
    """Courses frame the launch page; the others would only be framed to mislead."""
    made = pages()
    page = made.launch(BASE, "gh", "o/r/HEAD", "t") if name == "launch" else made.home(BASE)
    assert page.csp.endswith("frame-ancestors *" if framed else "frame-ancestors 'self'")


def test_a_member_of_a_federation_may_be_redirected() -> None:
    """Where badges point to a federation, launches and event streams may go to other members."""
    page = pages(Settings(server=ServerSettings(badge_base_url="https://fed.test/"))).home(BASE)
    assert "connect-src 'self' https:;" in page.csp
    assert '"badgeBaseUrl":"https://fed.test/"' in page.html
    assert "connect-src 'self';" in pages().home(BASE).csp


def test_the_operators_words_are_on_the_pages() -> None:
    """Title, banner and about text are shown, the latter two as HTML."""
    settings = Settings(pages=PageSettings(title="Course <1>", banner="<b>Exam</b>", about="<p>Us</p>"))
    home = pages(settings).home(BASE)
    assert "<title>Course &lt;1&gt;</title>" in home.html
    assert "<b>Exam</b>" in home.html
    assert "<p>Us</p>" in pages(settings).about(BASE).html
    assert 'class="banner"' not in pages().home(BASE).html


def test_the_launch_page_shows_what_is_launched() -> None:
    """People read the decoded name, programs the exact spec, and markup in it stays text."""
    page = pages().launch(BASE, "git", "https%3A%2F%2Fx.test%2F%3Cb%3E/main", "t")
    assert '<h1 class="spec">https://x.test/&lt;b&gt;/main</h1>' in page.html
    assert 'content="Git repository: https%3A%2F%2Fx.test%2F%3Cb%3E/main"' in page.html


def test_problem_and_status() -> None:
    """An error page shows status, reason and what to do; the status page waits for its numbers."""
    page = pages().problem(BASE, 404, "There is no <x>.", "Go home.")
    assert "There is no &lt;x&gt;." in page.html
    assert "Not here" in page.html
    assert "That did not work" in pages().problem(BASE, 400, "No.", "").html
    assert 'id="checks"' in pages().status(BASE).html


def test_files_are_found_by_name() -> None:
    """Only what was read at the start is there."""
    asset = pages().asset("app.css")
    assert asset is not None
    assert asset.content_type.startswith("text/css")
    assert pages().asset("../views.py") is None


def test_json_in_a_script_cannot_end_it() -> None:
    """Markup and line separators are escaped, and the value stays the same."""
    value = {"a": "</script><!-- & \u2028\u2029 é"}
    text = script_json(value)
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == value


def test_the_host_is_thanked(tmp_path: Path) -> None:
    """Who gives the machine is named on every page and card, with logo and link."""
    logo = tmp_path / "logo.png"
    logo.write_bytes(b"png")
    sponsor = SponsorSettings(name="Example <Institute>", url="https://example.org", logo=str(logo))
    made = pages(Settings(sponsor=sponsor))
    for page in (made.home(BASE), made.launch(BASE, "gh", "o/r/HEAD", "t"), made.problem(BASE, 404, "x", "y")):
        assert 'href="https://example.org/"' in page.html
        assert "Hosted by <strong>Example &lt;Institute&gt;</strong>" in page.html
        assert (
            'content="Reproducible, sharable, open, interactive computing environments. Hosted by Example' in page.html
        )
        assert '<img src="/static/sponsor-logo?v=' in page.html
    assert made.asset("sponsor-logo") is not None
    plain = pages(Settings(sponsor=SponsorSettings(name="X"))).home(BASE).html
    assert "Hosted by <strong>X</strong></span>" in plain


def test_a_federation_without_https() -> None:
    """In a federation on a test network launches may go to members without https."""
    page = pages(Settings(federation=FederationSettings(url="http://fed.test/"))).home(BASE)
    assert "connect-src 'self' http: https:;" in page.csp
    assert '"badgeBaseUrl":"http://fed.test/"' in page.html
