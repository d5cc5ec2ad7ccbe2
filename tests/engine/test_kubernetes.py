"""Pods under adverse conditions: quotas, full nodes, registries that fail, API servers that go away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from binderlet.clients import kubernetes as client_module
from binderlet.clients.kubernetes import KubernetesClient
from binderlet.config.kubernetes import KubernetesSettings
from binderlet.config.schema import EngineSettings
from binderlet.engine import kubernetes as engine_module
from binderlet.engine import kubernetes_pods as mirror_module
from binderlet.engine.kubernetes import KubernetesEngine
from binderlet.engine.kubernetes_spec import pod_name
from binderlet.errors import EngineUnavailable, Full, ImageMissing, LaunchFailed, SessionDied
from binderlet.model import SessionSpec, SessionState
from support.engine_harness import SPEC, spec_of
from support.eventually import eventually
from support.kube_api import KubeApi, access_to, engine_on, kube_api

NAME = pod_name("t1", SPEC.id)


@pytest.fixture
async def api() -> AsyncIterator[KubeApi]:
    """An API server of our own."""
    async with kube_api() as served:
        served.images = {SPEC.image}
        yield served


Open = Callable[..., KubernetesEngine]


@pytest.fixture
async def open_engine(api: KubeApi, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Open]:
    """Open engines on it, which do everything sooner than in life."""
    for module, name in ((engine_module, "TOLD_AFTER"), (engine_module, "LOOK_EVERY"), (mirror_module, "FIRST_PAUSE")):
        monkeypatch.setattr(module, name, 0.05)
    monkeypatch.setattr(mirror_module, "SHORTEST_WATCH", 0.01)
    opened: list[KubernetesEngine] = []

    def run(**settings: object) -> KubernetesEngine:
        opened.append(engine_on(api, settings=KubernetesSettings.model_validate(settings)))
        return opened[-1]

    yield run
    for engine in opened:
        await engine.close()


@pytest.fixture
async def engine(open_engine: Open) -> KubernetesEngine:
    """One engine with default settings."""
    return open_engine()


def many(count: int) -> list[SessionSpec]:
    """Give specs of that many sessions."""
    return [spec_of(f"many-{number}") for number in range(count)]


async def test_nodes_call_an_image_something_else(api: KubeApi, engine: KubernetesEngine) -> None:
    """The pod's image is what nodes call it; the session's is what it is called here."""
    engine.reference = lambda name: f"registry.example.org/{name}"
    api.images.add(f"registry.example.org/{SPEC.image}")
    session = await engine.start(SPEC)
    assert session.image == SPEC.image
    [pod] = api.pods.values()
    assert pod["spec"]["containers"][0]["image"] == f"registry.example.org/{SPEC.image}"


# Refusals of the cluster.


async def test_quota_reached(api: KubeApi, engine: KubernetesEngine) -> None:
    """A namespace that may have no more pods is full: that is a refusal, with when to come back."""
    api.quota = 1
    await engine.start(spec_of("first"))
    with pytest.raises(Full, match="exceeded quota") as caught:
        await engine.start(SPEC)
    assert (caught.value.status, caught.value.retry_after) == (503, 60)
    assert [session.id for session in await engine.list()] == ["first"]


async def test_no_room_is_a_queue(api: KubeApi, engine: KubernetesEngine) -> None:
    """Sessions that no node has room for wait, are told their place, and start when there is room."""
    api.room = 0
    told: list[tuple[str, str, int]] = []
    engine.tell = lambda launch, line, place: told.append((launch, line, place))
    specs = [replace(spec, launch_id=f"launch-{number}", created_at=number) for number, spec in enumerate(many(2))]
    starts = [asyncio.gather(engine.start(spec)) for spec in specs]
    await eventually(lambda: {(launch, place) for launch, _, place in told} >= {("launch-0", 1), ("launch-1", 2)})
    assert "You are number 2 in the queue" in next(line for launch, line, _ in told if launch == "launch-1")
    api.room = 5
    sessions = await asyncio.gather(*starts)
    assert {session.state for [session] in sessions} == {SessionState.RUNNING}


async def test_no_room_in_time(api: KubeApi, open_engine: Open) -> None:
    """A session that waited too long for room is refused, and leaves nothing."""
    api.room = 0
    with pytest.raises(Full, match="Insufficient memory"):
        await open_engine(room_timeout=0.2).start(SPEC)
    assert api.pods == {}


async def test_image_that_no_registry_has(api: KubeApi, engine: KubernetesEngine) -> None:
    """An image that the registry does not have is missing at once; nothing is left."""
    with pytest.raises(ImageMissing, match=r"registry/none:1.*not found"):
        await engine.start(replace(SPEC, image="registry/none:1"))
    assert api.pods == {}


async def test_registry_that_fails_for_a_moment(api: KubeApi, engine: KubernetesEngine) -> None:
    """A registry that does not answer is tried again, and people are told."""
    told: list[str] = []
    engine.tell = lambda _launch, line, _place: told.append(line)
    api.pull_error = "dial tcp 10.0.0.1:443: connect: connection refused"
    start = asyncio.gather(engine.start(SPEC))
    await eventually(lambda: any("connection refused" in line for line in told))
    api.pull_error = ""
    assert (await start)[0].state is SessionState.RUNNING


async def test_registry_that_fails_for_good(api: KubeApi, open_engine: Open) -> None:
    """After some time the launch fails and says what the node said."""
    api.pull_error = "dial tcp 10.0.0.1:443: connect: connection refused"
    with pytest.raises(LaunchFailed, match="connection refused"):
        await open_engine(pull_patience=0.2).start(SPEC)
    assert api.pods == {}


async def test_start_that_takes_too_long(api: KubeApi, open_engine: Open) -> None:
    """A node that never runs the pod makes the launch fail after a limit."""
    api.delay = 60
    with pytest.raises(LaunchFailed, match="did not start in time"):
        await open_engine(pull_timeout=0.2).start(SPEC)
    assert api.pods == {}


async def test_events_become_messages(api: KubeApi, engine: KubernetesEngine) -> None:
    """While a node fetches the image, people read so."""
    api.delay = 60
    event = {"reason": "Pulling", "source": {"host": "node1"}, "lastTimestamp": "2026-01-01T00:00:00Z"}
    api.events.append({"involvedObject": {"name": NAME}, **event})
    told: list[tuple[str, str, int]] = []
    engine.tell = lambda *line: told.append(line)
    start = asyncio.gather(engine.start(SPEC))
    await eventually(lambda: (SPEC.launch_id, "Fetching the image onto node node1...", 0) in told)
    start.cancel()
    await asyncio.wait([start])
    assert len(told) == len(set(told))


async def test_events_that_may_not_be_read(api: KubeApi, engine: KubernetesEngine) -> None:
    """Without the right to read events a launch goes on, and people read less."""
    api.forbidden = "events"
    api.delay = 60
    told: list[str] = []
    engine.tell = lambda _launch, line, _place: told.append(line)
    start = asyncio.gather(engine.start(SPEC))
    await eventually(lambda: told[-1:] == ["Starting on node node1..."])
    assert not start.done()
    start.cancel()
    await asyncio.wait([start])


async def test_right_that_is_missing(api: KubeApi, engine: KubernetesEngine) -> None:
    """An account that may not read pods is told what to do about it."""
    api.forbidden = "pods"
    with pytest.raises(EngineUnavailable, match="cannot list") as caught:
        await engine.prepare()
    assert "role" in caught.value.hint


async def test_namespace_that_is_missing(api: KubeApi, engine: KubernetesEngine) -> None:
    """A start in a namespace that was deleted fails and says so; trying again may help."""
    api.namespace_is_gone = True
    with pytest.raises(EngineUnavailable, match="lacks the namespace"):
        await engine.start(SPEC)


# Pods that end.


async def test_evicted(api: KubeApi, engine: KubernetesEngine) -> None:
    """An eviction is an end whose reason people can read."""
    watch = engine.watch()
    await engine.start(SPEC)
    api.update(NAME, phase="Failed", reason="Evicted", message="The node was low on resource: memory.")
    ended = await asyncio.wait_for(anext(watch), 5)
    assert ended.ended_because == "the cluster ended it: Evicted: The node was low on resource: memory."
    assert [session.state for session in await engine.list()] == [SessionState.ENDED]


async def test_node_that_went_away(api: KubeApi, engine: KubernetesEngine) -> None:
    """A pod that the cluster removes, but whose node cannot confirm it, has ended; it is told once."""
    watch = engine.watch()
    await engine.start(SPEC)
    pod = api.pods[NAME]
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    api.update(NAME, reason="NodeLost")
    ended = await asyncio.wait_for(anext(watch), 5)
    assert ended.ended_because == "the cluster removed it: NodeLost"
    api.remove(NAME)
    await engine.start(spec_of("later"))
    api.remove(pod_name("t1", "later"))
    assert (await asyncio.wait_for(anext(watch), 5)).id == "later"


async def test_deleted_by_somebody_else(api: KubeApi, engine: KubernetesEngine) -> None:
    """A pod that an operator deleted has ended."""
    watch = engine.watch()
    await engine.start(SPEC)
    api.remove(NAME)
    ended = await asyncio.wait_for(anext(watch), 5)
    assert (ended.state, ended.ended_because) == (SessionState.ENDED, "its pod was deleted")


async def test_deleted_while_it_starts(api: KubeApi, engine: KubernetesEngine) -> None:
    """A pod that is deleted while it starts makes the start fail."""
    api.delay = 60
    start = asyncio.gather(engine.start(SPEC))
    await eventually(lambda: NAME in api.pods)
    api.remove(NAME)
    with pytest.raises(SessionDied, match="deleted"):
        await start


async def test_last_words_are_in_the_error(api: KubeApi, engine: KubernetesEngine) -> None:
    """A session that ended at once takes its last lines into the error."""
    api.dies, api.output = lambda _pod: 3, "no such module\n"
    with pytest.raises(SessionDied, match=r"(?s)exit code 3.*no such module"):
        await engine.start(SPEC)
    assert api.pods == {}


async def test_logs_of_one_that_starts(api: KubeApi, engine: KubernetesEngine) -> None:
    """A session that does not run yet has printed nothing."""
    api.delay = 60
    start = asyncio.gather(engine.start(SPEC))
    await eventually(lambda: NAME in api.pods)
    assert await engine.logs(SPEC.id) == ""
    start.cancel()
    await asyncio.wait([start])


# Watches.


async def test_watch_that_the_server_ends(api: KubeApi, engine: KubernetesEngine) -> None:
    """A watch that ends goes on where it was, without reading all again, and nobody notices."""
    watch = engine.watch()
    await engine.start(SPEC)
    api.cut()
    api.end(NAME)
    assert (await asyncio.wait_for(anext(watch), 5)).exit_code == 137
    assert engine.mirror.lists == 1


async def test_watch_that_is_too_old(api: KubeApi, engine: KubernetesEngine) -> None:
    """When the server forgot where a watch was, all is read again, and what ended meanwhile is told."""
    watch = engine.watch()
    await engine.start(SPEC)
    await eventually(lambda: api.watching == 1)
    api.deaf = True
    api.end(NAME)
    api.compact()
    api.deaf = False
    api.cut()
    assert (await asyncio.wait_for(anext(watch), 5)).exit_code == 137
    assert engine.mirror.lists == 2


async def test_bookmarks_move_the_watch(api: KubeApi, engine: KubernetesEngine) -> None:
    """A quiet watch that was told how far it is needs no new list when the past is forgotten."""
    watch = engine.watch()
    session = await engine.start(SPEC)
    api.add({**api.pods[NAME], "metadata": {"name": "foreign", "labels": {}}})
    api.bookmark()
    api.compact()
    await eventually(lambda: engine.mirror.version == str(api.pods["foreign"]["metadata"]["resourceVersion"]))
    api.cut()
    api.end(NAME)
    assert (await asyncio.wait_for(anext(watch), 5)).id == session.id
    assert engine.mirror.lists == 1


async def test_lost_events_hold_up_no_start(api: KubeApi, engine: KubernetesEngine) -> None:
    """Where the watch stays silent, a start still sees that its pod runs."""
    await engine.start(spec_of("first"))
    api.deaf = True
    assert (await engine.start(SPEC)).state is SessionState.RUNNING


async def test_lost_events_are_found_by_list(api: KubeApi, engine: KubernetesEngine) -> None:
    """Where the watch stays silent, a list still shows that a session ended."""
    await engine.start(SPEC)
    api.deaf = True
    api.end(NAME)
    assert [session.state for session in await engine.list()] == [SessionState.ENDED]


# API servers that go away.


async def test_server_restart(api: KubeApi, engine: KubernetesEngine) -> None:
    """While the server is away watches say so; later they tell what ended meanwhile, and sessions have gone on."""
    await engine.start(SPEC)
    await engine.start(spec_of("other"))
    watch = engine.watch()
    await api.down()
    with pytest.raises(EngineUnavailable):
        await asyncio.wait_for(anext(watch), 5)
    with pytest.raises(EngineUnavailable):
        await engine.list()
    with pytest.raises(EngineUnavailable):
        await engine.start(spec_of("late"))
    watch = engine.watch()
    api.end(NAME)
    await api.up()
    while True:
        try:
            ended = await asyncio.wait_for(anext(watch), 10)
            break
        except EngineUnavailable:  # an attempt from before it was back
            watch = engine.watch()
            if engine.mirror.pods[NAME].session.state is SessionState.ENDED:
                ended = engine.mirror.pods[NAME].session
                break
    assert ended.id == SPEC.id
    running = {session.id: session.state for session in await engine.list()}
    assert running == {SPEC.id: SessionState.ENDED, "other": SessionState.RUNNING}
    assert (await engine.start(spec_of("late"))).state is SessionState.RUNNING


async def test_server_that_goes_away_during_a_start(api: KubeApi, engine: KubernetesEngine) -> None:
    """A start goes on when its server comes back soon enough."""
    api.delay = 0.5
    start = asyncio.gather(engine.start(SPEC))
    await eventually(lambda: NAME in api.pods)
    await api.down()
    await asyncio.sleep(0.2)
    await api.up()
    assert (await start)[0].state is SessionState.RUNNING


async def test_throttled(api: KubeApi, engine: KubernetesEngine) -> None:
    """A server that asks for patience gets it, and what was asked is done."""
    await engine.start(SPEC)
    api.throttle = 3
    assert [session.id for session in await engine.list()] == [SPEC.id]


async def test_throttled_for_too_long(api: KubeApi, engine: KubernetesEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that never stops asking for patience does not answer."""
    monkeypatch.setattr(client_module, "PATIENCE", -1.0)
    api.throttle = 1000
    with pytest.raises(EngineUnavailable, match="try again later"):
        await engine.list()


