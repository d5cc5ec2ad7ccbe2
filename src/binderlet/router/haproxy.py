"""The data path by HAProxy: a process of its own, led by its runtime API, with the routes on disk beside it.

The running HAProxy says in its ``description`` which configuration it has, so that taking over, reloading or starting
is decided by asking it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

import structlog

from binderlet.clients.haproxy import HAProxyClient, HAProxyMaster
from binderlet.config.schema import ServerSettings
from binderlet.errors import AddressInUse, ConfigError, RouterUnavailable
from binderlet.model import Route, Traffic
from binderlet.router import config
from binderlet.router.beside import HAProxyBeside
from binderlet.router.error_pages import ErrorPages, default_pages
from binderlet.router.process import HAProxyProcess, open_file_limit, unprivileged_user
from binderlet.router.route_file import RouteFile, check_route, write_atomically
from binderlet.router.traffic import Tally, traffic_of
from binderlet.router.unit import HAProxyUnit

log = structlog.get_logger(__name__)

SOCKET_PATH_LIMIT = 94
"""Bytes of a unix socket's path: the system takes 107, and HAProxy adds 13 while it makes one."""
SWITCH_TIMEOUT = 10.0
"""Seconds for a new worker to answer after a start or reload."""
POLL = 0.02


class HAProxyRouter:
    """A ``Router``; ``tests/router/test_contract.py`` has its promises.

    ``server`` says where to listen, ``state`` is the folder in which ``run/`` is made, and ``control_socket`` is where
    the control plane answers what is not a session's. ``title`` names the service on the error pages; ``pages`` are
    other pages altogether; with ``tls`` the certificate must be in ``run/`` before ``prepare``. ``others`` are further
    HAProxies with the same sessions, ``proxies`` is what visitors come through before. With ``beside`` somebody else
    runs HAProxy, in a container that shares ``run/``; with ``is_unit`` it is systemd.
    """

    def __init__(
        self,
        server: ServerSettings,
        state: Path,
        control_socket: Path,
        *,
        title: str = "binderlet",
        pages: ErrorPages | None = None,
        tls: config.Tls | None = None,
        others: config.Others | None = None,
        proxies: config.Proxies | None = None,
        beside: bool = False,
        is_unit: bool = False,
    ) -> None:
        self.url_port = server.port
        self._server = server
        self._folder = (state / "run").absolute()
        self._control_socket = control_socket.absolute()
        self._title, self._pages, self._tls, self._others, self._proxies = title, pages, tls, others, proxies
        for path in (self._folder / config.SOCKET, self._control_socket):
            if (excess := len(os.fsencode(path)) - SOCKET_PATH_LIMIT) > 0:
                raise ConfigError(f"paths.state: {path} is {excess} bytes too long for a socket.")
        self._client = HAProxyClient(self._folder / config.SOCKET)
        self._master = HAProxyMaster(self._folder / config.MASTER_SOCKET)
        self._is_unit = is_unit
        process = HAProxyUnit if is_unit else HAProxyBeside if beside else HAProxyProcess
        self._process = process(self._folder, host=server.host, port=server.port)
        self._file = RouteFile(self._folder / config.MAP)
        self._notes = self._folder / config.NOTES
        self._tally = Tally()
        self._lock = asyncio.Lock()
        self._loaded = False

    async def prepare(self) -> None:
        """Start HAProxy, take over the running one, or reload it when its configuration has changed."""
        async with self._lock:
            wanted = config.fingerprint_of(await asyncio.to_thread(self.write_files))
            running = await self._running()
            await self._know_routes(running=running is not None)
            if running == wanted:
                return
            await self._process.check()
            if running is not None:
                await self._reload(wanted)
            elif await self._process.retire():
                log.warning("HAProxy's socket is gone: a new one takes over, the old one keeps its open connections")
                await self._start(wanted, patience=SWITCH_TIMEOUT)
            else:
                await self._start(wanted)

    async def add(self, route: Route) -> None:
        """Set the route in HAProxy, then on disk."""
        check_route(route.session_id, route.address)
        async with self._lock:
            await self._client.put(config.MAP, route.session_id, route.address)
            self._file.put(route.session_id, route.address)
        await self._file.save()

    async def remove(self, session_id: str) -> None:
        """Forget the route in HAProxy and, whether or not that answers, on disk."""
        async with self._lock:
            self._file.drop(session_id)
            self._tally.forget(session_id)
            try:
                await self._client.delete(config.MAP, session_id)
                for table in ("act", "ws"):
                    await self._client.clear(table, session_id)
            finally:
                await self._file.save()

    async def routes(self) -> Mapping[str, str]:
        """Give HAProxy's own table."""
        return await self._client.map_entries(config.MAP)

    async def traffic(self) -> Mapping[str, Traffic]:
        """Add up the tables of every worker, those with WebSockets from before a reload too."""
        # Not while a reload goes on: the master answers nobody for a moment.
        async with self._lock:
            _, workers = await self._master.processes()
            looks = {}
            for pid in workers:
                act = await self._master.worker_table(pid, "act")
                looks[pid] = traffic_of(act, await self._master.worker_table(pid, "ws"))
            return self._tally.count(looks)

    async def set_certificate(self, pem: bytes) -> None:
        """Use another certificate for new connections; ``CERTIFICATE`` must hold it already, for the next start.

        Raises:
            RouterUnavailable: HAProxy is away, or does not take it.
        """
        async with self._lock:
            await self._client.set_certificate(config.CERTIFICATE, pem)

    async def note(self, key: str, value: str) -> None:
        """Have HAProxy look up ``key`` as ``value``, also after its next start; an empty value takes the key away.

        Raises:
            RouterUnavailable: it does not answer on its socket.
        """
        async with self._lock:
            if value:
                await self._client.put(config.NOTES, key, value)
            else:
                await self._client.delete(config.NOTES, key)
            entries = await self._client.map_entries(config.NOTES)
            text = "".join(f"{name} {entry}\n" for name, entry in entries.items())
            await asyncio.to_thread(write_atomically, self._notes, text)

    async def ping(self) -> str:
        """Ask HAProxy for its version."""
        return f"HAProxy {await self._client.version()}"

    async def close(self) -> None:
        """Nothing is held: each call has a connection of its own."""

    async def shutdown(self) -> None:
        """End HAProxy; its routes stay on disk."""
        async with self._lock:
            await self._process.end()

    def write_files(self) -> str:
        """Write all that HAProxy reads but the routes, and give the configuration; blocks."""
        self._folder.mkdir(parents=True, exist_ok=True)
        pages = self._pages or default_pages(self._title)
        plan = config.Plan(
            host=self._server.host,
            port=self._server.port,
            control_socket=os.path.relpath(self._control_socket, self._folder),
            pages=pages,
            cors_allow_origin=self._server.cors_allow_origin,
            secure=self._tls is None and self._server.public_url.startswith("https:"),
            max_connections=config.max_connections(open_file_limit()),
            threads=min(config.MAX_THREADS, os.cpu_count() or 1),
            user="" if self._is_unit else unprivileged_user(self._control_socket.parent),
            tls=self._tls,
            others=self._others,
            proxies=self._proxies,
            socket_mode="660" if self._is_unit else "600",
        )
        text = config.render(plan)
        self._notes.touch()
        for name, page in pages.by_file().items():
            write_atomically(self._folder / name, page)
        write_atomically(self._process.config, text)
        return text

    async def _running(self) -> str | None:
        """Give the fingerprint of the configuration that runs; None if nobody listens on the socket."""
        if not await self._client.is_listening():
            return None
        return (await self._client.info()).get("description", "")

    async def _know_routes(self, *, running: bool) -> None:
        """Make table and file equal to what HAProxy has, or to what it will read when it starts."""
        if running:
            self._file.replace(await self._client.map_entries(config.MAP))
        elif not self._loaded:
            await self._file.load()
        self._loaded = True
        await self._file.save()

    async def _start(self, wanted: str, *, patience: float = 0.0) -> None:
        await self._process.start(patience=patience)
        if not await self._switched_to(wanted):
            raise RouterUnavailable(f"HAProxy started but did not answer within {SWITCH_TIMEOUT:g} s.")
        log.info("HAProxy carries the visitors", port=self._server.port, routes=len(self._file.routes))

    async def _reload(self, wanted: str) -> None:
        if await self._process.reload() and await self._switched_to(wanted):
            log.info("HAProxy has a new configuration", port=self._server.port)
            return
        if holder := await self._process.port_holder():
            raise AddressInUse(f"Port {self._server.port} on {self._server.host} is taken by {holder}.")
        # It is there but does not follow: what it still carries is worth less than being able to launch.
        log.warning("HAProxy did not take its new configuration and is started anew")
        await self._process.end()
        await self._start(wanted)

    async def _switched_to(self, wanted: str) -> bool:
        deadline = asyncio.get_running_loop().time() + SWITCH_TIMEOUT
        while asyncio.get_running_loop().time() < deadline:
            # A worker that is being replaced may hang up in the middle of an answer; the master comes up last.
            with contextlib.suppress(RouterUnavailable):
                if await self._running() == wanted and await self._master.processes():
                    return True
            await asyncio.sleep(POLL)
        return False
