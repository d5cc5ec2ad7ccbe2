"""The HAProxy router beyond its contract, with the real program: survival, faults, streams and counting."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil
import pytest
from multidict import CIMultiDict

from binderlet.clients.haproxy import HAProxyClient
from binderlet.config.schema import ServerSettings
from binderlet.errors import AddressInUse, ConfigError, MissingProgram, RouterUnavailable
from binderlet.model import Route
from binderlet.router import haproxy, process
from binderlet.router.config import Others, Proxies
from binderlet.router.error_pages import ErrorPages
from binderlet.router.haproxy import HAProxyRouter
from support.routers import folder_for_sockets, haproxy_router, running_haproxy
from support.upstreams import free_port, upstream

pytestmark = pytest.mark.haproxy

GIGABYTE = 1024**3


@pytest.fixture
def state() -> Iterator[Path]:
    """A state folder whose path is short enough for sockets."""
    with folder_for_sockets() as folder:
        yield folder


@pytest.fixture
async def router(state: Path) -> AsyncIterator[HAProxyRouter]:
    """A running HAProxy."""
    async with running_haproxy(state) as made:
        yield made


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client for the test."""
    async with aiohttp.ClientSession() as session:
        yield session


def url(router: HAProxyRouter, path: str) -> str:
    """Give the address of a path."""
    return f"http://127.0.0.1:{router.url_port}{path}"


async def worker_pid(router: HAProxyRouter) -> int:
    """Give the process that serves now."""
    return int((await router._client.info())["Pid"])


