"""The pages in a real browser: from the form to the session."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from binderlet.api.routes import create_app
from binderlet.api.sse import Streams
from binderlet.model import Phase
from support.browser import chromium
from support.fake_book import nothing
from support.live import Live, served
from support.services import Stage

pytestmark = [pytest.mark.browser, pytest.mark.timeout(60)]

CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!(own || node.value) || !node.checkVisibility() || node.disabled) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(node.outerHTML.slice(0, 80));
  }
  return poor;
}"""
UNNAMED = """() => [...document.querySelectorAll("input, select, textarea, button, a[href], img")].filter((node) => {
  if (!node.checkVisibility()) return false;
  if (node.tagName === "IMG") return !node.hasAttribute("alt");
  return !(node.labels?.length || node.getAttribute("aria-label") || node.textContent.trim());
}).map((node) => node.outerHTML)"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests of this file."""
    with chromium() as found:
        yield found


@pytest.fixture
def live() -> Iterator[Live]:
    """A service whose launches do what the test says."""
    stage = Stage()
    stage.book.plan = nothing
    with served(lambda: create_app(stage.services()), stage) as site:
        yield site


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A fresh browser profile that may use the clipboard; foreign addresses fail at once."""
    fresh = browser.new_context(
        viewport={"width": 1200, "height": 850}, permissions=["clipboard-read", "clipboard-write"]
    )
    fresh.set_default_timeout(8000)
    yield fresh
    fresh.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A tab; an error in a script or against the policy fails the test."""
    errors: list[str] = []
    tab = context.new_page()
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("console", lambda line: errors.append(line.text) if "Content Security" in line.text else None)
    yield tab
    assert errors == []


def streams(live: Live) -> Streams:
    """Give the open event streams."""
    found: Streams = live.app.state.streams
    return found


def follow(page: Page, live: Live, query: str = "") -> None:
    """Open a launch page and wait until its launch was asked for."""
    page.goto(f"{live.url}/v2/gh/owner/repo/HEAD{query}")
    live.launch(1)


def test_the_form_makes_links_and_badges(page: Page, live: Live) -> None:
    """A pasted file address fills in repository, ref and file; link and badges follow, and are copied."""
    page.goto(live.url)
    page.get_by_label("GitHub repository name or URL").fill("https://github.com/o/r/blob/dev/nb/a%20b.ipynb")
    expect(page.get_by_label("Branch, tag or commit")).to_have_value("dev")
    expect(page.get_by_label("File to open")).to_have_value("nb/a b.ipynb")
    link = f"{live.url}/v2/gh/o/r/dev?labpath=nb%2Fa%20b.ipynb"
    expect(page.get_by_label("Link", exact=True)).to_have_value(link)
    badge = f"[![Binder]({live.url}/badge_logo.svg)]({link})"
    expect(page.get_by_label("Markdown badge", exact=True)).to_have_value(badge)
    page.get_by_role("button", name="Copy Markdown badge").click()
    expect(page.locator("#copied")).to_have_text("Copied the Markdown badge.")
    assert page.evaluate("navigator.clipboard.readText()") == badge


def test_copying_works_without_https(page: Page, live: Live) -> None:
    """Where the browser hides its clipboard from plain pages, the older way is used and focus stays."""
    page.add_init_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.goto(live.url)
    page.locator("#repo").fill("owner/repo")
    page.get_by_role("button", name="Copy Link").click()
    expect(page.locator("#copied")).to_have_text("Copied the Link.")
    expect(page.get_by_role("button", name="Copy Link")).to_be_focused()
    page.locator("#path").focus()
    page.keyboard.press("Control+V")
    expect(page.locator("#path")).to_have_value(f"{live.url}/v2/gh/owner/repo/HEAD")


def test_the_form_by_keyboard_alone(page: Page, live: Live) -> None:
    """Tab and Enter are enough: the first stop skips to the content, an empty form says what is missing."""
    page.goto(live.url)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.locator("#repo").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Which repository?")
    expect(page.locator("#repo")).to_be_focused()
    page.keyboard.type("owner/repo")
    page.keyboard.press("Enter")
    page.wait_for_url("**/v2/gh/owner/repo/HEAD")
    assert live.launch(1).request.build_token


def test_other_providers_have_other_forms(page: Page, live: Live) -> None:
    """A git URL chooses that provider by itself and is encoded whole; a DOI has no ref."""
    page.goto(live.url)
    page.locator("#repo").fill("https://git.example.org/a/r.git")
    expect(page.locator("#provider")).to_have_value("git")
    link = page.get_by_label("Link", exact=True)
    expect(link).to_have_value(f"{live.url}/v2/git/https%3A%2F%2Fgit.example.org%2Fa%2Fr.git/HEAD")
    page.locator("#provider").select_option("zenodo")
    page.locator("#repo").fill("10.5281/zenodo.3242074")
    expect(page.get_by_label("Branch, tag or commit")).to_be_disabled()
    expect(link).to_have_value(f"{live.url}/v2/zenodo/10.5281/zenodo.3242074/")


