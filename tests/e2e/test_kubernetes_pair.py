"""Two control planes in a real cluster, from the chart: what survives what."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import Iterator

import aiohttp
import pytest

from support.cluster import Cluster, cluster, import_command
from support.own_image import make_own_image
from support.pair import Pod, Poller, Release, get, path_of
from support.service import docker
from support.visit import wait_for

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.kube,
    pytest.mark.docker,
    pytest.mark.haproxy,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed"),
]


@pytest.fixture(scope="module")
def kube() -> Iterator[Cluster]:
    """A namespace of a cluster that takes images."""
    with cluster() as ours:
        if not import_command():
            pytest.skip("KUBE_IMPORT names no command that puts images on the cluster's nodes")
        yield ours


@pytest.fixture(scope="module")
def images(kube: Cluster) -> Iterator[tuple[str, str]]:
    """Two releases, on the nodes."""
    names = (f"{kube.namespace}/own:1", f"{kube.namespace}/own:2")
    make_own_image(*names)
    with subprocess.Popen([docker(), "save", *names], stdout=subprocess.PIPE) as saving:
        subprocess.run(import_command(), stdin=saving.stdout, check=True, capture_output=True)
    yield names
    subprocess.run([docker(), "image", "rm", "--force", *names], check=True, capture_output=True)


@pytest.fixture(scope="module")
def release(kube: Cluster, images: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """The chart, both pods running."""
    installed = Release(kube, tmp_path_factory.mktemp("chart"), images[0])
    installed.put(images[0])
    yield installed
    installed.helm("uninstall", "pair")


async def echoes(socket: aiohttp.ClientWebSocketResponse) -> bool:
    """Whether a message comes back."""
    await socket.send_str("hello")
    return str((await socket.receive(timeout=20)).data) == "hello"


async def test_the_leader_dies(release: Release) -> None:
    """Who came through the other's HAProxy notices nothing, in seconds the other leads, and nothing is lost."""
    leader, other = await asyncio.to_thread(lambda: (release.leader(), release.follower()))
    path = await asyncio.to_thread(other.ready)
    assert (await asyncio.to_thread(get, leader.url + path))[0] == 200
    async with aiohttp.ClientSession() as http, http.ws_connect(other.url + path + "ws") as socket:
        assert await echoes(socket)
        await asyncio.to_thread(release.kill, leader)
        await asyncio.to_thread(_leads, release, other)
        assert await echoes(socket)
        assert (await asyncio.to_thread(get, other.url + path))[0] == 200
        second = await asyncio.to_thread(other.ready)
        await asyncio.to_thread(release.settle)
        for pod in await asyncio.to_thread(release.pods):
            for each in (path, second):
                assert (await asyncio.to_thread(get, pod.url + each))[0] == 200
        assert await echoes(socket)
    assert await asyncio.to_thread(release.sessions) == 2


def _leads(release: Release, pod: Pod) -> None:
    wait_for(lambda: release.leader() == pod, seconds=60, what="the other one leads")
    wait_for(lambda: get(f"{pod.url}health")[0] == 200, seconds=60, what="it answers")


def test_a_launch_under_way_is_gone_on_with(release: Release) -> None:
    """A session that started under a leader that died is announced by the next one to whoever comes back."""
    before = release.sessions()
    leader, other = release.leader(), release.follower()
    watched = other.launch()
    last = next(watched)["id"]
    wait_for(lambda: release.sessions() > before, seconds=60, what="the session's pod is there")
    release.kill(leader)
    watched.close()
    _leads(release, other)
    *_, ready = list(other.launch(after=last))
    assert ready.get("phase") == "ready", ready
    assert ready["id"].partition("-")[0] == last.partition("-")[0]
    assert get(other.url + path_of(ready))[0] == 200
    assert release.sessions() == before + 1
    release.settle()


def test_upgrade_and_rollback(release: Release, images: tuple[str, str]) -> None:
    """While all pods are replaced sessions are reached, and nobody is turned away; the same on the way back."""
    path = release.leader().ready()
    service = release.kube.kubectl("get", "service", release.name, "-o", "jsonpath={.spec.clusterIP}")
    with Poller(f"http://{service}/{path}").going() as poller:
        release.put(images[1], '[cull]\nidle = "6s"\nevery = "1s"\n')
        assert release.images() == {images[1]}
        assert release.follower().ready()
    assert (poller.wrong, poller.asked > 10) == ([], True)
    follower = release.follower()
    with Poller(f"{follower.url}{path}").going() as poller:
        time.sleep(9)
    assert poller.wrong == [], "who comes by the other HAProxy is not idle"
    wait_for(lambda: not release.sessions(), seconds=60, what="sessions that nobody uses end")
    release.helm("rollback", "pair", "1")
    release.settle()
    assert release.images() == {images[0]}
    assert get(release.follower().url + release.leader().ready())[0] == 200
