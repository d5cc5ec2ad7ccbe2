"""Who the others are, and what they say."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from binderlet.errors import EngineUnavailable, RouterUnavailable
from binderlet.model import Traffic
from binderlet.pair.peers import Find, Peers, by_address, by_labels, peer_of
from support.lease_api import NAMESPACE, lease_api


def pod(name: str = "p", **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Give a pod of the pair."""
    containers = [{"name": "control-plane", "state": {}}, {"name": "haproxy", "state": {"running": {}}}]
    status = {"phase": "Running", "podIP": "10.0.0.7", "containerStatuses": containers}
    return {"metadata": {"name": name} | changes.pop("metadata", {}), "status": status | changes}


@pytest.mark.parametrize(
    ("item", "found"),
    [
        (pod(), ("p", "10.0.0.7:8586")),
        (pod(podIP=""), None),
        (pod(metadata={"deletionTimestamp": "now"}), None),
        (pod(containerStatuses=[{"name": "haproxy", "state": {"waiting": {}}}]), None),
        (pod(containerStatuses=[{"name": "haproxy"}]), None),
        ({"metadata": {"name": "p"}}, None),
    ],
)
def test_whose_haproxy_runs(item: dict[str, Any], found: tuple[str, str] | None) -> None:
    """A pod counts while its HAProxy runs, whatever its control plane does, and until it is told to go."""
    assert peer_of(item, 8586) == found


async def test_found_by_labels() -> None:
    """The others are the pods with the chart's labels, but for this one."""
    async with lease_api() as (api, client):
        api.pods = [pod("me"), pod("other"), pod("third", podIP="")]
        find = by_labels(client, NAMESPACE, "binderlet", me="me", port=8586)
        assert await find() == {"other": "10.0.0.7:8586"}
        api.fails = 500
        with pytest.raises(EngineUnavailable):
            await find()


async def test_found_by_settings() -> None:
    """The others are those that the settings name."""
    assert await by_address(["1.2.3.4:5"])() == {"1.2.3.4:5": "1.2.3.4:5"}


@dataclass
class Other:
    """Another one's door."""

    address: str = ""
    body: bytes = b"{}"
    status: int = 200
    tag: str = '"1"'
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer what the test wants."""
        known = request.headers.get("If-None-Match", "")
        self.asked.append((request.path, request.headers.get("x-binderlet-pair", ""), known))
        if known == self.tag:
            return web.Response(status=304, headers={"ETag": self.tag})
        return web.Response(body=self.body, status=self.status, headers={"ETag": self.tag})


@pytest.fixture
async def other() -> AsyncIterator[Other]:
    """One that answers."""
    served = Other()
    app = web.Application()
    app.router.add_get("/{path:.*}", served.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.05, handle_signals=False, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.address = f"127.0.0.1:{runner.addresses[0][1]}"
    yield served
    await runner.cleanup()


@pytest.fixture
async def peers(other: Other) -> AsyncIterator[Peers]:
    """What asks it."""
    made = Peers(by_address([other.address]), "secret")
    yield made
    await made.close()
    await made.close()


async def test_what_the_others_counted(other: Other, peers: Peers) -> None:
    """Each says what its HAProxy counted, to whoever knows the secret."""
    other.body = json.dumps({"s": [1, 2, 3, 4]}).encode()
    assert await peers.traffic() == {other.address: {"s": Traffic(1, 2, 3, 4)}}
    assert other.asked == [("/pair/traffic", "secret", "")]


@pytest.mark.parametrize(("status", "body"), [(503, b"{}"), (302, b"{}"), (200, b"[1]"), (200, b'{"s": [1]}')])
async def test_one_that_says_nothing_of_use(other: Other, peers: Peers, status: int, body: bytes) -> None:
    """Where one does not say what it counted nobody knows who is idle: an error, not a zero."""
    other.status, other.body = status, body
    with pytest.raises(RouterUnavailable, match="does not say"):
        await peers.traffic()


async def test_one_that_is_away() -> None:
    """The same where it cannot be reached, and where the cluster does not say who there is."""
    peers = Peers(by_address(["127.0.0.1:1"]), "secret")
    with pytest.raises(RouterUnavailable, match="does not say"):
        await peers.traffic()
    with pytest.raises(RouterUnavailable, match="does not answer"):
        await peers.told("127.0.0.1:1")
    await peers.close()

    async def unknown() -> dict[str, str]:
        raise EngineUnavailable("No cluster.")

    find: Find = unknown
    with pytest.raises(RouterUnavailable, match="not known: No cluster"):
        await Peers(find, "secret").traffic()


async def test_what_the_leader_tells_is_fetched_once(other: Other, peers: Peers) -> None:
    """What did not change is not sent again."""
    other.body = b'{"files": {}}'
    assert await peers.told(other.address) == {"files": {}}
    assert await peers.told(other.address) is None
    other.tag = '"2"'
    assert await peers.told(other.address) == {"files": {}}