def test_a_launch_from_its_page_to_the_session(page: Page, live: Live) -> None:
    """Steps and log follow the events; on ready the browser goes to the session with path and token."""
    follow(page, live, "?labpath=/notebooks/a%20b.ipynb")
    launch = live.launch(1)
    live.do(lambda: launch.say(Phase.WAITING, "Number 2 in the queue...\n", queue_position=2))
    expect(page.locator("#say")).to_have_text("Number 2 in the queue…")
    live.do(lambda: launch.say(Phase.BUILDING, "\x1b[32mgreen\x1b[0m plain\n10%\r100%\n"))
    expect(page.locator("#say")).to_have_text("Building the environment…")
    expect(page.locator("[aria-current=step]")).to_contain_text("Build")
    log = page.get_by_role("log")
    expect(log.locator(".fg2")).to_have_text("green")
    expect(log.locator("div").nth(2)).to_have_text("100%")
    live.do(lambda: launch.ready(f"{live.url}/user/s1/"))
    page.wait_for_url(f"{live.url}/user/s1/lab/tree/notebooks/a%20b.ipynb?token=t0ken")


def test_a_failure_shows_its_reason_and_can_be_tried_again(page: Page, live: Live) -> None:
    """The reason, what to do and the log stay; the retry is a new launch."""
    follow(page, live)
    first = live.launch(1)
    live.do(lambda: first.say(Phase.BUILDING, "No matching distribution\n"))
    live.do(lambda: first.fail("The build failed.\nMend it.", code="build_failed", hint="Mend it.", status_code=500))
    expect(page.get_by_role("alert")).to_contain_text("The build failed.")
    expect(page.locator("#hint")).to_have_text("Mend it.")
    expect(page.locator("#reason")).to_have_text("The build failed.")
    expect(page.get_by_role("log")).to_contain_text("No matching distribution")
    assert page.evaluate(CONTRAST) == []
    retry = page.get_by_role("button", name="Try again")
    expect(retry).to_be_focused()
    page.keyboard.press("Enter")
    live.launch(2)
    expect(page.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_named_and_legible(browser: Browser, live: Live, scheme: str) -> None:
    """In both colour schemes every control has a name and every text a contrast of 4.5, and headings start at one."""
    context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light")
    tab = context.new_page()
    for path in ("/", "/about", "/status", "/nothing", "/v2/gh/owner/repo/HEAD"):
        tab.goto(live.url + path)
        if path == "/status":
            expect(tab.locator("#verdict")).to_have_text("Everything is well.")
        assert tab.evaluate(CONTRAST) == [], path
        assert tab.evaluate(UNNAMED) == [], path
        assert tab.locator("h1").count() == 1, path
        assert tab.locator("html").get_attribute("lang") == "en"
    context.close()


def test_pages_fit_a_phone(browser: Browser, live: Live) -> None:
    """At 360 pixels nothing is cut off or scrolls sideways, and what is tapped is large enough."""
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    tab = context.new_page()
    for path in ("/", "/about", "/status", "/nothing", "/v2/gh/" + "long-name/" * 6 + "HEAD"):
        tab.goto(live.url + path)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360, path
        for box in tab.locator("button:visible, input:visible, select:visible, nav a").all():
            size = box.bounding_box()
            assert size is not None
            assert size["height"] >= 35, path
    context.close()


def test_the_status_page_keeps_itself_fresh(page: Page, live: Live) -> None:
    """Numbers and checks are shown, and change without a reload."""
    page.clock.install()
    page.goto(f"{live.url}/status")
    expect(page.locator("#sessions")).to_have_text("3")
    expect(page.get_by_role("meter")).to_have_attribute("aria-valuenow", "8")
    expect(page.locator("#checks")).to_contain_text("HAProxy")
    live.stage.status = replace(live.stage.status, sessions=7, draining=True)
    page.clock.run_for(6000)
    expect(page.locator("#sessions")).to_have_text("7")
    expect(page.locator("#verdict")).to_have_text("The service is stopping.")


def test_the_status_page_shows_reservations(page: Page, live: Live) -> None:
    """What is reserved, for when, and how it stands; nothing where nothing is."""
    page.goto(f"{live.url}/status")
    expect(page.locator("#standbys")).to_have_text("0")
    expect(page.locator("#reserved")).to_be_hidden()
    body = page.request.get(f"{live.url}/api/status").json()
    kept = {"count": 60, "spec": "owner/repo/HEAD", "from": 1e9, "to": 1e9 + 60, "ready": 12, "launched": 3}
    body["reservations"] = [kept | {"problem": ""}, kept | {"spec": "https%3A%2F%2Fgit.test%2Fr/x", "problem": "gone"}]
    page.route("**/api/status", lambda route: route.fulfill(json=body))
    page.reload()
    expect(page.locator("#reservations li").first).to_contain_text("60 of owner/repo/HEAD")
    expect(page.locator("#reservations li").first).to_contain_text("12 ready, 3 launched")
    expect(page.locator("#reservations li.bad")).to_contain_text("60 of https://git.test/r/x")


LINKS = [
    ("", "http://h/user/x/?token=t"),
    ("labpath=a/b.ipynb&urlpath=ignored", "http://h/user/x/lab/tree/a/b.ipynb?token=t"),
    ("filepath=/a%23b.ipynb/&urlpath=ignored", "http://h/user/x/tree/a%23b.ipynb?token=t"),
    ("urlpath=/lab%3Freset", "http://h/user/x/lab?reset=&token=t"),
    ("urlpath=%2F%2Fevil.test%2F", "http://h/user/x/evil.test/?token=t"),
    ("urlpath=https%3A%2F%2Fevil.test%2F", "http://h/user/x/?token=t"),
    ("urlpath=javascript%3Aalert(1)", "http://h/user/x/?token=t"),
    ("urlpath=..%2Fother%2F", "http://h/user/x/?token=t"),
    ("urlpath=%5C%5Cevil.test%2F", "http://h/user/x/evil.test/?token=t"),
    ("labpath=..%2F..%2F..%2Fother%2F", "http://h/user/x/?token=t"),
]


def test_the_session_token_goes_nowhere_else(page: Page, live: Live) -> None:
    """Every way to name a path ends inside the session, and paths keep their own query."""
    page.goto(live.url)
    script = """async (cases) => {
      const { sessionUrl } = await import("/static/links.js");
      return cases.map((query) => sessionUrl("http://h/user/x/", "t", new URLSearchParams(query)));
    }"""
    assert page.evaluate(script, [query for query, _ in LINKS]) == [url for _, url in LINKS]


TERMINAL = [
    (["a\r\nb\n"], "a\nb\n"),
    (["12345\rab\n"], "ab345\n"),
    (["downloading\r\x1b[Kdone\n"], "done\n"),
    (["x\x1b[2Ky\n"], " y\n"),
    (["abc\x1b[1K\rx\n"], "x\n"),
    (["\x1b[1;3", "1mred\x1b[", "0m\n"], "red\n"),
    (["\x1b]0;title\x07text\x1b(B\n"], "text\n"),
    (["ab\bc\tü😀\x00\n"], "ac    ü😀\n"),
    (["<b>&amp;</b>\n"], "<b>&amp;</b>\n"),
]


def test_the_log_reads_what_build_tools_write(page: Page, live: Live) -> None:
    """Carriage returns, erasing, colours and cut-off sequences come out as in a terminal; markup stays text."""
    page.goto(live.url)
    script = """async (cases) => {
      const { Terminal } = await import("/static/terminal.js");
      return cases.map((parts) => {
        const terminal = new Terminal(document.createElement("div"));
        parts.forEach((part) => terminal.write(part));
        return terminal.content();
      });
    }"""
    assert page.evaluate(script, [parts for parts, _ in TERMINAL]) == [text for _, text in TERMINAL]


STYLES = [
    ("", "1;31", "bold fg1"),
    ("bold fg1", "22;39", ""),
    ("", "38;5;196;48;5;4", "bg4 fg9"),
    ("", "38;2;1;2;3;4", "underline"),
    ("", "94;103", "bg11 fg12"),
    ("fg1 underline italic dim", "23;24", "dim fg1"),
    ("bg1 bold", "49;0;3", "italic"),
    ("", "38;5;250;48;5;16", "bg0 fg15"),
]


def test_colours(page: Page, live: Live) -> None:
    """Colours add up, are taken back, and the many are mapped to sixteen legible ones."""
    page.goto(live.url)
    script = """async (cases) => {
      const { sgr } = await import("/static/terminal.js");
      return cases.map(([style, codes]) => sgr(style, codes));
    }"""
    assert page.evaluate(script, [list(case[:2]) for case in STYLES]) == [case[2] for case in STYLES]


def test_a_long_log_stays_light(page: Page, live: Live) -> None:
    """Of a flood of lines the last 5,000 are kept, and the view stays at its end."""
    follow(page, live)
    launch = live.launch(1)
    live.do(lambda: launch.flood(7000))
    log = page.get_by_role("log")
    expect(log.locator("div").last).to_have_text("line 6999")
    assert log.locator("div").count() == 5000
    assert page.evaluate("(e => e.scrollHeight - e.scrollTop - e.clientHeight < 40)(document.getElementById('log'))")


def test_a_lost_connection_is_taken_up_again(page: Page, live: Live) -> None:
    """When the stream breaks off the browser comes back to the same launch and shows each line once."""
    follow(page, live)
    launch = live.launch(1)
    live.do(lambda: launch.say(Phase.BUILDING, "before\n"))
    expect(page.get_by_role("log")).to_contain_text("before")
    live.do(lambda: [pump.cancel() for pump in streams(live)._open])
    expect(page.locator("#say")).to_have_text(re.compile("Trying again"))
    live.do(lambda: launch.say(Phase.BUILDING, "after\n"))
    expect(page.get_by_role("log")).to_contain_text("after")
    assert page.get_by_role("log").inner_text().split() == ["before", "after"]
    assert len(live.stage.book.opened) == 1
