"""An open JupyterLab says when its session ends, and why it did; what its visitor does there counts as use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from support.service import Event
from support.site import Site, site, until

pytestmark = [
    *(pytest.mark.e2e, pytest.mark.docker, pytest.mark.haproxy, pytest.mark.browser),
    pytest.mark.timeout(300),  # the first start on a machine makes the base image
]

IDLE = 48
"""Seconds; the warning comes twelve before the end."""
SLOW = 60_000
"""Milliseconds that a page may take on a busy machine."""
HELLO = {"README.md": "Hello"}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One service that ends idle sessions soon, and one repository's sooner for their age."""
    settings: dict[str, Any] = {
        "cull__idle": IDLE,
        "cull__every": 0.5,
        "cull__overrides": [{"pattern": "git/.*aged.*", "idle": 3600, "max_age": 60}],
    }
    with site(tmp_path_factory.mktemp("end"), **settings) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the tests of this file."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield chromium
        chromium.close()


def open_tab(browser: Browser, event: Event, path: str) -> Page:
    """Open a page of a session in a fresh profile."""
    page = browser.new_context().new_page()
    page.set_default_timeout(SLOW)
    page.goto(f"{event['url']}{path}?token={event['token']}")
    return page


def test_warned_by_idleness_and_age_and_told_of_the_end(browser: Browser, here: Site) -> None:
    """Both come before the end, in JupyterLab and in Notebook; who says to be there stays, and an end says why."""
    idle = here.service.ready(here.spec("quiet", HELLO))
    lab = open_tab(browser, idle, "lab")
    expect(lab.locator("#jp-main-dock-panel")).to_be_visible()
    aged = here.service.ready(here.spec("aged", HELLO))
    tree = open_tab(browser, aged, "tree")

    warning = lab.locator(".Toastify__toast")
    expect(warning).to_contain_text(re.compile(r"Nobody seems to use this session: it ends at .*\d"), timeout=2 * SLOW)
    warning.get_by_role("button", name="I am still here").click()
    until(lambda: session(here, idle)["idle_seconds"] < IDLE / 4)
    expect(tree.locator(".Toastify__toast")).to_contain_text("as none runs for longer", timeout=SLOW)

    until(lambda: not [one for one in here.service.sessions() if one["url"] == aged["url"]], seconds=90)
    expect(tree.locator(".Toastify__toast")).to_contain_text("it had run for as long as sessions may", timeout=SLOW)
    lab.keyboard.press("Escape")  # a sign of somebody, so that the session is there to be ended
    here.service.admin("DELETE", f"/sessions/{session(here, idle)['id']}")
    expect(warning).to_contain_text("an operator of this service ended it", timeout=2 * SLOW)
    lab.goto(f"{idle['url']}lab")
    expect(lab.locator("#why")).to_have_text("This session has ended: an operator of this service ended it.")
    for page in (lab, tree):
        page.context.close()


def test_typing_is_use(browser: Browser, here: Site) -> None:
    """A key that sends nothing to the session keeps it all the same."""
    event = here.service.ready(here.spec("typing", HELLO))
    page = open_tab(browser, event, "lab")
    expect(page.locator("#jp-main-dock-panel")).to_be_visible()
    page.wait_for_timeout(3000)
    page.keyboard.press("Shift")
    until(lambda: session(here, event)["idle_seconds"] > 2)
    page.wait_for_timeout(30_000)
    before = session(here, event)["idle_seconds"]
    page.keyboard.press("Shift")
    until(lambda: session(here, event)["idle_seconds"] < before)
    page.context.close()


def session(here: Site, event: Event) -> dict[str, Any]:
    """Give a session as the operator sees it."""
    return next(one for one in here.service.sessions() if one["url"] == event["url"])
