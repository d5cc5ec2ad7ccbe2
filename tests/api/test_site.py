"""Pages, files, badges, old links and the 404."""

from __future__ import annotations

import json
import re
from urllib.parse import unquote

import jwt
import pytest
from starlette.applications import Starlette

from binderlet.api.tokens import BuildTokens
from support.asgi import PAGE, ask
from support.services import NOW, SECRET


@pytest.mark.parametrize("path", ["/", "/about", "/status", "/v2/gh/owner/repo/HEAD"])
async def test_every_page_has_what_clients_look_for(app: Starlette, path: str) -> None:
    """The first script of the head holds the configuration, and there is a root element."""
    answer = await ask(app, path, PAGE)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert '<div id="root">' in answer.text
    script = re.search(r"<head>\s*<script>(.*?)</script>", answer.text, re.DOTALL)
    assert script is not None
    config = json.loads(script[1].removeprefix("window.pageConfig = ").removesuffix(";"))
    assert config["baseUrl"] == "/"
    assert config["badgeBaseUrl"] == "http://binder.test/"
    assert [entry["id"] for entry in config["repoProviders"]] == ["gh", "git", "zenodo"]
    assert ("buildToken" in config) == path.startswith("/v2/")


async def test_the_launch_page_carries_a_token_for_its_repository(app: Starlette) -> None:
    """The token is good for the page's spec, as it is in the URL, and for the site that shows the page."""
    answer = await ask(app, "/v2/git/https%3A%2F%2Fx.test%2Fr/main/?labpath=a.ipynb", PAGE)
    token = re.search(r'"buildToken":"([^"]+)"', answer.text)
    assert token is not None
    BuildTokens(SECRET).check(token[1], "git", "https%3A%2F%2Fx.test%2Fr/main", "binder.test", NOW)
    claims = jwt.decode(token[1], options={"verify_signature": False})
    assert claims["aud"] == "git/https%3A%2F%2Fx.test%2Fr/main"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/v2/nosuch/a/b", 404, "nosuch"),
        ("/v2/gh/only-one", 400, "user/repo/ref"),
        ("/v2/gh/", 400, "names no repository"),
        ("/nothing/here", 404, "/nothing/here"),
        ("/static/nosuch.css", 404, "/static/nosuch.css"),
        ("/repo/only", 404, "/repo/only"),
        ("/%3Cscript%3Ealert(1)%3C/script%3E", 404, "/%3Cscript"),
    ],
)
async def test_a_problem_is_a_helpful_page(app: Starlette, path: str, status: int, says: str) -> None:
    """People get a page that says what is wrong, programs the same as JSON."""
    page = await ask(app, path, PAGE)
    assert page.status == status
    assert says in page.text
    assert "<script>alert" not in page.text
    data = await ask(app, path)
    assert data.status == status
    assert says in data.json()["message"]
    assert data.json()["hint"]


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/repo/u/r", "/v2/gh/u/r/master"),
        ("/repo/u/r/", "/v2/gh/u/r/master"),
        ("/repo/u/r/notebooks/index.ipynb", "/v2/gh/u/r/master?urlpath=%2Fnotebooks%2Findex.ipynb"),
    ],
)
async def test_links_of_the_first_binder(app: Starlette, path: str, location: str) -> None:
    """They lead to the launch page."""
    answer = await ask(app, path)
    assert (answer.status, answer.headers["location"]) == (302, "http://binder.test" + location)


@pytest.mark.parametrize(
    ("path", "kind", "size"),
    [
        ("/badge_logo.svg", "image/svg+xml", 'width="109" height="20"'),
        ("/badge.svg", "image/svg+xml", 'width="92" height="20"'),
        ("/assets/images/badge.svg", "image/svg+xml", 'width="92" height="20"'),
        ("/favicon.svg", "image/svg+xml", "viewBox"),
        ("/favicon.ico", "image/x-icon", ""),
        ("/logo_social.png", "image/png", ""),
    ],
)
async def test_badges_and_icons(app: Starlette, path: str, kind: str, size: str) -> None:
    """Each is there, may be shown by any site, and is not sent again where it has not changed."""
    answer = await ask(app, path)
    assert (answer.status, answer.headers["content-type"]) == (200, kind)
    assert size.encode() in answer.body
    assert answer.headers["access-control-allow-origin"] == "*"
    again = await ask(app, path, {"if-none-match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


async def test_the_social_image_has_its_size(app: Starlette) -> None:
    """Scrapers are told 1334 by 700, and get it from an absolute URL."""
    png = (await ask(app, "/logo_social.png")).body
    assert (int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")) == (1334, 700)
    page = await ask(app, "/v2/gh/a/b/c", PAGE)
    assert '<meta property="og:image" content="http://binder.test/logo_social.png">' in page.text
    assert '<meta property="og:title" content="GitHub: a/b/c">' in page.text


async def test_static_files_are_kept_by_their_version(app: Starlette) -> None:
    """The pages' own links may be kept for a year, others are asked for again."""
    page = await ask(app, "/", PAGE)
    link = re.search(r'href="(/static/app\.css\?v=[^"]+)"', page.text)
    assert link is not None
    assert "immutable" in (await ask(app, link[1])).headers["cache-control"]
    assert (await ask(app, "/static/app.css")).headers["cache-control"] == "no-cache"


async def test_crawlers_are_kept_from_launching(app: Starlette) -> None:
    """Only the home page may be crawled."""
    assert (await ask(app, "/robots.txt")).text == "User-agent: *\nAllow: /$\nDisallow: /\n"
    assert 'content="noindex, nofollow"' in (await ask(app, "/v2/gh/a/b/c", PAGE)).text


async def test_a_spec_cannot_break_out_of_the_page(app: Starlette) -> None:
    """Whatever the link holds is shown as text."""
    path = "/v2/git/%3C%2Fscript%3E%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E/main"
    page = await ask(app, path, PAGE)
    assert "<img src=x" not in page.text
    assert "&lt;/script&gt;" in page.text
    assert unquote(path)[8:] not in page.text