async def test_failed_start_that_cannot_be_undone(api: KubeApi, engine: KubernetesEngine) -> None:
    """When nothing can be removed the error is still the first one, and the list shows what stayed."""
    api.delay = 60
    start = asyncio.gather(engine.start(SPEC))
    await eventually(lambda: NAME in api.pods)
    await api.down()
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    await api.up()
    assert [session.id for session in await engine.list()] == [SPEC.id]


async def test_answer_that_was_lost(api: KubeApi, engine: KubernetesEngine) -> None:
    """A pod that exists already was made by an earlier request of the same start."""
    await engine.start(SPEC)
    assert (await engine.start(SPEC)).id == SPEC.id


async def test_token_that_expired(api: KubeApi, tmp_path: Path) -> None:
    """A token that the kubelet replaced in its file is read again when the old one is refused."""
    file = await asyncio.to_thread(_token_file, tmp_path, "old")
    client = KubernetesClient(access_to(api, token_file=file))
    engine = KubernetesEngine(client, EngineSettings(), KubernetesSettings(), "t1")
    api.token = "old"
    await engine.start(SPEC)
    api.token = "new"
    await asyncio.to_thread(_token_file, tmp_path, "new")
    assert len(await engine.list()) == 1
    await engine.close()


def _token_file(folder: Path, token: str) -> Path:
    path = folder / "token"
    path.write_text(f"{token}\n")
    return path


