"""Records what the data path and the kernel count for one session while a real Chromium has JupyterLab open.

Run as ``PYTHONPATH=tests:. python -m benchmarks._record_traffic FOLDER``; ``tests/sessions/test_activity.py``
judges the traces in ``tests/sessions/traces`` by the rule.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import aiohttp
from playwright.sync_api import Page, sync_playwright

from benchmarks._crowd import Crowd, Kernel, crowd
from benchmarks._figure import say
from binderlet.clients.cgroups import Cgroups

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


def cell(page: Page, code: str) -> None:
    """Write a cell and run it."""
    page.locator(".jp-Notebook").click()
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    page.keyboard.type(code)
    page.keyboard.press("Shift+Enter")


async def compute(made: Crowd, seconds: int) -> None:
    """Make a large file, begin a cell that computes, and leave it alone, as a closed tab does."""
    async with aiohttp.ClientSession() as client:
        kernel = Kernel(client, made.events[0])
        await kernel.start()
        await kernel.execute("open('large.bin', 'wb').write(bytes(64 * 1024**2))")
        loop = f"import threading, time\nend = time.time() + {seconds}\ndef work():\n  while time.time() < end: pass"
        await kernel.execute(f"{loop}\nthreading.Thread(target=work).start()")
        await kernel.close()


def slow_download(made: Crowd, stop: threading.Event) -> None:
    """Fetch a large file of the session at a modem's pace."""
    event = made.events[0]
    url = f"{event['url']}files/large.bin?token={event['token']}"
    with urllib.request.urlopen(url) as answer:
        while answer.read(65536) and not stop.is_set():
            time.sleep(0.5)


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
        record(made, "typing", folder, lambda: page.keyboard.type("# words ", delay=100))
        page.close()
        asyncio.run(compute(made, 60))
        record(made, "cell_tab_closed", folder)
        time.sleep(6)
        record(made, "nobody", folder)
        stop = threading.Event()
        downloading = threading.Thread(target=slow_download, args=(made, stop))
        downloading.start()
        record(made, "download", folder)
        stop.set()
        downloading.join()
        chromium.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
