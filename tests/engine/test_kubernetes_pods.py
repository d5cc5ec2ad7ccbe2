"""The mirror of pods: what it shows, tells, and does when the cluster goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from binderlet.clients.kubernetes import KubernetesClient
from binderlet.config.kubernetes import KubernetesSettings
from binderlet.config.schema import EngineSettings
from binderlet.engine import kubernetes_pods as module
from binderlet.engine.kubernetes_pods import PodMirror, pause
from binderlet.engine.kubernetes_spec import pod_from_api, pod_name, pod_request, selector
from binderlet.errors import EngineUnavailable
from binderlet.model import SessionState
from support.engine_harness import SPEC, spec_of
from support.eventually import eventually
from support.kube_api import NAMESPACE, Json, KubeApi, access_to, kube_api

PATH = f"api/v1/namespaces/{NAMESPACE}/pods"


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubeApi]:
    """An API server of our own, and a mirror that loses no time."""
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.1)
    monkeypatch.setattr(module, "SHORTEST_WATCH", 0.01)
    async with kube_api() as served:
        yield served


@pytest.fixture
async def mirror(api: KubeApi) -> AsyncIterator[PodMirror]:
    """A mirror of its sessions."""
    client = KubernetesClient(access_to(api))
    opened = PodMirror(client, PATH, selector("t1"))
    yield opened
    await opened.close()
    await client.close()


def pod(name: str = SPEC.id, phase: str = "Running") -> Json:
    """Give a pod that runs, or is in another phase."""
    made = pod_request(spec_of(name), EngineSettings(), KubernetesSettings(), "t1")
    made["metadata"]["uid"] = f"uid-{name}"
    status = {"name": "session", "containerID": f"containerd://{name}", "state": {"running": {}}}
    return {**made, "status": {"phase": phase, "podIP": "10.0.0.1", "containerStatuses": [status]}}


async def test_shows_what_is(api: KubeApi, mirror: PodMirror) -> None:
    """After the first list it shows what there is, then what changes."""
    api.add(pod("a"))
    await mirror.synced()
    assert [one.session.id for one in mirror.pods.values()] == ["a"]
    api.add(pod("b"))
    await eventually(lambda: len(mirror.pods) == 2)
    api.remove(pod_name("t1", "a"))
    await eventually(lambda: [one.session.id for one in mirror.pods.values()] == ["b"])


async def test_foreign_pods_are_left_out(api: KubeApi, mirror: PodMirror) -> None:
    """A pod with our labels but no annotations is nobody's session."""
    await mirror.synced()
    stranger = pod("stranger")
    stranger["metadata"]["annotations"] = {}
    api.add(stranger)
    api.add(pod("a"))
    await eventually(lambda: [one.session.id for one in mirror.pods.values()] == ["a"])


async def test_first_list_tells_of_nothing(api: KubeApi, mirror: PodMirror) -> None:
    """What had ended before anybody watched is not told: whoever watches lists as well."""
    api.add(pod("old", phase="Failed"))
    watch = mirror.endings()
    await mirror.synced()
    api.add(pod("new"))
    api.end(pod_name("t1", "new"))
    assert (await asyncio.wait_for(anext(watch), 5)).id == "new"


async def test_end_is_told_once(api: KubeApi, mirror: PodMirror) -> None:
    """Of an end, a later change and the removal, only the end is told; each watch is told."""
    watches = [mirror.endings(), mirror.endings()]
    await mirror.synced()
    for name in ("a", "b"):
        api.add(pod(name))
    name = pod_name("t1", "a")
    api.end(name)
    api.update(name, message="later")
    api.remove(name)
    api.remove(pod_name("t1", "b"))
    for watch in watches:
        seen = [await asyncio.wait_for(anext(watch), 5) for _ in range(2)]
        assert [(one.id, one.ended_because) for one in seen] == [("a", "it was killed"), ("b", "its pod was deleted")]


async def test_ends_while_it_was_blind(api: KubeApi, mirror: PodMirror) -> None:
    """What ended or went while no watch worked is told after the next list."""
    for name in ("ended", "gone", "stays"):
        api.add(pod(name))
    await mirror.synced()
    watch = mirror.endings()
    await eventually(lambda: api.watching == 1)
    api.deaf = True
    api.end(pod_name("t1", "ended"))
    api.remove(pod_name("t1", "gone"))
    api.compact()
    api.deaf = False
    api.cut()
    seen = {(await asyncio.wait_for(anext(watch), 5)).id for _ in range(2)}
    assert seen == {"ended", "gone"}
    assert mirror.lists == 2


