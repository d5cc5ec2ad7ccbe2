"""Runs one redirector: server, probes, the file that may change, and a good end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import structlog
import uvicorn

from binderlet import __version__
from binderlet.errors import AddressInUse, BinderletError
from binderlet.federation.config import Federation, read
from binderlet.federation.health import Health
from binderlet.federation.ledger import Ledger
from binderlet.federation.pages import Pages
from binderlet.federation.protocol import protocol
from binderlet.federation.redirector import Redirector
from binderlet.federation.routes import App
from binderlet.tasks import Tasks

log = structlog.get_logger(__name__)

BACKLOG = 4096
TICK = 1.0
"""Seconds between two looks at the clock, and at the file."""
SAVE_EVERY = 30
"""Ticks between two writes of the budgets' counts."""
KEEP_ALIVE = 75
"""Seconds that a quiet connection stays; longer than load balancers keep theirs, so that they close first."""
PAGES_AT_ONCE = 200
"""Connections to one prime: one that hangs leaves room for the others."""
USER_AGENT = f"binderlet-federation/{__version__}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a redirector listens and keeps its counts."""

    host: str = "127.0.0.1"
    port: int = 8080
    ledger: Path | None = None
    shutdown_timeout: float = 10.0


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to ``serve``."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """Open the port; several processes of one redirector may share it.

    Raises:
        AddressInUse: another program has it, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise AddressInUse(
            f"{host}:{port} cannot be listened on: {error.strerror}.", hint="Choose another --port."
        ) from error
    listener.setblocking(False)
    return listener


def make_server(redirector: Redirector, pages: Pages, shutdown_timeout: float) -> uvicorn.Server:
    """Make the HTTP server, with the short way for launches."""
    config = uvicorn.Config(
        App(redirector, pages),
        loop="none",
        http=protocol(redirector.answer),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, round(shutdown_timeout)),
    )
    return _Server(config)


class FileWatch:
    """Tells when the file is another than before, by its time, size and inode."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mark = self._look()

    def _look(self) -> tuple[int, int, int]:
        try:
            found = self.path.stat()
        except OSError:
            return (0, 0, 0)  # on its way from one to the next
        return (found.st_mtime_ns, found.st_size, found.st_ino)

    def changed(self) -> bool:
        """Look; True once for each change."""
        mark = self._look()
        if mark in {self._mark, (0, 0, 0)}:
            return False
        self._mark = mark
        return True


class Running:
    """A redirector that runs: what ``serve`` gives to tests and to signals."""

    def __init__(self, watch: FileWatch, redirector: Redirector, health: Health, port: int) -> None:
        self.redirector = redirector
        self.port = port
        self.stopping = asyncio.Event()
        self._health = health
        self._watch = watch
        self._asked = False

    def reload_soon(self) -> None:
        """Read the file again at the next tick, changed or not."""
        self._asked = True

    async def reload(self) -> None:
        """Read the file; one that is wrong changes nothing and is said in the log."""
        try:
            federation = await asyncio.to_thread(read, self._watch.path)
        except BinderletError as error:
            log.warning("the federation's file is wrong; the old one stays in force", error=error.message)
            return
        self.redirector.reload(federation)
        self._health.follow(federation)
        log.info("the federation's file was read", members=sorted(federation.members))

    async def run(self) -> None:
        """Look at the clock and the file, again and again."""
        ticks = 0
        while True:
            await asyncio.sleep(TICK)
            ticks += 1
            if await asyncio.to_thread(self._watch.changed) or self._asked:
                self._asked = False
                await self.reload()
            self.redirector.refresh()
            if ticks % SAVE_EVERY == 0:
                await self.save()

    async def save(self) -> None:
        """Write the budgets' counts."""
        await asyncio.to_thread(self.redirector.ledger.save, self.redirector.ledger.body())


@asynccontextmanager
async def running(path: Path, federation: Federation, place: Place) -> AsyncIterator[Running]:
    """Run a redirector while the context lasts; it has asked every member once before it listens.

    Raises:
        AddressInUse: the port is taken.
    """
    listener = listen(place.host, place.port)
    ledger = Ledger(place.ledger, replicas=federation.replicas)
    await asyncio.to_thread(ledger.load)
    redirector = Redirector(federation, ledger=ledger)
    headers = {"User-Agent": USER_AGENT}
    async with (
        aiohttp.ClientSession(
            # No limit: a probe that waits for a connection would look like a member that does not answer.
            connector=aiohttp.TCPConnector(limit=0),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as probes,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, limit_per_host=PAGES_AT_ONCE),
            auto_decompress=False,
            skip_auto_headers={"User-Agent", "Accept-Encoding", "Accept"},
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as pages,
        Tasks("redirector") as tasks,
    ):
        health = Health(redirector, probes)
        server = make_server(redirector, Pages(redirector, pages), place.shutdown_timeout)
        try:
            await health.start()
            watch = await asyncio.to_thread(FileWatch, path)
            now = Running(watch, redirector, health, int(listener.getsockname()[1]))
            tasks.start(now.run(), name="clock and file")
            serving = tasks.start(server.serve(sockets=[listener]), name="server")
            yield now
            server.should_exit = True
            await asyncio.wait({serving})
        finally:
            await health.close()
            listener.close()
            await asyncio.to_thread(ledger.save, ledger.body())


async def serve(path: Path, place: Place, ready: Callable[[Running], None]) -> None:
    """Serve until SIGINT or SIGTERM; SIGHUP reads the file again. Requests under way are answered first.

    Raises:
        ConfigError: the file is wrong.
        AddressInUse: the port is taken.
    """
    federation = await asyncio.to_thread(read, path)
    async with running(path, federation, place) as now:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, now.stopping.set)
        loop.add_signal_handler(signal.SIGHUP, now.reload_soon)
        try:
            ready(now)
            await now.stopping.wait()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.remove_signal_handler(number)