async def test_read_that_is_refused_for_a_moment(api: KubeApi, engine: KubernetesEngine) -> None:
    """A start that may not look for its pod, and hears nothing of it, looks again later."""
    api.delay = 0.2
    start = asyncio.gather(engine.start(SPEC))
    await eventually(lambda: NAME in api.pods)
    api.deaf, api.forbidden = True, "pods"
    await asyncio.sleep(0.2)
    api.forbidden = ""
    assert (await start)[0].state is SessionState.RUNNING


async def test_stop_says_that_it_was_wanted(api: KubeApi, engine: KubernetesEngine) -> None:
    """A stop removes the pod at once; stopping again is fine; what was removed on purpose is told as such."""
    watch = engine.watch()
    await engine.start(SPEC)
    await engine.stop(SPEC.id)
    await engine.stop(SPEC.id)
    assert api.pods == {}
    assert (await asyncio.wait_for(anext(watch), 5)).ended_because == "it was stopped"


async def test_stop_while_the_server_is_away(api: KubeApi, engine: KubernetesEngine) -> None:
    """A stop that cannot be done is an error, and nothing is forgotten."""
    await engine.start(SPEC)
    await api.down()
    with pytest.raises(EngineUnavailable):
        await engine.stop(SPEC.id)


async def test_who_it_is(api: KubeApi, engine: KubernetesEngine) -> None:
    """The engine says the cluster's version; logs of an unknown session are empty, and refused ones an error."""
    assert await engine.ping() == "Kubernetes 1.31.4+k3s1"
    assert await engine.logs("never-seen") == ""
    api.forbidden = "pods"
    with pytest.raises(EngineUnavailable):
        await engine.logs("never-seen")


