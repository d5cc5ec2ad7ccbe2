"""One that does not lead, with a real HAProxy: routes from the cluster, and the way to the leader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from binderlet.api.server import UnixServer
from binderlet.clients.kubernetes import KubernetesClient
from binderlet.config.kubernetes import KubernetesSettings
from binderlet.config.schema import EngineSettings, ServerSettings
from binderlet.engine.kubernetes_pods import PodMirror
from binderlet.engine.kubernetes_spec import pod_name, pod_request, selector
from binderlet.model import Route, SessionSpec
from binderlet.pair.door import Door
from binderlet.pair.follower import Follower
from binderlet.pair.peers import Peers, by_address
from binderlet.router.config import Others
from binderlet.router.haproxy import HAProxyRouter
from binderlet.tasks import Tasks
from support.engine_harness import SPEC, spec_of
from support.eventually import eventually
from support.kube_api import KubeApi, access_to, kube_api
from support.routers import folder_for_sockets
from support.upstreams import free_port, upstream

pytestmark = pytest.mark.haproxy
SECRET = "a1b2c3"


class Announcing:
    """A leader that led visitors to these sessions."""

    announced = frozenset({SPEC.id})


@dataclass
class World:
    """A follower, the cluster it looks at, and another HAProxy that may be the leader's."""

    api: KubeApi
    router: HAProxyRouter
    leader: HAProxyRouter
    leader_door: Door
    follower: Follower
    http: aiohttp.ClientSession
    state: Path
    leader_at: str = ""
    leads: list[str] = field(default_factory=lambda: [""])
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, spec: SessionSpec, address: str) -> None:
        """Have a session run at an address."""
        pod = pod_request(spec, EngineSettings(), KubernetesSettings(), "t1")
        host, _, port = address.rpartition(":")
        pod["metadata"] |= {"uid": spec.id, "namespace": "binder"}
        pod["metadata"]["annotations"]["binderlet.port"] = port
        running = {"name": "session", "state": {"running": {}}, "containerID": f"containerd://{spec.id}"}
        pod["status"] = {"phase": "Running", "podIP": host, "containerStatuses": [running]}
        self.api.add(pod)

    async def get(self, path: str) -> tuple[int, str]:
        """Ask the follower's HAProxy as a visitor."""
        async with self.http.get(f"http://127.0.0.1:{self.router.url_port}{path}", allow_redirects=False) as answer:
            return answer.status, await answer.text()


def router_at(state: Path, door: int) -> HAProxyRouter:
    """Give an HAProxy of a pair."""
    server = ServerSettings(host="127.0.0.1", port=free_port())
    return HAProxyRouter(server, state, state / "run" / "control.sock", others=Others(door, SECRET))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """All of it, the follower not yet running."""
    with folder_for_sockets() as one, folder_for_sockets() as two:
        doors = (free_port(), free_port())
        router, leader = router_at(one, doors[0]), router_at(two, doors[1])
        async with kube_api() as api, aiohttp.ClientSession() as http, Tasks("test") as tasks:
            client = KubernetesClient(access_to(api))
            mirror = PodMirror(client, "api/v1/namespaces/binder/pods", selector("t1"))
            peers = Peers(by_address([]), SECRET)
            leads, news = [""], asyncio.Event()
            follower = Follower(mirror, router, peers, one, leader=lambda: leads[0], news=news)
            door = Door(leader, two)
            server = UnixServer(door.app, two / "run" / "pair.sock", mode=0o666, shutdown_timeout=1)
            try:
                await router.prepare()
                await leader.prepare()
                await server.start(tasks)
                address = f"127.0.0.1:{doors[1]}"
                yield World(api, router, leader, door, follower, http, one, address, leads, news)
            finally:
                await server.stop()
                await mirror.close()
                await peers.close()
                await client.close()
                await router.shutdown()
                await leader.shutdown()


@pytest.fixture
async def running(world: World) -> AsyncIterator[World]:
    """The same with the follower running, and its routes true."""
    async with Tasks("test") as tasks:
        tasks.start(world.follower.run(), name="follower")
        await asyncio.wait_for(world.follower.ready.wait(), 15)
        yield world


async def test_sessions_are_reached(running: World) -> None:
    """A session that runs in the cluster is reached here, one that ended is not, and nobody told but the cluster."""
    async with upstream("a") as a:
        running.add(SPEC, a.address)
        await eventually(lambda: running.follower.sessions != [])
        await eventually(lambda: _is(running, f"/user/{SPEC.id}/x", 200))
        running.api.remove(pod_name("t1", SPEC.id))
        await eventually(lambda: _is(running, f"/user/{SPEC.id}/x", 424))


async def _is(world: World, path: str, status: int) -> bool:
    return (await world.get(path))[0] == status


async def test_what_is_not_known_here_goes_to_the_leader(running: World) -> None:
    """Pages, and sessions that are not known here yet, are answered by the leader; without one, as without it."""
    assert (await running.get("/"))[0] == 503
    async with upstream("b") as b:
        running.leads[0] = running.leader_at
        running.news.set()
        # Nobody listens on the leader's own socket: its HAProxy says so.
        await eventually(lambda: _is(running, "/user/none/", 424))
        await running.leader.add(Route("only-there", b.address))
        status, text = await running.get("/user/only-there/x?y")
        assert (status, '"name": "b"' in text) == (200, True)
        assert "x-binderlet-pair" not in text
        assert '"x-forwarded-for": "127.0.0.1"' in text


async def test_what_the_leader_tells(running: World) -> None:
    """Files and the sessions that were announced come from the leader, once it leads, and again when they change."""
    folder = running.leader_door._state
    (folder / "activity.json").write_text("one")
    running.leads[0] = running.leader_at
    running.news.set()
    running.leader_door.leading = Announcing()
    await eventually(lambda: running.follower.announced == Announcing.announced, seconds=15)
    assert (running.state / "activity.json").read_text() == "one"
    (folder / "activity.json").write_text("two")
    await eventually(lambda: (running.state / "activity.json").read_text() == "two", seconds=15)


async def test_haproxy_was_killed(running: World) -> None:
    """A HAProxy that is gone is started again, with all routes."""
    async with upstream("a") as a:
        running.add(SPEC, a.address)
        await eventually(lambda: _is(running, f"/user/{SPEC.id}/x", 200))
        await running.router.shutdown()
        running.add(spec_of("second"), a.address)

        async def again() -> bool:
            try:
                return await _is(running, "/user/second/", 200) and await _is(running, f"/user/{SPEC.id}/x", 200)
            except aiohttp.ClientError:
                return False

        await eventually(again, seconds=15)


async def test_the_cluster_is_away(running: World) -> None:
    """While the cluster does not answer, routes stay as they are."""
    async with upstream("a") as a:
        running.add(SPEC, a.address)
        await eventually(lambda: _is(running, f"/user/{SPEC.id}/x", 200))
        await running.api.down()
        await asyncio.sleep(0.3)
        assert await _is(running, f"/user/{SPEC.id}/x", 200)
        await running.api.up()
        running.api.remove(pod_name("t1", SPEC.id))
        await eventually(lambda: _is(running, f"/user/{SPEC.id}/x", 424), seconds=15)
