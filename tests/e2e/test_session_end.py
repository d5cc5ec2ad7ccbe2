"""An open JupyterLab says when its session ends, and why it did; what its visitor does there counts as use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from support.browser import chromium
from support.service import Event
from support.site import Site, site, until

pytestmark = [
    *(pytest.mark.e2e, pytest.mark.docker, pytest.mark.haproxy, pytest.mark.browser),
    pytest.mark.timeout(300),  # the first start on a machine makes the base image
]

IDLE = 40
"""Seconds; the warning comes ten before the end."""
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
    with chromium() as found:
        yield found


def open_tab(browser: Browser, event: Event, path: str) -> Page:
    """Open a page of a session in a fresh profile."""
    page = browser.new_context().new_page()
    page.set_default_timeout(SLOW)
    page.goto(f"{event['url']}{path}?token={event['token']}")
    return page


def test_warned_by_idleness_and_age_and_told_of_the_end(browser: Browser, here: Site) -> None:
    """In JupyterLab and in Notebook, before the end; who types or says to be there stays; the end says why."""
    idle = here.service.ready(here.spec("quiet", HELLO))
    aged = here.service.ready(here.spec("aged", HELLO))
    tree = open_tab(browser, aged, "tree")
    lab = open_tab(browser, idle, "lab")
    expect(lab.locator("#jp-main-dock-panel")).to_be_visible(timeout=SLOW)
    until(lambda: session(here, idle)["idle_seconds"] > 3)
    lab.keyboard.press("Shift")  # sends nothing by itself
    until(lambda: session(here, idle)["idle_seconds"] < 3)

    warning = lab.locator(".Toastify")
    expect(warning).to_contain_text(re.compile(r"Nobody seems to use this session: it ends at .*\d"), timeout=2 * SLOW)
    warning.get_by_role("button", name="I am still here").click()
    until(lambda: session(here, idle)["idle_seconds"] < IDLE / 4)
    here.service.admin("POST", f"/sessions/{session(here, idle)['id']}/extend?seconds=600")
    expect(tree.locator(".Toastify")).to_contain_text("as none runs for longer", timeout=SLOW)

    until(lambda: len(here.service.sessions()) == 1, seconds=90)
    expect(tree.locator(".Toastify")).to_contain_text("it had run for as long as sessions may", timeout=SLOW)
    here.service.admin("DELETE", f"/sessions/{session(here, idle)['id']}")
    expect(warning).to_contain_text("an operator of this service ended it", timeout=2 * SLOW)
    lab.goto(f"{idle['url']}lab")
    expect(lab.locator("#why")).to_have_text("This session has ended: an operator of this service ended it.")
    for page in (lab, tree):
        page.context.close()


def session(here: Site, event: Event) -> dict[str, Any]:
    """Give a session as the operator sees it."""
    return next(one for one in here.service.sessions() if one["id"] == event["url"].split("/")[-2])