async def test_last_words_that_cannot_be_read(api: KubeApi, engine: KubernetesEngine) -> None:
    """A session that ended at once is told without last words where they may not be read."""
    api.dies, api.unreadable = lambda _pod: 3, True
    with pytest.raises(SessionDied, match=r"exit code 3\.$"):
        await engine.start(SPEC)


async def test_nodes_and_their_helpers(api: KubeApi, open_engine: Open) -> None:
    """It knows which node a session is on, and where each node's helper is."""
    engine = open_engine(agents_namespace="binder")
    await engine.start(SPEC)
    assert (engine.node_of(SPEC.id), engine.node_of("unknown")) == ("node1", "")
    labels = {"app.kubernetes.io/name": "binderlet", "app.kubernetes.io/component": "node-agent"}
    helper = {"metadata": {"name": "helper", "labels": labels}, "spec": {"nodeName": "node1"}}
    api.add({**helper, "status": {"phase": "Running", "podIP": "10.0.0.9"}})
    assert await engine.agents() == {"node1": "10.0.0.9:8890"}


async def test_close_waits_for_what_is_being_undone(api: KubeApi, engine: KubernetesEngine) -> None:
    """A start that is cancelled while the engine closes leaves nothing."""
    api.delay = 60
    start = asyncio.gather(engine.start(SPEC))
    await eventually(lambda: NAME in api.pods)
    start.cancel()
    await asyncio.sleep(0)
    await engine.close()
    assert api.pods == {}
    await asyncio.wait([start])


