"""Runs sessions as containers of Docker, or of Podman by its compatible API.

A start is three calls on warm connections: create, start, inspect. ``docs/explanation/isolation.md`` has the cost of
each, and of each protection.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import structlog
from aiodocker.exceptions import DockerError

from binderlet.clients.cgroups import systemd_root
from binderlet.clients.docker import UNREACHABLE, DockerClient, engine_errors
from binderlet.config.schema import EngineSettings
from binderlet.engine.docker_spec import (
    OUT_OF_MEMORY,
    Endings,
    cgroup_parent,
    container_name,
    create_request,
    demultiplex,
    event_filter,
    instance_filter,
    last_lines,
    session_from_inspect,
    session_from_list,
    sessions_of,
)
from binderlet.engine.guard import Holds
from binderlet.engine.networks import CONFLICT, NOT_FOUND, networks_for
from binderlet.errors import BinderletError, EngineUnavailable, LaunchFailed, NotFound, SessionDied
from binderlet.model import Session, SessionSpec, SessionState
from binderlet.tasks import Tasks

log = structlog.get_logger(__name__)

LAST_LINES = 20
"""How much of its output the error about a session that died at once carries."""

CLOSE_TIMEOUT = 10.0
"""Seconds that starts under way may take at shutdown; what they leave is found again by list()."""

REMOVAL_TIMEOUT = 30.0
"""Seconds to wait for a removal that another call has begun."""


class DockerEngine:
    """The engine port on Docker or Podman; the client is closed with it."""

    def __init__(
        self,
        client: DockerClient,
        settings: EngineSettings,
        instance: str,
        *,
        slice_: str = "",
        guard: Holds | None = None,
    ) -> None:
        self._client = client
        self._settings = settings
        self._slice = slice_
        self._parent = ""
        self._instance = instance
        self._networks = networks_for(client, settings, instance, guard)
        self._starts = Tasks("docker engine")
        self._stopped: deque[str] = deque(maxlen=1000)
        """The last that were stopped on purpose: engines tell of their end like of any other."""
        self._last_event = 0
        """Nanoseconds since the epoch; a new watch begins after it."""

    async def prepare(self) -> None:
        """Make the network of sessions, or check the one that exists; find out how the engine wants their slice."""
        await self._networks.prepare()
        if self._slice:
            self._parent = await self._find_parent()

    async def _find_parent(self) -> str:
        with engine_errors():
            info = await self._client.call("GET", "info")
        root = await asyncio.to_thread(systemd_root)
        parent = cgroup_parent(self._slice, info, root, podman=self._client.is_podman)
        if parent is None:
            log.warning("sessions are not in their slice", slice=self._slice, driver=info.get("CgroupDriver"))
        return parent or ""

    async def start(self, spec: SessionSpec) -> Session:
        """Create and start the session's container.

        When cancelled, it waits for the call that the engine is at, then removes what that call made: a container
        whose removal overtakes its creation would stay.
        """
        given_up = asyncio.Event()
        work = self._starts.start(self._start(spec, given_up), name=f"start {spec.id}")
        try:
            outcome = await asyncio.shield(work)
        except asyncio.CancelledError:
            given_up.set()
            # Once more in the background: a second cancellation ends the wait, not the removal.
            await asyncio.wait({self._starts.start(self._give_up(spec.id, work), name=f"give up {spec.id}")})
            raise
        if isinstance(outcome, BinderletError):
            raise outcome
        return outcome

    async def _give_up(self, session_id: str, start: asyncio.Task[Session | BinderletError]) -> None:
        outcome = await start
        if isinstance(outcome, Session):
            await self._undo(session_id, outcome.engine_id)

    async def _start(self, spec: SessionSpec, given_up: asyncio.Event) -> Session | BinderletError:
        """Start a session and give it; or remove all traces and give the error."""
        network = container = ""
        try:
            with engine_errors():
                network = await self._networks.join(spec.id)
                _go_on(given_up)
                container = await self._create(spec, network)
                _go_on(given_up)
                await self._run(container)
                _go_on(given_up)
                return await self._started(container)
        except BinderletError as error:
            await self._undo(spec.id if network else "", container)
            if isinstance(error, NotFound) and container:
                return SessionDied("The session was stopped while it started.")
            return error

    async def _create(self, spec: SessionSpec, network: str) -> str:
        request = create_request(
            spec,
            self._settings,
            self._instance,
            network=network,
            parent=self._parent,
            podman=self._client.is_podman,
        )
        name = {"name": container_name(self._instance, spec.id)}
        created = await self._client.call("POST", "containers/create", params=name, body=request)
        return str(created["Id"])

    async def _run(self, container: str) -> None:
        try:
            await self._client.call("POST", f"containers/{container}/start")
        except DockerError as error:
            if error.status == NOT_FOUND and "network" in error.message:
                # Someone tidied up networks that no session was using.
                await self._networks.prepare()
                await self._client.call("POST", f"containers/{container}/start")
            elif error.status in {NOT_FOUND, UNREACHABLE}:
                raise
            else:
                # Docker answers 400, Podman 500 when the program does not exist or may not be run.
                raise SessionDied(f"The session could not start: {error.message.strip()}.") from error

    async def _started(self, container: str) -> Session:
        session = session_from_inspect(await self._client.call("GET", f"containers/{container}/json"))
        if session is None or (session.state is SessionState.RUNNING and not session.address):
            raise EngineUnavailable(f"The container engine gave container {container[:12]} no address.")
        if session.state is SessionState.RUNNING:
            return session
        said = last_lines(await self._logs(container, LAST_LINES), LAST_LINES)
        raise SessionDied(
            f"The session ended at once: {session.ended_because}.{f' It said:{chr(10)}{said}' * bool(said)}"
        )

    async def _undo(self, session_id: str, container: str) -> None:
        try:
            if container:
                await self._remove(container)
            if session_id:
                await self._networks.leave(session_id)
        except BinderletError as error:
            # The caller gets the error that made us undo; what stays is found again by list().
            log.warning("a failed start left traces", session=session_id, container=container, error=str(error))

    async def stop(self, session_id: str) -> None:
        """Kill the session's container and remove it with its anonymous volumes: sessions hold nothing to save."""
        self._stopped.append(session_id)
        with engine_errors():
            await self._remove(container_name(self._instance, session_id))
            await self._networks.leave(session_id)

    async def _remove(self, container: str) -> None:
        with engine_errors():
            try:
                await self._client.call("DELETE", f"containers/{container}", params={"force": "1", "v": "1"})
            except DockerError as error:
                if error.status == CONFLICT:
                    await self._wait_removed(container)
                elif error.status != NOT_FOUND:
                    raise

    async def _wait_removed(self, container: str) -> None:
        """Wait until the removal that another call began is over."""
        async with asyncio.timeout(REMOVAL_TIMEOUT):
            while True:
                try:
                    await self._client.call("GET", f"containers/{container}/json")
                except DockerError as error:
                    if error.status == NOT_FOUND:
                        return
                    raise
                await asyncio.sleep(0.05)

    async def list(self) -> Sequence[Session]:
        """Read all sessions in one call, and why in one more for each that ended."""
        with engine_errors():
            params = {"all": "1", **instance_filter(self._instance)}
            found = await self._client.call("GET", "containers/json", params=params)
        sessions = sessions_of(session_from_list(container) for container in found)
        return [await self._why(session) if session.state is SessionState.ENDED else session for session in sessions]

    async def _why(self, ended: Session) -> Session:
        """Give what an inspect knows of a session that ended, or what is known where it is gone already."""
        with engine_errors():
            try:
                container = await self._client.call("GET", f"containers/{ended.engine_id}/json")
            except DockerError as error:
                if error.status in {NOT_FOUND, CONFLICT}:
                    return ended
                raise
        known = session_from_inspect(container)
        return known if known is not None and known.state is SessionState.ENDED else ended

    def watch(self) -> AsyncIterator[Session]:
        """Yield each session as it ends; a second call goes on where the first lost its connection."""
        return self._watch(self._last_event or time.time_ns())

    async def _watch(self, after: int) -> AsyncIterator[Session]:
        endings = Endings()
        params = {"since": f"{after // 10**9}.{after % 10**9:09}", **event_filter(self._instance)}
        with engine_errors():
            async for event in self._client.stream("events", params=params):
                # The engine also gives what happened at that very time, or in that second.
                if event["timeNano"] <= after:
                    continue
                self._last_event = max(self._last_event, event["timeNano"])
                if (ended := endings.feed(event)) is not None:
                    yield await self._ending(ended)
        raise EngineUnavailable("The container engine closed its stream of events.")

    async def _ending(self, ended: Session) -> Session:
        if ended.id in self._stopped:
            return replace(ended, ended_because="it was stopped")
        # Once more: engines tell of lacking memory after the end, or only when asked.
        return ended if ended.ended_because == OUT_OF_MEMORY else await self._why(ended)

    async def logs(self, session_id: str, lines: int = 50) -> str:
        """Read the last lines that the container printed."""
        with engine_errors():
            try:
                return await self._logs(container_name(self._instance, session_id), lines)
            except DockerError as error:
                if error.status in {NOT_FOUND, CONFLICT}:
                    return ""
                raise

    async def _logs(self, container: str, lines: int) -> str:
        params: dict[str, Any] = {"stdout": "1", "stderr": "1", "tail": str(lines)}
        return demultiplex(await self._client.read(f"containers/{container}/logs", params=params))

    async def ping(self) -> str:
        """Ask the engine for its name and version."""
        return await self._client.ping()

    async def close(self) -> None:
        """Wait until starts that were given up have left no traces, then close the client."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                while len(self._starts):  # noqa: ASYNC110 - once, at the end
                    await asyncio.sleep(0.01)
        await self._starts.close()
        await self._client.close()


def _go_on(given_up: asyncio.Event) -> None:
    if given_up.is_set():
        raise LaunchFailed("The start was given up.")
