"""A visitor's whole way in a real browser: form, launch page, JupyterLab, a cell, and the end of the session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from support.browser import chromium
from support.gitserver import Program
from support.service import Forge, LiveService, Serve
from support.visit import wait_for

pytestmark = [
    *(pytest.mark.e2e, pytest.mark.docker, pytest.mark.haproxy, pytest.mark.browser),
    pytest.mark.timeout(180),
]

IDLE = 20.0
SLOW = 60_000
"""Milliseconds that JupyterLab may take on a busy machine."""
NOTEBOOK = """{"nbformat": 4, "nbformat_minor": 5,
 "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}},
 "cells": [{"cell_type": "code", "id": "a", "metadata": {}, "source": "print('the answer:', 6 * 7)", "outputs": [],
            "execution_count": null}]}"""


@pytest.fixture(scope="module")
def impatient(serve: Serve) -> Iterator[LiveService]:
    """A service that ends idle sessions after seconds."""
    with serve(cull__idle=IDLE, cull__every=0.5) as service:
        yield service


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the tests of this file."""
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab of a fresh profile."""
    context = browser.new_context(viewport={"width": 1200, "height": 850})
    context.set_default_timeout(SLOW)
    yield context.new_page()
    context.close()


def test_from_the_form_to_a_cell_and_out(page: Page, impatient: LiveService, forge: Forge) -> None:
    """The form leads to the launch page, it shows the build, JupyterLab runs the notebook's cell; unused, all ends."""
    build = Program("#!/bin/bash\nfor step in 1 2 3; do echo step $step; sleep 0.5; done\n")
    _, url = forge.repository({"demo.ipynb": NOTEBOOK, "binder/postBuild": build})

    page.goto(impatient.url)
    page.locator("#repo").fill(url)
    expect(page.locator("#provider")).to_have_value("git")
    page.get_by_label("File to open").fill("demo.ipynb")
    page.get_by_role("button", name="Launch").click()

    expect(page.get_by_role("log")).to_contain_text("step 2", timeout=SLOW)
    page.wait_for_url("**/user/*/lab/**")
    (session,) = impatient.sessions()
    assert f"/user/{session['id']}/" in page.url

    run_the_cell(page)
    expect(page.locator(".jp-OutputArea-output").first).to_contain_text("the answer: 42", timeout=SLOW)

    page.context.close()
    wait_for(lambda: not impatient.sessions(), seconds=IDLE + 30, what="the idle session is ended")
    assert impatient.get(f"user/{session['id']}/lab")[0] == 424


def run_the_cell(page: Page) -> None:
    """Select the notebook's cell and run it as a visitor would, once the kernel is there to take it."""
    expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle", timeout=SLOW)
    cell = page.locator(".jp-Notebook .jp-CodeCell .cm-content").first
    cell.click()
    page.keyboard.press("Shift+Enter")


def test_an_ended_session_says_so(page: Page, impatient: LiveService) -> None:
    """The link of a session that is gone shows what happened, and the way to a new one."""
    answer = page.goto(f"{impatient.url}user/long-gone-0123456789ab/lab")
    assert answer is not None
    assert answer.status == 424
    expect(page.get_by_role("heading", level=1)).to_be_visible()
