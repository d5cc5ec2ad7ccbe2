"""The examples for federations do what they say."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from binderlet.federation.config import CheckRules, Federation, Member, Spread, VersionRules, read
from support.federation_live import wait_until
from support.members import FakeMember
from support.service import COMMAND, free_port

ROOT = Path(__file__).parents[2]
TOML = ROOT / "examples" / "federation.toml"
HAPROXY = ROOT / "examples" / "federation-haproxy.cfg"
GUIDE = ROOT / "docs" / "how-to" / "run-a-federation.md"


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:  # noqa: ANN401 - the base class's
        """Follow nothing."""


def status(port: int) -> int:
    """Ask for a launch; 0 where nothing answers."""
    try:
        urllib.request.build_opener(_Stay).open(f"http://127.0.0.1:{port}/build/gh/o/r/HEAD", timeout=15)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
    return 200


def test_the_file() -> None:
    """The example is right, and the guide names every key that there is."""
    found = read(TOML)
    assert found.primes == ["one", "two"]
    text = GUIDE.read_text(encoding="utf-8") + TOML.read_text(encoding="utf-8")
    for section in (Federation, CheckRules, Spread, VersionRules, Member):
        assert [name for name in section.model_fields if not re.search(rf"\b{name}\b", text)] == [], section.__name__


@pytest.fixture
def redirectors(tmp_path: Path) -> Iterator[list[tuple[int, subprocess.Popen[bytes]]]]:
    """Two redirectors of one member."""
    with ExitStack() as undo:
        member = undo.enter_context(FakeMember("m"))
        file = tmp_path / "federation.toml"
        file.write_text(f'[members.m]\nurl = "{member.base}"\nprime = true\n')
        found = []
        for _ in range(2):
            port = free_port()
            arguments = ["federation", "serve", "--file", str(file), "--port", str(port)]
            process = subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.DEVNULL)
            undo.callback(process.wait)
            undo.callback(process.kill)
            found.append((port, process))
        for port, _ in found:
            wait_until(lambda: status(port) == 307, 60, "a redirector answers")  # noqa: B023 - called at once
        yield found


@pytest.mark.haproxy
@pytest.mark.timeout(120)
def test_two_behind_a_load_balancer(tmp_path: Path, redirectors: list[tuple[int, subprocess.Popen[bytes]]]) -> None:
    """Behind the example's load balancer one of two redirectors is killed in the middle of launches: none is lost."""
    port = free_port()
    text = HAPROXY.read_text(encoding="utf-8")
    text = re.sub(r".*(ssl crt|ssl_fc).*\n", "", text).replace("maxconn 20000", "maxconn 200")
    text = text.replace("bind :80", f"bind 127.0.0.1:{port}")
    for address, (one, _) in zip(("192.0.2.1:8080", "192.0.2.2:8080"), redirectors, strict=True):
        text = text.replace(address, f"127.0.0.1:{one}")
    config = tmp_path / "haproxy.cfg"
    config.write_text(text)
    balancer = subprocess.Popen(["haproxy", "-db", "-f", str(config)], stdout=subprocess.DEVNULL, stderr=sys.stderr)
    try:
        wait_until(lambda: status(port) == 307, 60, "the load balancer answers")
        seen: list[int] = []
        stop = threading.Event()

        def ask() -> None:
            """Ask again and again."""
            while not stop.is_set():
                seen.append(status(port))

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(seen) > 50, 60, "launches come")
        redirectors[0][1].kill()
        before = len(seen)
        wait_until(lambda: len(seen) > before + 200, 60, "launches go on")
        stop.set()
        for thread in threads:
            thread.join()
        assert set(seen) == {307}
    finally:
        balancer.kill()
        balancer.wait()
