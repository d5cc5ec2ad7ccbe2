"""Records what the data path and the kernel count for one session while a real Chromium has JupyterLab open.

Run as ``PYTHONPATH=tests:. python -m benchmarks._record_traffic FOLDER``; ``tests/sessions/test_activity.py``
judges the traces in ``tests/sessions/traces`` by the rule.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks._crowd import Crowd, crowd
from benchmarks._figure import say
from binderlet.clients.cgroups import Cgroups

PACE = 200 * 1024
"""Bytes per second of a slow line."""
EVERY = 5.0
SECONDS = 41.0
"""A ping at least, whenever it comes."""


def record(made: Crowd, name: str, folder: Path, act: Callable[[], None] = lambda: None) -> None:
    """Write one trace: rows of seconds, open WebSockets, requests, bytes in, bytes out, CPU seconds."""
    groups, rows, began = Cgroups(), [], time.monotonic()
    (container,) = made.containers()
    until = began + SECONDS
    due = began
    while time.monotonic() < until:
        act()
        if time.monotonic() >= due:
            due += EVERY
            traffic = made.service.sessions()[0]["traffic"]
            counters = [traffic[key] for key in ("websockets", "requests", "bytes_in", "bytes_out")]
            cpu = groups.read([container])[container].cpu
            rows.append([round(time.monotonic() - began, 1), *counters, round(cpu, 3)])
        time.sleep(0.2)
    say(f"{name}: {rows[0]} to {rows[-1]}")
    lines = ",\n".join(json.dumps(row) for row in rows)
    (folder / f"{name}.json").write_text(f"[\n{lines}\n]\n")


def open_lab(page: Page, made: Crowd) -> None:
    """Open the notebook of the session and wait for its kernel."""
    event = made.events[0]
    page.goto(f"{event['url']}lab/tree/index.ipynb?token={event['token']}")
    page.wait_for_selector(".jp-Notebook", timeout=60_000)
    page.wait_for_timeout(8000)
    while page.locator(".jp-Dialog .jp-mod-accept").count():
        page.locator(".jp-Dialog .jp-mod-accept").last.click()  # which kernel, and what a first visit asks
        page.wait_for_timeout(2000)
    page.wait_for_timeout(10_000)


def write(page: Page, code: str) -> None:
    """Write into a new cell."""
    page.locator(".jp-Notebook .jp-Cell").first.click()
    for key in ("Escape", "b", "Enter"):
        page.keyboard.press(key)
        page.wait_for_timeout(300)
    page.keyboard.type(code)


def cell(page: Page, code: str) -> None:
    """Write a cell and run it."""
    write(page, code)
    page.keyboard.press("Control+Enter")
    page.wait_for_timeout(3000)


def compute(page: Page, seconds: int) -> None:
    """Make a large file, and begin a cell that computes for so long."""
    cell(page, "open('large.bin', 'wb').write(bytes(64 * 1024**2))")
    cell(page, f"import time; end = time.time() + {seconds}\nwhile time.time() < end: pass")


def slow_download(page: Page, made: Crowd) -> None:
    """Fetch a large file of the session at a modem's pace, in a page that shows nothing else."""
    event = made.events[0]
    page.goto(f"{made.service.url}about")
    network = page.context.new_cdp_session(page)
    pace = {"offline": False, "latency": 50, "downloadThroughput": PACE, "uploadThroughput": PACE}
    network.send("Network.emulateNetworkConditions", pace)
    file = f"{event['url']}files/large.bin?token={event['token']}"
    page.evaluate(f"void fetch('{file}').then((answer) => answer.arrayBuffer())")


def main(folder: Path) -> None:
    """Record every trace."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        crowd(1, hibernate__enabled=False, cull__every="1s") as made,
        sync_playwright() as playwright,
    ):
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = chromium.new_page()
        open_lab(page, made)
        record(made, "idle_tab", folder)
        cell(page, "x = 1")
        write(page, "# ")
        record(made, "typing", folder, lambda: page.keyboard.type("# words ", delay=100))
        compute(page, 70)
        page.close()
        record(made, "cell_tab_closed", folder)
        time.sleep(30)
        record(made, "nobody", folder)
        page = chromium.new_page()
        slow_download(page, made)
        record(made, "download", folder, lambda: page.wait_for_timeout(100))
        chromium.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
