"""One control plane of several: it follows, leads when nobody else does, and leaves without a trace."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from binderlet.app import pair as module
from binderlet.app.machinery import Machinery
from binderlet.app.pair import check, keep_standbys, name_of, secret_of, serve_pair, vanish
from binderlet.app.run import Handle
from binderlet.builder.fake import FakeBuilder
from binderlet.config import Settings
from binderlet.config.network import NetworkEnvironment
from binderlet.engine.fake import FakeEngine
from binderlet.errors import AddressInUse, ConfigError, EngineUnavailable
from binderlet.images.fake import FakeImages
from binderlet.router.process import HAProxyProcess
from binderlet.sessions.adoptions import AdoptionFiles
from binderlet.tasks import Tasks
from support.engine_harness import SPEC, spec_of
from support.eventually import eventually
from support.kube_api import NAMESPACE, KubeApi, kube_api
from support.routers import folder_for_sockets
from support.upstreams import free_port

TOKEN_SECRET = "ab" * 32


@pytest.fixture
async def api() -> AsyncIterator[KubeApi]:
    """An API server of our own, with a Lease that nobody holds."""
    async with kube_api() as served:
        served.leases.put({"metadata": {"name": "pair"}, "spec": {}})
        yield served


def settings(**sections: object) -> Settings:
    """Give settings of one of a pair."""
    mine: dict[str, object] = {
        "engine": {"kind": "kubernetes"},
        "security": {"build_token_secret": TOKEN_SECRET},
        "pair": {"lease": "pair"},
    }
    return Settings.model_validate(mine | sections)


def kubeconfig(folder: Path, api: KubeApi) -> str:
    """Write how to reach the API server."""
    path = folder / "kubeconfig"
    context = {"cluster": "c", "namespace": NAMESPACE}
    content = {
        "current-context": "x",
        "contexts": [{"name": "x", "context": context}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{api.port}"}}],
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"engine": {"kind": "docker"}}, "need sessions in a cluster"),
        ({"security": {}}, "must have the same one"),
        ({"https": {"mode": "acme", "domains": ["x.example.org"]}}, "share no certificate"),
    ],
)
def test_settings_that_do_not_fit(sections: dict[str, object], said: str) -> None:
    """What several control planes cannot do is refused before anything starts."""
    check(settings())
    with pytest.raises(ConfigError, match=said):
        check(settings(**sections))


def test_names_and_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is the host's unless it is set; the secret follows from the settings alone."""
    monkeypatch.setattr("socket.gethostname", lambda: "pod-1")
    assert name_of(settings()) == "pod-1"
    assert name_of(settings(pair={"lease": "l", "identity": "x"})) == "x"
    assert secret_of(settings()) == secret_of(settings())
    assert secret_of(settings()) != secret_of(settings(security={"build_token_secret": "cd" * 32}))
    assert TOKEN_SECRET not in secret_of(settings())


async def test_standbys_of_an_earlier_leader_are_handed_out_to_nobody(tmp_path: Path) -> None:
    """Each counts as adopted; what is known of one stays."""
    engine, files = FakeEngine(), AdoptionFiles(tmp_path)
    await engine.start(SPEC)
    for name in ("one", "two"):
        spec = spec_of(name)
        await engine.start(type(spec)(**{**{key: getattr(spec, key) for key in spec.__slots__}, "standby": "key"}))
    await keep_standbys(engine, files)
    before = await asyncio.to_thread(files.load)
    assert set(before) == {"one", "two"}
    await keep_standbys(engine, files)
    assert await asyncio.to_thread(files.load) == before
    await engine.close()


@dataclass
class Member:
    """One of a pair that runs in this process."""

    handle: Handle
    running: asyncio.Task[None]
    ended: list[int]
    url: str

    async def health(self) -> int:
        """Ask it as a visitor; 0 where nothing answers."""
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self.url}health") as answer:
                return answer.status
        except aiohttp.ClientError:
            return 0


