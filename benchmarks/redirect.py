"""``redirect``: launches a second that one redirector sends on, on one core, beside a bare Tornado handler.

Ours is the whole redirector, probes, cookies, counts and choice included, as ``binderlet federation serve`` runs it.
The reference is the incumbent's framework with nothing in it: one handler that answers the same 307 with the same
headers and chooses nobody. Both answer wrk on the other core with 10,000 different repositories, so that what is
remembered of one helps little; one server runs at a time, in rounds that alternate.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tornado.web

from benchmarks._figure import Figure, say
from support.loopback import Request
from support.members import FakeMember
from support.service import free_port

CONNECTIONS = 64
SECONDS = 5
ROUNDS = 5
REPOSITORIES = 10_000
SERVER_CORE, CLIENT_CORE = "0", "1"
LUA = f"""
counter = 0
request = function()
  counter = (counter * 7919 + 104729) % {REPOSITORIES}
  return wrk.format("GET", "/build/gh/owner/repo" .. counter .. "/HEAD?build_token=x")
end
done = function(summary)
  if summary.errors.status > 0 or summary.errors.read > 0 or summary.errors.connect > 0 then os.exit(1) end
end
"""


class Members(FakeMember):
    """Many members in one server, each below a path of its own."""

    def answer(self, request: Request) -> None:
        """Answer whichever of them is asked."""
        request.path = "/" + request.path.split("/", 2)[-1]
        super().answer(request)


def serve_tornado(port: int, location: str) -> None:
    """Serve the reference."""

    class Handler(tornado.web.RequestHandler):
        def get(self) -> None:
            """Answer as the redirector does."""
            self.set_header("Access-Control-Allow-Origin", "*")
            self.set_header("Access-Control-Allow-Headers", "cache-control")
            self.set_cookie("host", location, path=self.request.path)
            self.redirect(location + str(self.request.uri), status=307)

    async def serve() -> None:
        """Serve until killed."""
        tornado.web.Application([(r"/build/.*", Handler)]).listen(port, "127.0.0.1")
        await asyncio.Event().wait()

    asyncio.run(serve())


def write(folder: Path, members: list[str]) -> Path:
    """Write a federation's file of these addresses."""
    path = folder / f"federation-{len(members)}.toml"
    first = {"prime": "true"}
    tables = []
    for number, url in enumerate(members):
        keys = {"url": f'"{url}"', "weight": str(1 + number % 3), **(first if number == 0 else {})}
        tables.append(f"[members.m{number}]\n" + "\n".join(f"{key} = {value}" for key, value in keys.items()))
    path.write_text("\n\n".join(tables) + "\n")
    return path


@contextmanager
def running(arguments: list[str], port: int) -> Iterator[None]:
    """Run a server on its core until the end of the block."""
    process = subprocess.Popen(["taskset", "-c", SERVER_CORE, sys.executable, *arguments], stderr=subprocess.DEVNULL)
    try:
        await_answer(port)
        yield
    finally:
        process.kill()
        process.wait()


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:  # noqa: ANN401 - the base class's
        """Follow nothing."""


def await_answer(port: int) -> None:
    """Wait until launches are answered."""
    opener = urllib.request.build_opener(_Stay)
    for _ in range(600):
        try:
            opener.open(f"http://127.0.0.1:{port}/build/gh/o/r/HEAD", timeout=5)
        except urllib.error.HTTPError as error:
            if error.code == 307:
                return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"nothing answers on {port}")


def wrk(port: int, script: Path) -> float:
    """Ask for launches; gives requests a second, all answered with redirects."""
    command = ["taskset", "-c", CLIENT_CORE, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", str(script)]
    words = subprocess.run([*command, f"http://127.0.0.1:{port}"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", words)
    assert found, words
    assert "Non-2xx" not in words, words
    return float(found[1])


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name, Members("m") as member:
        folder = Path(name)
        script = folder / "launches.lua"
        script.write_text(LUA)
        files = {count: write(folder, addresses(member.base, count)) for count in (3, 100)}
        rates: dict[str, list[float]] = {"3": [], "100": [], "tornado": []}
        for number in range(ROUNDS):
            for kind, found in rates.items():
                port = free_port()
                with running(arguments(kind, port, files), port):
                    found.append(wrk(port, script))
                say(f"round {number + 1}: {kind} {found[-1]:.0f}/s")
    ours, reference = statistics.median(rates["3"]), statistics.median(rates["tornado"])
    hundred = statistics.median(rates["100"])
    detail = {
        "members": 3,
        "with 100 members": round(hundred),
        "ratio with 100 members": round(hundred / reference, 2),
        "connections": CONNECTIONS,
        "repositories": REPOSITORIES,
        "rounds": {kind: [round(rate) for rate in found] for kind, found in rates.items()},
    }
    Figure("redirect", ours, reference, "requests/s", ROUNDS, detail).print()


def addresses(base: str, count: int) -> list[str]:
    """Give that many members that are one server."""
    return [f"{base}/m{number}" for number in range(count)]


def arguments(kind: str, port: int, files: dict[int, Path]) -> list[str]:
    """Give the server's command line."""
    if kind == "tornado":
        return ["-m", "benchmarks.redirect", "serve", str(port)]
    return ["-m", "binderlet.cli", "federation", "serve", "--file", str(files[int(kind)]), "--port", str(port)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve_tornado(int(sys.argv[2]), "https://member.example.org")
    else:
        main()
