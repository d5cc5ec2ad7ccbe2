"""An engine without containers, for tests and for trying things out; it passes the contract suite.

What a test can make it do, by plain attributes that may change at any time:

* ``images``: the names it has; None has every image;
* ``delay``: seconds each start takes;
* ``dies_at_once``: what ``start`` says a session ended with, such as ``"it ended with exit code 3"``;
* ``down``: every call raises EngineUnavailable, and watches that run end with it;
* ``silent``: sessions accept connections but never answer (only with ``serve``);
* ``output``: what each session printed, by session id;
* ``started`` and ``stopped``: the specs and ids it was asked for, in order;
* ``end(id, because, exit_code)``: a running session ends.

With ``serve=True`` each session is a small HTTP server on a free loopback port that answers 200 to every request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace

from binderlet.engine.docker_spec import last_lines
from binderlet.errors import EngineUnavailable, ImageMissing, SessionDied
from binderlet.model import Session, SessionSpec, SessionState

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


class FakeEngine:
    """The engine port in memory; ``close`` also ends its HTTP servers, as nothing else could."""

    def __init__(self, *, images: Collection[str] | None = None, serve: bool = False) -> None:
        self.images = images
        self.serve = serve
        self.delay = 0.0
        self.dies_at_once = ""
        self.silent = False
        self.output: dict[str, str] = {}
        self.started: list[SessionSpec] = []
        self.stopped: list[str] = []
        self._down = False
        self._sessions: dict[str, Session] = {}
        self._servers: dict[str, asyncio.Server] = {}
        self._watches: set[asyncio.Queue[Session | None]] = set()

    @property
    def down(self) -> bool:
        """Whether it refuses to answer."""
        return self._down

    @down.setter
    def down(self, value: bool) -> None:
        self._down = value
        if value:
            for watch in self._watches:
                watch.put_nowait(None)

    def _check(self) -> None:
        if self._down:
            raise EngineUnavailable("The fake engine was told not to answer.")

    async def prepare(self) -> None:
        """Need nothing."""
        self._check()

    async def start(self, spec: SessionSpec) -> Session:
        """Start a session, after ``delay``."""
        self._check()
        self.started.append(spec)
        if self.images is not None and spec.image not in self.images:
            raise ImageMissing(f"The fake engine has no image {spec.image}.")
        await asyncio.sleep(self.delay)
        self._check()
        if self.dies_at_once:
            raise SessionDied(f"The session ended at once: {self.dies_at_once}.")
        address = await self._listen(spec.id) if self.serve else f"127.0.0.1:{spec.port}"
        session = Session(
            id=spec.id,
            token=spec.token,
            image=spec.image,
            launch_id=spec.launch_id,
            provider=spec.provider,
            spec=spec.spec,
            repo_url=spec.repo_url,
            created_at=spec.created_at,
            state=SessionState.RUNNING,
            address=address,
            engine_id=f"fake-{spec.id}",
            standby=spec.standby,
        )
        self._sessions[spec.id] = session
        return session

    async def _listen(self, session_id: str) -> str:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self._servers[session_id] = server
        host, port = server.sockets[0].getsockname()[:2]
        return f"{host}:{port}"

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (await reader.readline()).strip():
                pass
            if self.silent:
                await reader.read()
            else:
                writer.write(ANSWER)
                await writer.drain()
        except OSError:
            # The visitor left; a real session would not mind either.
            return
        finally:
            writer.close()

    def end(self, session_id: str, because: str = "it was killed", exit_code: int = 137) -> Session:
        """Let a running session end by itself; it stays in the list until it is stopped."""
        session = replace(
            self._sessions[session_id],
            state=SessionState.ENDED,
            address="",
            exit_code=exit_code,
            ended_because=because,
        )
        self._sessions[session_id] = session
        self._hang_up(session_id)
        for watch in self._watches:
            watch.put_nowait(session)
        return session

    def _hang_up(self, session_id: str) -> None:
        if (server := self._servers.pop(session_id, None)) is not None:
            server.close()

    async def stop(self, session_id: str) -> None:
        """End a session and forget it."""
        self._check()
        self.stopped.append(session_id)
        session = self._sessions.get(session_id)
        if session is not None and session.state is not SessionState.ENDED:
            self.end(session_id, "it was stopped")
        self._sessions.pop(session_id, None)
        self.output.pop(session_id, None)

    async def list(self) -> Sequence[Session]:
        """Give all sessions that were not stopped."""
        self._check()
        return list(self._sessions.values())

    def watch(self) -> AsyncIterator[Session]:
        """Yield each session as it ends, from this call on."""
        queue: asyncio.Queue[Session | None] = asyncio.Queue()
        self._watches.add(queue)
        if self._down:
            queue.put_nowait(None)
        return self._watch(queue)

    async def _watch(self, queue: asyncio.Queue[Session | None]) -> AsyncIterator[Session]:
        try:
            while (session := await queue.get()) is not None:
                yield session
        finally:
            self._watches.discard(queue)
        raise EngineUnavailable("The fake engine was told not to answer.")

    async def logs(self, session_id: str, lines: int = 50) -> str:
        """Give the last lines of ``output``."""
        self._check()
        return last_lines(self.output.get(session_id, ""), lines)

    async def ping(self) -> str:
        """Give a name and version."""
        self._check()
        return "Fake 1.0"

    async def close(self) -> None:
        """End the HTTP servers."""
        for session_id in list(self._servers):
            self._hang_up(session_id)
