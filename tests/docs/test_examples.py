"""The examples work, and the pages show them as they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from binderlet.api.routes import create_app
from support.fake_book import FakeLaunch
from support.live import served
from support.services import Stage

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "examples" / "launch.py"


def run(stage: Stage, spec: str) -> subprocess.CompletedProcess[str]:
    """Run the example against a service."""
    with served(lambda: create_app(stage.services()), stage) as live:
        command = [sys.executable, str(LAUNCH), live.url, spec]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=15)


def test_launch() -> None:
    """The example prints the steps of a launch, and alone on standard output the link."""
    done = run(Stage(), "gh/owner/repo/HEAD")
    assert done.stdout == "http://binder.test/user/s1/lab?token=t0ken\n"
    assert "Launching server..." in done.stderr
    assert done.returncode == 0


def test_a_launch_that_fails() -> None:
    """A launch that fails ends the example with what the service said."""

    def plan(launch: FakeLaunch) -> None:
        launch.fail("No such branch.", status_code=404)

    stage = Stage()
    stage.book.plan = plan
    done = run(stage, "gh/owner/repo/typo")
    assert (done.stdout, done.returncode) == ("", 1)
    assert "No such branch." in done.stderr


def test_the_page_shows_it() -> None:
    """The how-to page shows the example word for word."""
    page = ROOT / "docs" / "how-to" / "launch-from-a-program.md"
    assert f"```python\n{LAUNCH.read_text(encoding='utf-8')}```" in page.read_text(encoding="utf-8")
