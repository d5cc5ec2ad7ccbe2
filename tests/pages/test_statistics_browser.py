"""The pages of statistics in a real browser: plots are drawn, and say the same as their tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from binderlet.api.routes import create_app
from binderlet.dashboard.own import SLOTS, bucket
from binderlet.dashboard.store import StatisticsStore
from binderlet.dashboard.tallies import Tallies, Tally
from support.browser import chromium
from support.live import Live, served
from support.services import NOW, Stage

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]
TODAY = datetime.fromtimestamp(NOW, UTC).toordinal()
UNNAMED = """() => [...document.querySelectorAll("input, button, a[href], summary")].filter((node) =>
  node.checkVisibility() && !(node.labels?.length || node.getAttribute("aria-label") || node.textContent.trim())
).map((node) => node.outerHTML)"""


def fill(store: StatisticsStore) -> None:
    """Thirty days of two members, and what the service did."""
    days: Tallies = {}
    for number in range(30):
        for member, launches in (("old.test", 40), ("new.test", 70 if number > 9 else 0)):
            tally = days[TODAY - 29 + number, member] = Tally(launches)
            tally.minutes[600] = launches
            tally.repositories[f"GitHub/owner/{member}"] = launches
    store.take("s", "f", "1", days)
    body = {
        "outcomes": {"success": 70, "failure": 3},
        "codes": {},
        "latency": {"ready": {bucket(2): 60}, "built": {bucket(90): 10}},
        "sessions": [5] * SLOTS,
        "session_seconds": 3600.0,
        "lengths": {},
    }
    store.put_own({TODAY - number: body for number in range(20)})


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    """A service with statistics."""
    store = StatisticsStore(tmp_path / "statistics.sqlite")
    fill(store)
    stage = Stage()
    with served(lambda: create_app(replace(stage.services(), statistics=store)), stage) as running:
        yield running


@pytest.fixture
def page() -> Iterator[Page]:
    """A page that fails the test when a script of it fails, or its policy forbids something."""
    problems: list[str] = []
    with chromium() as browser:
        page = browser.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        yield page
    assert problems == []


def test_plots_are_drawn(live: Live, page: Page) -> None:
    """Each chart has its plot, and its table when it is opened; everything that can be used has a name."""
    page.goto(f"{live.url}/statistics")
    expect(page.locator("#statistics")).to_have_attribute("data-state", "drawn", timeout=60_000)
    charts = page.locator("figure.chart")
    expect(charts).to_have_count(7)
    for name in ("launches", "share", "hours", "outcomes", "latency", "concurrency"):
        expect(page.locator(f"#{name} canvas")).to_be_visible()
    expect(page.locator("#repositories .bars b").first).to_have_text("1,400")
    launches = page.locator("#launches")
    launches.locator("summary").click()
    expect(launches.locator("details tbody tr")).to_have_count(30)
    expect(launches.locator("li")).to_contain_text("new.test joined")
    assert page.evaluate(UNNAMED) == []
    painted = (
        "() => new Set(document.querySelector('#launches canvas').getContext('2d').getImageData(0,0,600,300).data).size"
    )
    assert page.evaluate(painted) > 20


def test_another_range(live: Live, page: Page) -> None:
    """The form and the links show other days, and the files are of the days that are shown."""
    page.goto(f"{live.url}/statistics")
    first = str(datetime.fromtimestamp(NOW - 5 * 86400, UTC).date())
    page.get_by_label("From").fill(first)
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**/statistics?from=*")
    expect(page.locator("#launches details tbody tr")).to_have_count(6)
    with page.expect_download() as download:
        page.locator("#launches .files a", has_text="CSV").evaluate(
            "(link) => { link.download = 'x.csv'; link.click(); }"
        )
    assert first in download.value.path().read_text()
