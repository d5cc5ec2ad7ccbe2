"""The engine's way to every registry."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from binderlet.clients.oci import OciClient
from binderlet.images.registry.gate import TO, USER, Gate, Upstream
from binderlet.images.registry.throttle import Throttle
from support.ports import free_ports

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Rig:
    """A registry, and a gate in front of it."""

    def __init__(self) -> None:
        self.answer: Handler = self.echo
        self.seen: list[tuple[str, str, bytes]] = []
        self.url = ""

    async def echo(self, request: web.Request) -> web.StreamResponse:
        """Note the call and answer."""
        self.seen.append((request.method, request.path_qs, await request.read()))
        return web.Response(text="well", headers={"Docker-Content-Digest": "sha256:1", "X-Secret": "no"})

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer as the test says."""
        return await self.answer(request)

    async def start(self, folder: Path) -> None:
        """Listen."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.serve)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/"
        self.clients = [OciClient(self.url), OciClient(self.url), OciClient(f"http://127.0.0.1:{free_ports(1)[0]}/")]
        upstreams = {
            "r": Upstream(self.clients[0], "some/folder/", Throttle(0, 1, lambda: False)),
            "p0": Upstream(self.clients[1]),
            "gone": Upstream(self.clients[2]),
        }
        self.gate = Gate(upstreams, folder / "sub" / "port")
        await self.gate.start()
        login = base64.b64encode(f"{USER}:{self.gate.password}".encode()).decode()
        self.session = aiohttp.ClientSession(f"http://{self.gate.address}", headers={"Authorization": f"Basic {login}"})

    async def stop(self) -> None:
        """Leave nothing."""
        await self.session.close()
        await self.gate.close()
        await self.gate.close()
        for client in self.clients:
            await client.close()
        await self.runner.cleanup()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """One of each."""
    made = Rig()
    await made.start(tmp_path)
    yield made
    await made.stop()


async def test_passes_on(rig: Rig) -> None:
    """A call goes to its registry, below its folder, and what the engine needs of the answer comes back."""
    async with rig.session.get("/v2/r/a/b/manifests/1?x=y") as answer:
        assert (answer.status, await answer.text()) == (200, "well")
        assert answer.headers["Docker-Content-Digest"] == "sha256:1"
        assert "X-Secret" not in answer.headers
    async with rig.session.head("/v2/p0/a/b/manifests/1") as answer:
        assert answer.status == 200
    assert [call[:2] for call in rig.seen] == [
        ("GET", "/v2/some/folder/a/b/manifests/1?x=y"),
        ("HEAD", "/v2/a/b/manifests/1"),
    ]
    assert rig.gate.upstreams["r"].received == 4


async def test_nobody_else_is_let_in(rig: Rig) -> None:
    """Without the password nothing is passed on; with it the engine is told that this is a registry."""
    async with aiohttp.ClientSession() as anybody:
        for headers in ({}, {"Authorization": "Basic x"}):
            async with anybody.get(f"http://{rig.gate.address}/v2/r/a/manifests/1", headers=headers) as answer:
                assert answer.status == 401
                assert answer.headers["WWW-Authenticate"].startswith("Basic")
    assert rig.seen == []
    async with rig.session.get("/v2/") as answer:
        assert answer.status == 200
    assert rig.gate.password not in repr(rig.gate)
    assert rig.gate.password in base64.urlsafe_b64decode(rig.gate.login).decode()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/elsewhere", 404),
        ("GET", "/v2/nobody/a/manifests/1", 404),
        ("PUT", "/v2/p0/a/manifests/1", 405),
        ("GET", "/v2/gone/a/manifests/1", 503),
    ],
)
async def test_refusals(rig: Rig, method: str, path: str, status: int) -> None:
    """What is behind no registry is not there, peers are only read, and one that is away is away."""
    async with rig.session.request(method, path) as answer:
        assert answer.status == status
        assert (await answer.json())["errors"]


async def test_uploads(rig: Rig) -> None:
    """An upload goes on where the registry says, through the gate, with all that the engine adds."""

    async def answer(request: web.Request) -> web.StreamResponse:
        rig.seen.append((request.method, request.path_qs, await request.read()))
        location = f"{rig.url}v2/some/folder/a/blobs/uploads/77?state=s" if request.method == "POST" else "/v2/x/y"
        return web.Response(status=202, headers={"Location": location})

    rig.answer = answer
    async with rig.session.post("/v2/r/a/blobs/uploads/?mount=sha256:1&from=r/binderlet/env") as begun:
        where = begun.headers["Location"]
    assert where.startswith(f"/v2/r/a/blobs/uploads/77?{TO}=")
    async with rig.session.patch(where, data=_stream(b"one", b"two")) as went:
        assert went.status == 202
    async with rig.session.put(f"{where}&digest=sha256:2") as ended:
        assert ended.headers["Location"].startswith("/v2/r/a/blobs/uploads/77/")
    assert rig.seen == [
        ("POST", "/v2/some/folder/a/blobs/uploads/?mount=sha256:1&from=some/folder/binderlet/env", b""),
        ("PATCH", "/v2/some/folder/a/blobs/uploads/77?state=s", b"onetwo"),
        ("PUT", "/v2/some/folder/a/blobs/uploads/77?state=s&digest=sha256:2", b""),
    ]
    throttle = rig.gate.upstreams["r"].throttle
    assert throttle is not None
    assert throttle.sent == 6


async def _read_into(got: bytearray, answer: aiohttp.ClientResponse) -> None:
    async for chunk in answer.content.iter_any():
        got += chunk


async def _stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def test_a_blob_that_breaks_off_is_cut(rig: Rig) -> None:
    """Where the registry breaks off, so does the gate: nothing is written after what came."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"x" * 100)
        assert request.transport is not None
        request.transport.close()
        return response

    rig.answer = answer
    got = bytearray()
    async with rig.session.get("/v2/r/a/blobs/sha256:1") as broken:
        with pytest.raises(aiohttp.ClientError):
            await _read_into(got, broken)
    assert got.strip(b"x") == b""


async def test_the_port_stays(rig: Rig) -> None:
    """A later gate takes the same port, unless somebody else has it by then."""
    before = rig.gate.port
    other = Gate({}, rig.gate.port_file)
    await other.start()
    assert other.port != before
    await other.close()
    await rig.gate.close()
    await asyncio.to_thread(rig.gate.port_file.write_text, str(before))
    again = Gate({}, rig.gate.port_file)
    await again.start()
    assert again.port == before
    await again.close()


async def test_no_port_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be listened on, that is said."""

    async def refuse(_: object, __: int) -> None:
        raise OSError("no port")

    monkeypatch.setattr(Gate, "_listen", refuse)
    gate = Gate({}, tmp_path / "port")
    with pytest.raises(OSError, match="no port"):
        await gate.start()
    await gate.close()


async def test_a_port_file_that_makes_no_sense(rig: Rig, tmp_path: Path) -> None:
    """Where the port cannot be read, any is taken."""
    await asyncio.to_thread((tmp_path / "other").write_text, "nonsense")
    gate = Gate({}, tmp_path / "other")
    await gate.start()
    assert gate.port
    await gate.close()