async def test_server_goes_away(api: KubeApi, mirror: PodMirror) -> None:
    """Watches end with an error; waiting for the mirror fails while it is away, and works again afterwards."""
    await mirror.synced()
    watch = mirror.endings()
    await api.down()
    with pytest.raises(EngineUnavailable):
        await asyncio.wait_for(anext(watch), 5)
    with pytest.raises(EngineUnavailable):
        await mirror.synced()
    await api.up()
    await eventually(lambda: mirror.lists == 2)
    await mirror.synced()


async def test_refused_watch_reads_all_again(api: KubeApi, mirror: PodMirror) -> None:
    """A refusal that is not about the version counts as lost, too."""
    await mirror.synced()
    await eventually(lambda: api.watching == 1)
    watch = mirror.endings()
    api.forbidden = "pods"
    api.cut()
    with pytest.raises(EngineUnavailable, match="cannot list"):
        await asyncio.wait_for(anext(watch), 5)
    api.forbidden = ""
    await eventually(lambda: mirror.lists == 2)


async def test_error_of_our_own(api: KubeApi, mirror: PodMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a mistake in the mirror itself ends in another attempt, and whoever watches is told."""

    def broken(_item: object) -> None:
        raise RuntimeError("a mistake")

    api.add(pod("a"))
    with monkeypatch.context() as patch:
        patch.setattr(module, "pod_from_api", broken)
        with pytest.raises(EngineUnavailable, match="cannot be followed"):
            await mirror.synced()
    await eventually(lambda: len(mirror.pods) == 1)


async def test_nonsense_from_the_server(api: KubeApi, mirror: PodMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that makes no sense counts as no answer."""
    monkeypatch.setattr(module, "pod_from_api", lambda item: item["absent"])
    api.add(pod("a"))
    with pytest.raises(EngineUnavailable, match="no sense"):
        await mirror.synced()


async def test_pods_that_were_read_by_themselves(api: KubeApi, mirror: PodMirror) -> None:
    """What a call gave is taken in where the watch has nothing newer."""
    await mirror.synced()
    running = pod_from_api(pod("a"))
    assert running is not None
    mirror.add(None)
    mirror.add(running)
    starting = replace(running, session=replace(running.session, state=SessionState.STARTING))
    mirror.add(starting)
    assert mirror.pods[running.name] is running
    mirror.correct(starting)
    assert mirror.pods[running.name] is starting
    ended = replace(running, session=replace(running.session, state=SessionState.ENDED))
    mirror.correct(ended)
    mirror.correct(running)
    assert mirror.pods[running.name] is ended


async def test_noting_changes(api: KubeApi, mirror: PodMirror) -> None:
    """Whoever waits for one pod wakes at its changes only; two may wait for one."""
    await mirror.synced()
    with mirror.noting(pod_name("t1", "a")) as first, mirror.noting(pod_name("t1", "a")) as second:
        api.add(pod("b"))
        await eventually(lambda: len(mirror.pods) == 1)
        assert not first.is_set()
        api.add(pod("a"))
        await asyncio.wait_for(asyncio.gather(first.wait(), second.wait()), 5)


def test_pauses_grow_to_a_limit() -> None:
    """Attempts become rarer, up to a limit, and those of many clients do not fall together."""
    assert all(0.5 * 0.25 <= pause(1) <= 0.25 for _ in range(20))
    assert all(4 <= pause(20) <= 8 for _ in range(20))


async def test_close_before_the_first_list(api: KubeApi) -> None:
    """Closing lets go who still waits, and closing twice is fine."""
    client = KubernetesClient(access_to(api))
    api.throttle = 10**6
    mirror = PodMirror(client, PATH, selector("t1"))
    waiting = asyncio.gather(mirror.synced())
    await eventually(lambda: bool(api.calls))
    await mirror.close()
    with pytest.raises(EngineUnavailable, match="closed"):
        await waiting
    await mirror.close()
    await client.close()
