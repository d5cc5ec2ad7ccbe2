"""Following the events of a launch."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from binderlet.cli import stream
from binderlet.cli.admin import AdminClient, connect
from binderlet.cli.stream import Event, Parser, follow
from binderlet.config import Settings
from binderlet.errors import RateLimited, ServiceUnavailable
from support.admin_service import READY, AdminService

CUT = 299
"""Stands for a connection that is cut before the answer."""
Script = list[tuple[int, str]]
"""For each connection: status and body."""


def sse(number: int, **body: object) -> str:
    """One event as it is sent."""
    return f"id: L-{number}\ndata: {json.dumps(body)}\n\n"


class Scripted:
    """A service that answers each connection as the script says."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.last_ids: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        """The next answer; the last one again and again."""
        self.last_ids.append(request.headers.get("Last-Event-ID", ""))
        status, body = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if status == CUT and request.transport is not None:
            request.transport.close()
        return web.Response(status=status, text=body)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AdminClient]:
    """A client of the service in this folder."""
    settings = Settings.model_validate({"paths": {"state": tmp_path}})
    async with connect(settings) as opened:
        yield opened


async def collect(tmp_path: Path, client: AdminClient, script: Script) -> tuple[list[Event], list[str]]:
    """The events that come of a script, and the ids that were sent."""
    service = Scripted(script)
    app = web.Application()
    app.router.add_get("/x", service.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    (tmp_path / "run").mkdir()
    await web.UnixSite(runner, str(tmp_path / "run" / "admin.sock")).start()
    try:
        return [event async for event in follow(client.session, client.url("/x"), pause=0.01)], service.last_ids
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("cut", [1, 3, 7, 1000])
def test_parser(cut: int) -> None:
    """Events are the same however the bytes are cut; comments, other fields and nonsense are passed over."""
    text = (
        ':keepalive\n\nretry: 5\nid: L-1\r\ndata: {"phase": "building",\ndata: "message": "é\\n"}\r\n\r\n'
        'data: nonsense\n\ndata: [1]\n\nevent: x\nid:L-2\ndata:{"message":"m"}\n\ndata: {"incomplete": 1}\n'
    ).encode()
    parser = Parser()
    found = [event for start in range(0, len(text), cut) for event in parser.feed(text[start : start + cut])]
    assert found == [Event("L-1", {"phase": "building", "message": "é\n"}), Event("L-2", {"message": "m"})]
    assert [(event.phase, event.message) for event in found] == [("building", "é"), ("", "m")]


async def test_ends_with_ready(tmp_path: Path, client: AdminClient) -> None:
    """The stream ends with the final event, even where the connection stays open or says more."""
    body = sse(1, phase="building") + sse(2, phase="ready") + sse(3, phase="building")
    events, _ = await collect(tmp_path, client, [(200, body)])
    assert [event.phase for event in events] == ["building", "ready"]


async def test_broken_connection(tmp_path: Path, client: AdminClient) -> None:
    """A connection that ends too early is made anew from the last event on, and no event comes twice."""
    script = [
        (200, sse(1, phase="building") + sse(2, message="x")),
        (200, ""),
        (CUT, ""),
        (200, sse(3, phase="failed")),
    ]
    events, last_ids = await collect(tmp_path, client, script)
    assert [event.id for event in events] == ["L-1", "L-2", "L-3"]
    assert set(last_ids) == {"", "L-2"}


async def test_nothing_new_for_too_long(tmp_path: Path, client: AdminClient) -> None:
    """A service that never brings anything new is given up."""
    with pytest.raises(ServiceUnavailable, match="stopped answering: it ended the stream too early"):
        await collect(tmp_path, client, [(200, sse(1, phase="building")), (200, "")])


async def test_cut_again_and_again(tmp_path: Path, client: AdminClient) -> None:
    """A service that cuts every connection is given up, with what the last one said."""
    with pytest.raises(ServiceUnavailable, match="stopped answering: Server disconnected"):
        await collect(tmp_path, client, [(200, sse(1, phase="building")), (CUT, "")])


async def test_error_instead_of_a_stream(tmp_path: Path, client: AdminClient) -> None:
    """An error answer is raised as the error that it was."""
    told = json.dumps({"message": "Too many.", "code": "rate_limited", "hint": "Wait."})
    with pytest.raises(RateLimited, match="Too many"):
        await collect(tmp_path, client, [(429, told)])


async def test_no_service(client: AdminClient) -> None:
    """Without a service, that is said at once, and how to start one."""
    with pytest.raises(ServiceUnavailable, match="No service runs here") as caught:
        _ = [event async for event in follow(client.session, client.url("/x"))]
    assert caught.value.hint == "Start it with 'binderlet up'."


async def test_service_goes_away(tmp_path: Path, client: AdminClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that went away in the middle is waited for while it may be starting again."""
    monkeypatch.setattr(stream, "ATTEMPTS", 3)
    service = AdminService(events=[{"phase": "building", "message": "x"}])
    runner = web.AppRunner(service.app())
    await runner.setup()
    (tmp_path / "run").mkdir()
    await web.UnixSite(runner, str(tmp_path / "run" / "admin.sock")).start()
    events = follow(client.session, client.url("/build/gh/o/r/HEAD"), pause=0.01)
    assert (await anext(events)).phase == "building"
    await runner.cleanup()
    with pytest.raises(ServiceUnavailable, match="stopped answering"):
        await anext(events)


def test_final_phases() -> None:
    """The service's last word is one of the final phases."""
    assert READY["phase"] in stream.FINAL
