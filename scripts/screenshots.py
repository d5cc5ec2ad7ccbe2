#!/usr/bin/env python3
"""Takes the pictures of the documentation: a real service, a real launch and a real notebook, in Chromium.

``scripts/screenshots`` runs it with what it needs. The pictures are ``home.png``, ``launch.png`` and ``lab.png``, and
``binderlet.png``, which shows them together.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from uuid import uuid4

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page, sync_playwright

from support.gitserver import GitServer, Repository
from support.service import LiveService, remove_images

HOST = "binder.example.org"
SIZE = (1120, 740)
BUILDING = (
    "document.querySelector('[data-step=build].now') && document.querySelector('#log').innerText.includes('scipy')"
)
REPOSITORY = "ada/lorenz"
PLOT = """\
import numpy as np
import matplotlib.pyplot as plt
from scipy.integrate import odeint

def lorenz(state, t, sigma=10, rho=28, beta=8 / 3):
    x, y, z = state
    return sigma * (y - x), x * (rho - z) - y, x * y - beta * z

path = odeint(lorenz, (1, 1, 1), np.linspace(0, 40, 6000))
plt.figure(figsize=(7, 2.9))
plt.plot(path[:, 0], path[:, 2], color="#b3452c", lw=0.6)
plt.axis("off")
plt.show()"""
TEXT = """\
# The Lorenz attractor
Three equations, no randomness, and yet nobody can say where it will be. Change `rho` and see."""


def notebook() -> str:
    """Give the notebook that is opened."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [
        {"id": "text", "cell_type": "markdown", "metadata": {}, "source": TEXT},
        {"id": "plot", "cell_type": "code", "metadata": {}, "source": PLOT, "outputs": [], "execution_count": None},
    ]
    return json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})


def main(folder: Path) -> None:
    """Take all pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"shots-{uuid4().hex[:8]}"
    root = Path(tempfile.mkdtemp(prefix="bl-"))
    try:
        # An environment never seen before, so that there is a build to show.
        requirements = f"numpy!=0.{int(name[-6:], 16)}\npandas\nscipy\nmatplotlib\n"
        files = {"requirements.txt": requirements, "lorenz.ipynb": notebook(), "README.md": "# Lorenz\n"}
        Repository(root / "git" / REPOSITORY).commit(files)
        service = LiveService(root / "s", name=name)
        with GitServer(root / "git") as forge:
            service.set(
                server__public_url=f"http://{HOST}/",
                builder__image_prefix=f"{name}/i-",
                providers__gh__base_url=forge.base,
            )
            with service, sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=shutil.which("chromium"),
                    args=["--no-sandbox", f"--host-resolver-rules=MAP {HOST} 127.0.0.1:{service.port}"],
                )
                page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
                page.set_default_timeout(60_000)
                visit(page, folder)
                compose(page, folder)
                browser.close()
    finally:
        remove_images(f"{name}/*")
        shutil.rmtree(root)


def visit(page: Page, folder: Path) -> None:
    """Go the visitor's way, from the form to a cell's output, and take a picture at each stop."""
    page.goto(f"http://{HOST}/")
    page.locator("#repo").fill(REPOSITORY)
    page.locator("#path").fill("lorenz.ipynb")
    page.wait_for_timeout(300)
    page.screenshot(path=folder / "home.png")
    page.get_by_role("button", name="Launch").click()
    (folder / "launch.png").write_bytes(last_of_the_launch(page))
    page.wait_for_url("**/user/**")
    page.locator(".jp-Notebook h1").wait_for()
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    page.locator(".jp-OutputArea-output img").wait_for()
    page.mouse.move(5, SIZE[1] - 60)
    page.wait_for_timeout(1500)
    page.screenshot(path=folder / "lab.png")


def last_of_the_launch(page: Page) -> bytes:
    """Give the last picture of the launch page that shows the build, before it leads to the session."""
    picture = b""
    page.wait_for_url("**/v2/**")
    while "/user/" not in page.url:
        try:
            # Not wait_for_function: the page's policy allows no eval.
            taken = page.screenshot() if page.evaluate(BUILDING) else picture
        except PlaywrightError:  # the page changed under our hands
            continue
        picture = taken
        page.wait_for_timeout(20)
    if not picture:
        raise RuntimeError("The build was over before it could be seen.")
    return picture


def compose(page: Page, folder: Path) -> None:
    """Put the three pictures into one."""
    page.set_viewport_size({"width": 1100, "height": 540})
    shots = "".join(f'<img class="{name}" src="{name}.png">' for name in ("home", "launch", "lab"))
    file = folder / "compose.html"
    file.write_text(f"<!doctype html><style>{STYLE}</style>{shots}", encoding="utf-8")
    try:
        page.goto(file.resolve().as_uri())
        page.screenshot(path=folder / "binderlet.png")
    finally:
        file.unlink()


STYLE = """
body { margin: 0; background: #e9e4da; }
img { position: absolute; width: 560px; border-radius: 6px; box-shadow: 0 2px 14px rgb(40 30 20 / 35%); }
.home { left: 24px; top: 24px; }
.launch { left: 270px; top: 84px; }
.lab { left: 516px; top: 144px; }
"""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