@asynccontextmanager
async def member(api: KubeApi, name: str, **pair: object) -> AsyncIterator[Member]:
    """Run one until the block ends, its HAProxy too."""
    ready: asyncio.Future[Handle] = asyncio.get_running_loop().create_future()
    ended: list[int] = []
    async with AsyncExitStack() as stack:
        state = stack.enter_context(folder_for_sockets())
        port = free_port()
        wanted = settings(
            server={"host": "127.0.0.1", "port": port, "instance": "t1"},
            paths={"state": state},
            kubernetes={"kubeconfig": kubeconfig(state, api)},
            providers={"git": {"local_folders": [str(state)]}},
            builder={"min_free_disk": 0},
            pair={
                "lease": "pair",
                "identity": name,
                "address": "127.0.0.1",
                "port": free_port(),
                "lease_for": "3s",
                "renew_every": "0.2s",
                **pair,
            },
        )
        stack.push_async_callback(HAProxyProcess(state / "run", host="127.0.0.1", port=port).end)
        tasks = await stack.enter_async_context(Tasks(name))
        serving = serve_pair(wanted, NetworkEnvironment(), state, ready.set_result, lambda _: None, end=ended.append)
        running = tasks.start(serving, name="serve")
        waited: set[asyncio.Future[Any]] = {running, ready}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        yield Member(await ready, running, ended, f"http://127.0.0.1:{port}/")


@pytest.fixture
def engines(api: KubeApi, monkeypatch: pytest.MonkeyPatch) -> list[FakeEngine]:
    """What each leader works with is fake, and in this list."""
    made: list[FakeEngine] = []

    async def machinery(*_: object) -> Machinery:
        made.append(FakeEngine(serve=True))
        images = FakeImages()
        return Machinery(made[-1], images, FakeBuilder(), "fake", images.close)

    monkeypatch.setattr(module, "kubernetes_machinery", machinery)
    return made


@pytest.mark.haproxy
@pytest.mark.timeout(60)
async def test_one_leads_and_the_other_takes_over(api: KubeApi, engines: list[FakeEngine]) -> None:
    """Both answer by the one that leads; when that leaves, the other does it, and neither cancels anything."""
    async with member(api, "a") as one:
        await eventually(lambda: _well(one), seconds=20)
        async with member(api, "b", peers=["127.0.0.1:1"]) as other:
            await eventually(lambda: _well(other), seconds=20)
            assert len(engines) == 1
            one.handle.leave()
            await asyncio.wait_for(asyncio.wait({one.running}), 20)
            assert one.ended == [0]
            await eventually(lambda: _well(other), seconds=20)
            assert len(engines) == 2
            assert await one.health() == 503
            other.running.cancel()
            await asyncio.wait_for(asyncio.wait({other.running}), 20)
            assert other.ended == [0]


async def _well(one: Member) -> bool:
    return await one.health() == 200


@pytest.mark.haproxy
async def test_one_that_never_led_leaves(api: KubeApi, engines: list[FakeEngine]) -> None:
    """Asked to leave while another leads, it goes, and that one is not disturbed."""
    api.leases.put({"metadata": {"name": "pair"}, "spec": {"holderIdentity": "z", "leaseDurationSeconds": 9999}})
    async with member(api, "a") as one:
        one.handle.leave()
        await asyncio.wait_for(asyncio.wait({one.running}), 20)
        assert one.ended == [0]
    assert engines == []
    assert (api.leases.lease or {})["spec"]["holderIdentity"] == "z"


@pytest.mark.haproxy
@pytest.mark.parametrize("problem", [EngineUnavailable("No engine."), RuntimeError("broken")])
async def test_one_that_cannot_lead(api: KubeApi, problem: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives the Lease back and ends, so that another may try."""

    async def machinery(*_: object) -> Machinery:
        raise problem

    monkeypatch.setattr(module, "kubernetes_machinery", machinery)
    async with member(api, "a") as one:
        await asyncio.wait_for(asyncio.wait({one.running}), 20)
        assert one.ended == [1]
    assert (api.leases.lease or {})["spec"]["holderIdentity"] == ""


@pytest.mark.haproxy
@pytest.mark.timeout(60)
async def test_a_leader_that_cannot_renew_ends_at_once(
    api: KubeApi, engines: list[FakeEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the cluster takes no renewal the leader ends by its own clock, before another may lead."""
    ended: list[int] = []
    monkeypatch.setattr(module, "vanish", ended.append)
    async with member(api, "a") as one:
        await eventually(lambda: _well(one), seconds=20)
        api.leases.fails = 500
        await eventually(lambda: ended == [1], seconds=20)


async def test_one_that_cannot_begin(api: KubeApi) -> None:
    """Where HAProxy's port is taken it says so, and stands for nothing."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(AddressInUse):
            async with member(api, "a", port=taken.getsockname()[1]):
                pytest.fail("it began")
    assert (api.leases.lease or {})["spec"] == {}


def test_vanishing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends at once, with what it had printed."""
    ended: list[int] = []
    monkeypatch.setattr("os._exit", ended.append)
    vanish(3)
    assert ended == [3]
