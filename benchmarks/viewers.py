"""``viewers``: requests per second when 200 ask at once for a launch of a built image.

Everything is real but the session, which is ready at once: HTTP server, event streams, the look-up of the branch by
git (with its short cache), admission, history, archive and metrics. wrk asks, on the same machine, without HAProxy
in between.
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
from dataclasses import replace
from pathlib import Path

import psutil
import uvicorn
import uvloop

from benchmarks._figure import Figure, say
from binderlet.api.ports import Services
from binderlet.api.routes import create_app
from binderlet.app.machinery import fake_machinery
from binderlet.app.operations import Operations
from binderlet.app.service import Service
from binderlet.clients.memory import Hardware
from binderlet.config import Settings
from binderlet.config.network import NetworkEnvironment
from binderlet.config.schema import PathSettings
from binderlet.images.fake import FakeImages
from binderlet.launch.book import LaunchBook
from binderlet.launch.places import Places
from binderlet.launch.runner import Parts
from binderlet.model import Image, Session, SessionState
from binderlet.pages.views import Pages
from binderlet.sessions.ids import new_session_id, new_token
from binderlet.sessions.order import SessionOrder
from support.service import free_port, git_spec, repository

CONNECTIONS = 200
SECONDS = 6
ROUNDS = 5


class EveryImage(FakeImages):
    """Has every image."""

    async def find(self, name: str) -> Image | None:
        """Find it."""
        return Image(name, "sha256:0")


class ReadySessions:
    """Sessions that are ready at once and give their place back."""

    def __init__(self, places: Places) -> None:
        self._places = places

    async def start(self, order: SessionOrder) -> Session:
        """Give a session that runs."""
        return Session(
            id=new_session_id(order.commit.repo_url),
            token=new_token(),
            image=order.image,
            launch_id=order.launch_id,
            provider=order.spec.provider,
            spec=order.spec.spec,
            repo_url=order.commit.repo_url,
            created_at=time.time(),
            state=SessionState.RUNNING,
            address="127.0.0.1:9",
        )

    async def wait_ready(self, session: Session) -> None:
        """Return: it is."""

    async def route(self, session: Session) -> None:
        """Nobody will come."""
        self._places.release(session.launch_id)

    async def stop(self, session_id: str, reason: str) -> None:
        """Return: it never ran."""


async def serve(port: int, state: Path) -> None:
    """Serve the HTTP side."""
    settings = Settings(paths=PathSettings(state=state))
    machinery = replace(await fake_machinery(), images=EveryImage())  # the same as `engine.kind = "fake"`
    service = Service(settings, machinery, NetworkEnvironment(), state, Hardware(24 * 1024**3, 2))
    await service.record.keep(service.bus, service.tasks)
    sessions = ReadySessions(service.places)
    parts = Parts(service.providers, machinery.images, service.builds, service.places, sessions, service.bus, settings)
    services = Services(
        settings=settings,
        book=LaunchBook(parts, service.tasks),
        providers=service.providers,
        operations=Operations(service.view, service.sessions, service.keeper, service.stopping.set),
        pages=await asyncio.to_thread(Pages, settings, [each.display for each in service.providers.values()]),
        build_token_secret="00",
        status=service.view.status,
        metrics=service.record.render,
        build_log=service.builds.log_path,
    )
    config = uvicorn.Config(
        create_app(services),
        port=port,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        backlog=2048,
    )
    await uvicorn.Server(config).serve()


def await_answer(url: str) -> None:
    """Wait until the server answers."""
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(url)


def wrk(url: str) -> tuple[float, str]:
    """Ask with 200 connections; gives requests per second, and wrk's own words."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", "-H", "Accept: text/event-stream", url]
    words = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", words)
    assert found is not None, words
    assert "Non-2xx" not in words, words
    return float(found[1]), words


def latency(words: str, percent: str) -> str:
    """Give one percentile of wrk's report."""
    found = re.search(rf"{percent}\s+(\S+)", words)
    return found[1] if found else ""


def main() -> None:
    """Measure and print."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bb-") as folder, repository(Path(folder), {"a": "1"}) as (_, url):
        state = Path(folder) / "state"
        state.mkdir()
        server = subprocess.Popen([sys.executable, "-m", "benchmarks.viewers", "serve", str(port), str(state)])
        try:
            base = f"http://127.0.0.1:{port}"
            await_answer(f"{base}/versions")
            target = f"{base}/build/{git_spec(url, 'main')}"
            check_story(target)
            rates, words = [], ""
            for number in range(ROUNDS):
                rate, words = wrk(target)
                rates.append(rate)
                say(f"{number + 1}/{ROUNDS}: {rate:.0f} requests/s")
            memory = psutil.Process(server.pid).memory_full_info().pss / 1024**2
        finally:
            server.terminate()
            server.wait()
    detail = {
        "connections": CONNECTIONS,
        "p50": latency(words, "50%"),
        "p99": latency(words, "99%"),
        "rounds": [round(rate) for rate in rates],
        "memory_mb": round(memory, 1),
    }
    Figure("viewers", statistics.median(rates), None, "requests/s", ROUNDS, detail).print()


def check_story(target: str) -> None:
    """Make sure that what is counted are whole launches."""
    request = urllib.request.Request(target, headers={"Accept": "text/event-stream"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        story = answer.read().decode()
    assert all(f'"phase":"{phase}"' in story for phase in ("built", "launching", "ready")), story


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        uvloop.run(serve(int(sys.argv[2]), Path(sys.argv[3])))
    else:
        main()