async def until(check: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(10):
        while not check():  # noqa: ASYNC110 - other processes announce nothing
            await asyncio.sleep(0.02)


def another(router: HAProxyRouter, state: Path, **server: str) -> HAProxyRouter:
    """Make the router that the next control plane on this folder and port would make."""
    return haproxy_router(state, port=router.url_port, proxies=None, **server)


async def changed(router: HAProxyRouter, state: Path) -> HAProxyRouter:
    """Prepare with other settings, which makes HAProxy reload."""
    other = another(router, state, cors_allow_origin="https://example.org")
    await other.prepare()
    return other


class TestControlPlane:
    """What is not a session's goes to the control plane."""

    async def test_gets_the_rest_with_our_headers(
        self, router: HAProxyRouter, state: Path, http: aiohttp.ClientSession
    ) -> None:
        """Other paths reach the control plane's unix socket, raw, with headers that only we can set."""
        forged = {"X-Forwarded-Host": "evil", "X-Real-IP": "6.6.6.6", "Forwarded": "for=6.6.6.6", "Proxy": "x"}
        async with (
            upstream("control", unix_socket=str(state / "run" / "control.sock")),
            http.get(url(router, "/build/gh/a%2Fb/c//d?x=1"), headers=forged) as reply,
        ):
            seen = await reply.json()
        assert seen["path"] == "/build/gh/a%2Fb/c//d?x=1"
        assert seen["headers"]["x-forwarded-host"] == f"127.0.0.1:{router.url_port}"
        assert seen["headers"]["x-forwarded-for"] == "127.0.0.1"
        assert not {"forwarded", "x-real-ip", "proxy"} & seen["headers"].keys()

    async def test_event_streams_pass_at_once(
        self, router: HAProxyRouter, state: Path, http: aiohttp.ClientSession
    ) -> None:
        """A build's events arrive one by one."""
        async with (
            upstream("control", unix_socket=str(state / "run" / "control.sock")) as control,
            http.get(url(router, "/build/gh/a/b/events")) as reply,
        ):
            for number in range(10):
                await control.events.put(str(number))
                async with asyncio.timeout(2):
                    assert await reply.content.readuntil(b"\n\n") == f"data: {number}\n\n".encode()
            await control.events.put("")

    async def test_https_in_front_is_passed_on(self, state: Path, http: aiohttp.ClientSession) -> None:
        """When the public address is https, sessions are told so."""
        async with running_haproxy(state, public_url="https://b.example.org/") as router, upstream() as up:
            await router.add(Route("s", up.address))
            async with http.get(url(router, "/user/s/")) as reply:
                assert (await reply.json())["headers"]["x-forwarded-proto"] == "https"


class TestBehindProxies:
    """Who the visitor is, where proxies stand before this machine."""

    @pytest.mark.parametrize(
        ("given", "visitor"),
        [
            ([], "127.0.0.1"),
            (["203.0.113.9"], "203.0.113.9"),
            (["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
            (["6.6.6.6", "203.0.113.9, 10.1.2.3"], "203.0.113.9"),
            (["6.6.6.6, 2001:db8::7, 10.1.2.3, 10.9.9.9"], "2001:db8::7"),
            (["203.0.113.9:4711"], "203.0.113.9"),
            (["203.0.113.9, nonsense"], "127.0.0.1"),
            (["203.0.113.9, unknown, 10.1.2.3"], "10.1.2.3"),
            (["10.1.1.1, 10.1.1.2"], "10.1.1.1"),
        ],
    )
    async def test_trusted(self, state: Path, http: aiohttp.ClientSession, given: list[str], visitor: str) -> None:
        """The visitor is the last address that none of the trusted ones has, whatever the visitor says besides."""
        proxies = Proxies(("127.0.0.0/8", "10.0.0.0/8"))
        headers = CIMultiDict([("X-Forwarded-Proto", "HTTPS"), *(("X-Forwarded-For", each) for each in given)])
        async with running_haproxy(state, proxies=proxies) as router, upstream() as up:
            await router.add(Route("s", up.address))
            async with http.get(url(router, "/user/s/"), headers=headers) as reply:
                seen = (await reply.json())["headers"]
        assert (seen["x-forwarded-for"], seen["x-forwarded-proto"]) == (visitor, "https")

    async def test_strangers(self, state: Path, http: aiohttp.ClientSession) -> None:
        """Whoever is not trusted says nothing of who they are."""
        proxies = Proxies(("10.0.0.0/8",))
        headers = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
        async with running_haproxy(state, proxies=proxies) as router, upstream() as up:
            await router.add(Route("s", up.address))
            async with http.get(url(router, "/user/s/"), headers=headers) as reply:
                seen = (await reply.json())["headers"]
        assert (seen["x-forwarded-for"], seen["x-forwarded-proto"]) == ("127.0.0.1", "http")

    @pytest.mark.parametrize(
        ("trusted", "visitor"), [(("127.0.0.0/8",), "203.0.113.9"), (("127.0.0.0/8", "203.0.113.0/24"), "198.51.100.7")]
    )
    async def test_proxy_protocol(self, state: Path, trusted: tuple[str, ...], visitor: str) -> None:
        """The visitor is who the balancer says; behind it, one that is trusted too may say more by a header."""
        proxies = Proxies(trusted, proxy_protocol=True)
        async with running_haproxy(state, proxies=proxies) as router, upstream() as up:
            await router.add(Route("s", up.address))
            reader, writer = await asyncio.open_connection("127.0.0.1", router.url_port)
            head = "PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\r\n"
            head += "GET /user/s/ HTTP/1.1\r\nHost: b\r\nX-Forwarded-For: 198.51.100.7\r\nConnection: close\r\n\r\n"
            writer.write(head.encode())
            answer = await reader.read()
            writer.close()
        assert f'"x-forwarded-for": "{visitor}"' in answer.decode()

    async def test_proxy_protocol_of_strangers(self, state: Path, http: aiohttp.ClientSession) -> None:
        """Others speak plain HTTP, and cannot use it to lie."""
        proxies = Proxies(("10.0.0.0/8",), proxy_protocol=True)
        async with running_haproxy(state, proxies=proxies) as router, upstream() as up:
            await router.add(Route("s", up.address))
            async with http.get(url(router, "/user/s/")) as reply:
                assert (await reply.json())["headers"]["x-forwarded-for"] == "127.0.0.1"
            reader, writer = await asyncio.open_connection("127.0.0.1", router.url_port)
            writer.write(b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\r\nGET /user/s/ HTTP/1.0\r\n\r\n")
            assert b" 400 " in await reader.readline()
            writer.close()


class TestRefusals:
    """What does not get through, and how it is said."""

    async def test_preflight_of_a_gone_session(self, router: HAProxyRouter, http: aiohttp.ClientSession) -> None:
        """A preflight for a session that is gone passes, so that the real request's 424 can be read."""
        asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
        async with http.options(url(router, "/user/none/api/kernels"), headers=asked) as reply:
            assert reply.status == 204
            assert reply.headers["Access-Control-Allow-Origin"] == "*"
            assert "authorization" in reply.headers["Access-Control-Allow-Headers"]

    @pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
    async def test_methods_of_proxies(self, router: HAProxyRouter, http: aiohttp.ClientSession, method: str) -> None:
        """CONNECT and TRACE are not for us."""
        async with http.request(method, url(router, "/user/s/")) as reply:
            assert reply.status == 405

    async def test_an_answer_that_is_none(self, router: HAProxyRouter, http: aiohttp.ClientSession) -> None:
        """A session that does not speak HTTP is a 502 with a page and a time to try again."""

        async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"220 smtp.example\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
            await router.add(Route("s", f"127.0.0.1:{server.sockets[0].getsockname()[1]}"))
            async with http.get(url(router, "/user/s/")) as reply:
                assert reply.status == 502
                assert reply.headers["Retry-After"] == "5"
                assert reply.headers["Access-Control-Allow-Origin"] == "*"
                assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
                assert "does not answer" in await reply.text()

    async def test_large_headers_pass(self, router: HAProxyRouter, http: aiohttp.ClientSession) -> None:
        """Twenty kilobytes of cookies are no problem for us."""
        async with upstream(header_limit=32768) as up:
            await router.add(Route("s", up.address))
            many = "; ".join(f"username-{number}={'x' * 200}" for number in range(90))
            headers = {"Cookie": many}
            async with http.get(url(router, "/user/s/"), headers=headers) as reply:
                assert (await reply.json())["headers"]["cookie"] == many


class TestSurvival:
    """What happens to visitors when parts of us end."""

    async def test_control_plane_killed(self, state: Path, http: aiohttp.ClientSession) -> None:
        """A WebSocket goes on after kill -9 of the process that started HAProxy, and the next one takes over."""
        port = free_port()
        async with upstream() as up, ended_afterwards(state, port) as after:
            before = await asyncio.create_subprocess_exec(
                sys.executable, "-c", CONTROL_PLANE, str(state), str(port), up.address, stdout=asyncio.subprocess.PIPE
            )
            assert before.stdout is not None
            while (line := await before.stdout.readline()) != b"routed\n":
                assert line
            async with http.ws_connect(f"http://127.0.0.1:{port}/user/s/ws") as channel:
                before.kill()
                await before.wait()
                worker = await worker_pid(after)
                await after.prepare()
                assert await worker_pid(after) == worker
                assert await after.routes() == {"s": up.address}
                await channel.send_str("still here")
                assert (await channel.receive(timeout=5)).data == "still here"

    async def test_route_changes_and_reload(
        self, router: HAProxyRouter, state: Path, http: aiohttp.ClientSession
    ) -> None:
        """WebSockets live through route changes and a reload, stay counted, and no counter falls."""
        async with upstream() as up:
            await router.add(Route("s", up.address))
            async with http.ws_connect(url(router, "/user/s/ws")) as channel:
                for number in range(20):
                    await router.add(Route(f"t-{number}", "127.0.0.1:9"))
                    await router.remove(f"t-{number}")
                before = await worker_pid(router)
                other = await changed(router, state)
                assert await worker_pid(other) != before
                assert await other.routes() == {"s": up.address}
                await channel.send_str("still here")
                assert (await channel.receive(timeout=5)).data == "still here"
                seen = (await other.traffic())["s"]
                assert (seen.websockets, seen.requests) == (1, 1)
            await until(lambda: not psutil.pid_exists(before) or _is_zombie(before))
            async with http.get(url(other, "/user/s/")) as reply:
                assert reply.status == 200
            later = (await other.traffic())["s"]
            assert (later.websockets, later.requests) == (0, 2)
            assert later.bytes_in > seen.bytes_in

    @pytest.mark.parametrize("who", ["worker", "master"])
    async def test_killed_and_brought_back(self, router: HAProxyRouter, http: aiohttp.ClientSession, who: str) -> None:
        """After kill -9 of HAProxy, calls say so and prepare brings it back with all routes."""
        async with upstream() as up:
            await router.add(Route("s", up.address))
            master, workers = await router._master.processes()
            os.kill(master if who == "master" else workers[0], signal.SIGKILL)
            await until(lambda: all(_is_zombie(pid) for pid in (master, *workers)))
            with pytest.raises(RouterUnavailable, match=r"haproxy\.sock"):
                await router.ping()
            await router.prepare()
            async with http.get(url(router, "/user/s/")) as reply:
                assert reply.status == 200

    async def test_socket_gone(self, router: HAProxyRouter, state: Path, http: aiohttp.ClientSession) -> None:
        """With the socket's file deleted, calls say so; prepare makes it again and WebSockets do not notice."""
        async with upstream() as up:
            await router.add(Route("s", up.address))
            async with http.ws_connect(url(router, "/user/s/ws")) as channel:
                (state / "run" / "haproxy.sock").unlink()
                with pytest.raises(RouterUnavailable):
                    await router.add(Route("t", up.address))
                await router.prepare()
                assert await router.routes() == {"s": up.address}
                await channel.send_str("still here")
                assert (await channel.receive(timeout=5)).data == "still here"

    async def test_hung(self, router: HAProxyRouter) -> None:
        """A HAProxy that takes connections but answers nothing is said to be so, and is not killed."""
        pid = await worker_pid(router)
        router._client._timeout = 0.2
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(RouterUnavailable, match="gave no answer"):
                await router.prepare()
        finally:
            os.kill(pid, signal.SIGCONT)
        router._client._timeout = 5
        assert await worker_pid(router) == pid

    async def test_reload_that_nobody_follows(
        self, router: HAProxyRouter, state: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A master that does not follow a reload is replaced, with all routes."""
        await router.add(Route("s", "127.0.0.1:9"))
        monkeypatch.setattr(haproxy, "SWITCH_TIMEOUT", 1.0)
        monkeypatch.setattr(process, "STOP_TIMEOUT", 0.2)
        master, _ = await router._master.processes()
        os.kill(master, signal.SIGSTOP)
        other = await changed(router, state)
        assert (await other._master.processes())[0] != master
        assert await other.routes() == {"s": "127.0.0.1:9"}


class TestStart:
    """What can be wrong when it starts."""

    async def test_port_taken(self, state: Path) -> None:
        """The error names the port and who holds it."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            router = haproxy_router(state, port=port)
            with pytest.raises(AddressInUse, match=rf"Port {port} .* \(process {os.getpid()}\)"):
                await router.prepare()

    async def test_port_taken_by_another_haproxy(self, router: HAProxyRouter) -> None:
        """Two of us never share a port, though the system would let them."""
        with folder_for_sockets() as elsewhere:
            second = another(router, elsewhere)
            with pytest.raises(AddressInUse, match="haproxy"):
                await second.prepare()

    async def test_new_port_taken(self, router: HAProxyRouter, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A change to a port that is taken is refused, and the old one keeps serving."""
        monkeypatch.setattr(haproxy, "SWITCH_TIMEOUT", 1.0)
        pid = await worker_pid(router)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            with pytest.raises(AddressInUse):
                await haproxy_router(state, port=taken.getsockname()[1]).prepare()
            assert await worker_pid(router) == pid

    async def test_moves_to_a_new_port(self, router: HAProxyRouter, state: Path, http: aiohttp.ClientSession) -> None:
        """A change of the port takes effect without a new start."""
        master, _ = await router._master.processes()
        moved = haproxy_router(state)
        await moved.prepare()
        assert (await moved._master.processes())[0] == master
        async with http.get(url(moved, "/user/none/")) as reply:
            assert reply.status == 424

    async def test_not_installed(self, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without HAProxy the error says what to install."""
        monkeypatch.setenv("PATH", str(state))
        monkeypatch.setattr(process, "SEARCH", ())
        with pytest.raises(MissingProgram) as caught:
            await haproxy_router(state).prepare()
        assert "apt-get install haproxy" in caught.value.hint

    async def test_own_words(self, state: Path) -> None:
        """What HAProxy does not accept is said in its words, and what runs is left alone."""
        async with running_haproxy(state) as router:
            pid = await worker_pid(router)
            with pytest.raises(RouterUnavailable, match=r"no_such_fetch"):
                await another(router, state, cors_allow_origin="%[no_such_fetch]").prepare()
            assert await worker_pid(router) == pid

    async def test_started_but_silent(self, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A start without an answer in time is an error."""
        monkeypatch.setattr(haproxy, "SWITCH_TIMEOUT", 0.0)
        router = haproxy_router(state)
        try:
            with pytest.raises(RouterUnavailable, match="did not answer"):
                await router.prepare()
        finally:
            await router.shutdown()

    async def test_path_too_long(self, tmp_path: Path) -> None:
        """A state folder whose sockets could not be made is refused with the setting's name."""
        with pytest.raises(ConfigError, match=r"^paths\.state: .* bytes too long"):
            haproxy_router(tmp_path / ("x" * 100))

    async def test_odd_path(self, http: aiohttp.ClientSession) -> None:
        """A state folder with spaces, quotes and signs works."""
        with folder_for_sockets() as folder:
            odd = folder / 'it\'s a "$HOME" %[x] #1'
            async with (
                running_haproxy(odd) as router,
                upstream("control", unix_socket=str(odd / "run" / "control.sock")),
                http.get(url(router, "/versions")) as reply,
            ):
                assert reply.status == 200

    async def test_pages_are_yours(self, state: Path, http: aiohttp.ClientSession) -> None:
        """Other pages can be given."""
        pages = ErrorPages(gone="<p>away</p>", session_down="<p>down</p>", control_down="<p>off</p>")
        plain = haproxy_router(state)
        router = HAProxyRouter(plain._server, state, state / "run" / "control.sock", pages=pages)
        try:
            await router.prepare()
            async with http.get(url(router, "/user/none/")) as reply:
                assert await reply.text() == "<p>away</p>"
        finally:
            await router.shutdown()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to drop")
    async def test_drops_privileges(self, state: Path, http: aiohttp.ClientSession) -> None:
        """As root, HAProxy serves as a user of its own when that user can reach the control plane."""
        await asyncio.to_thread(state.chmod, 0o755)
        async with running_haproxy(state) as router:
            socket_path = state / "run" / "control.sock"
            async with upstream("control", unix_socket=str(socket_path)):
                await asyncio.to_thread(socket_path.chmod, 0o666)
                async with http.get(url(router, "/versions")) as reply:
                    assert reply.status == 200
            owner = await asyncio.to_thread(psutil.Process, await worker_pid(router))
            assert owner.uids().real == pwd.getpwnam("haproxy").pw_uid

    async def test_stale_pid_file(self, state: Path) -> None:
        """A pid file that names another program's process is not believed."""
        run = state / "run"
        await asyncio.to_thread(run.mkdir)
        await asyncio.to_thread((run / "haproxy.pid").write_text, f"{os.getpid()}\n")
        async with running_haproxy(state) as router:
            assert await router.ping()


class TestStreams:
    """Large bodies pass without being kept."""

    async def test_upload_of_a_gigabyte(self, router: HAProxyRouter, http: aiohttp.ClientSession) -> None:
        """A gigabyte goes up, and HAProxy's memory stays where it was."""
        block = bytes(4 * 1024**2)

        async def body() -> AsyncIterator[bytes]:
            for _ in range(GIGABYTE // len(block)):
                yield block

        async with upstream() as up:
            await router.add(Route("s", up.address))
            async with (
                bounded_memory(router),
                http.put(url(router, "/user/s/sink"), data=body()) as reply,
            ):
                assert await reply.json() == {"bytes": GIGABYTE}

    async def test_download_of_a_gigabyte(self, router: HAProxyRouter, http: aiohttp.ClientSession) -> None:
        """A gigabyte comes down, and HAProxy's memory stays where it was."""
        async with upstream() as up:
            await router.add(Route("s", up.address))
            taken = 0
            async with (
                bounded_memory(router),
                http.get(url(router, f"/user/s/source?bytes={GIGABYTE}")) as reply,
            ):
                async for piece in reply.content.iter_any():
                    taken += len(piece)
            assert taken == GIGABYTE


class TestCounting:
    """What is activity and what is not."""

    async def test_live_websocket(self, router: HAProxyRouter, http: aiohttp.ClientSession) -> None:
        """The bytes of a WebSocket are counted while it is open, within seconds."""
        async with upstream() as up:
            await router.add(Route("s", up.address))
            async with http.ws_connect(url(router, "/user/s/ws"), max_msg_size=0) as channel:
                await channel.send_bytes(bytes(100_000))
                await channel.receive(timeout=5)
                async with asyncio.timeout(15):
                    while True:
                        seen = (await router.traffic())["s"]
                        if seen.bytes_in > 100_000 and seen.bytes_out > 100_000:
                            break
                        await channel.send_bytes(b"x")
                        await asyncio.sleep(0.2)
                assert seen.websockets == 1

    @pytest.mark.parametrize(
        ("method", "path", "counts"),
        [
            ("GET", "api", False),
            ("GET", "api/kernels?1731", False),
            ("GET", "api/sessions", False),
            ("HEAD", "api/terminals", False),
            ("GET", "api/status", False),
            ("GET", "api/kernelspecs", False),
            ("GET", "api/metrics/v1", False),
            ("GET", "lab/api/workspaces", False),
            ("PUT", "lab/api/workspaces/default", True),
            ("GET", "api/contents?content=1&hash=0&1731", False),
            ("GET", "api/contents/data/x?content=1&hash=0", False),
            ("GET", "api/contents/a.ipynb?type=notebook&content=1", True),
            ("PUT", "api/contents/a.ipynb", True),
            ("POST", "api/kernels", True),
            ("GET", "api/kernels/4711", True),
            ("GET", "lab", True),
            ("GET", "files/api/kernels", True),
        ],
    )
    async def test_polls_are_not_activity(
        self, router: HAProxyRouter, http: aiohttp.ClientSession, method: str, path: str, *, counts: bool
    ) -> None:
        """What JupyterLab asks for by itself is not counted; what a person does is."""
        async with upstream() as up:
            await router.add(Route("s", up.address))
            async with http.request(method, url(router, f"/user/s/{path}")) as reply:
                assert reply.status == 200
            assert ("s" in await router.traffic()) is counts

    async def test_adding_asks_the_same_of_haproxy_however_many_there_are(
        self, router: HAProxyRouter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One more route is one entry more in HAProxy's memory: nothing is listed, sent again, or loaded anew."""
        asked: list[str] = []
        exchange = HAProxyClient._exchange

        async def noted(client: HAProxyClient, command: str) -> str:
            asked.append(command)
            return await exchange(client, command)

        monkeypatch.setattr(HAProxyClient, "_exchange", noted)
        await router.add(Route("r-x", "127.0.0.1:9"))
        first = list(asked)
        await asyncio.gather(*(router.add(Route(f"r-{n}", "127.0.0.1:9")) for n in range(100)))
        asked.clear()
        await router.add(Route("r-y", "127.0.0.1:9"))
        assert asked == [command.replace("r-x", "r-y") for command in first]
        assert len(asked) <= 2


CONTROL_PLANE = """
import asyncio, sys
from pathlib import Path
from binderlet.config.schema import ServerSettings
from binderlet.model import Route
from binderlet.router.haproxy import HAProxyRouter

async def main(state, port, address):
    router = HAProxyRouter(ServerSettings(host="127.0.0.1", port=port), state, state / "run" / "control.sock")
    await router.prepare()
    await router.add(Route("s", address))
    print("routed", flush=True)
    await asyncio.sleep(60)

asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
"""


@asynccontextmanager
async def ended_afterwards(state: Path, port: int) -> AsyncIterator[HAProxyRouter]:
    """Give the router of the next control plane, and end the HAProxy of the last one."""
    router = haproxy_router(state, port=port)
    try:
        yield router
    finally:
        await router.shutdown()


@asynccontextmanager
async def bounded_memory(router: HAProxyRouter) -> AsyncIterator[None]:
    """Check that HAProxy's peak memory grows by less than 20 MB."""
    pid = await worker_pid(router)
    before = await asyncio.to_thread(_peak_memory, pid)
    yield
    assert await asyncio.to_thread(_peak_memory, pid) - before < 20 * 1024**2


def _peak_memory(pid: int) -> int:
    """Give a process's largest resident size in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _is_zombie(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_notes_are_kept(state: Path) -> None:
    """What is noted for HAProxy to look up is there after its next start, too, until it is taken away."""
    settings = ServerSettings(host="127.0.0.1", port=free_port())
    others = Others(free_port(), "ab")
    router = HAProxyRouter(settings, state, state / "run" / "control.sock", others=others)
    try:
        await router.prepare()
        await router.note("leader", "127.0.0.1:1")
        await router.note("synced", "yes")
        await router.shutdown()
        await router.prepare()
        client = HAProxyClient(state / "run" / "haproxy.sock")
        assert await client.map_entries("pair.map") == {"leader": "127.0.0.1:1", "synced": "yes"}
        await router.note("leader", "")
        assert await client.map_entries("pair.map") == {"synced": "yes"}
    finally:
        await router.shutdown()