# Many.


async def test_500_pods_come_by_pages(api: KubeApi, engine: KubernetesEngine) -> None:
    """A long list is read page by page, and all of it."""
    await engine.start(SPEC)
    for number in range(500):
        spec = spec_of(f"many-{number}")
        pod = {**api.pods[NAME], "metadata": {**api.pods[NAME]["metadata"]}}
        pod["metadata"]["annotations"] = {**pod["metadata"]["annotations"], "binderlet.session": spec.id}
        pod["metadata"]["name"] = pod_name("t1", spec.id)
        api.add(pod)
    api.calls.clear()
    assert len({session.id for session in await engine.list()}) == 501
    assert [query.get("limit") for _, _, query in api.calls] == ["250"] * 3


async def test_list_that_expires_between_pages(
    api: KubeApi, engine: KubernetesEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list whose version the server forgot between two pages is read anew, without doubles."""
    for spec in many(3):
        await engine.start(spec)
    monkeypatch.setattr(client_module, "PAGE", 2)
    api.expire_pages = True
    assert sorted(session.id for session in await engine.list()) == ["many-0", "many-1", "many-2"]


async def test_close_ends_what_waits(api: KubeApi, engine: KubernetesEngine) -> None:
    """Closing ends the watch; an engine that was never used closes, too."""
    watch = engine.watch()
    await engine.start(SPEC)
    waiting = asyncio.gather(anext(watch))
    await engine.close()
    waiting.cancel()
    await asyncio.wait([waiting])
    unused = engine_on(api)
    await unused.close()


async def test_a_guard_holds_back_changes() -> None:
    """What the guard refuses is not changed in the cluster; sessions are seen all the same."""

    def refuse() -> None:
        raise EngineUnavailable("Not me.")

    async with kube_api() as api:
        engine = engine_on(api)
        engine.guard(refuse)
        with pytest.raises(EngineUnavailable, match="Not me"):
            await engine.stop("x")
        assert await engine.list() == []
        await engine.close()
