"""The Docker engine where the engine beneath misbehaves; what it does right is in the contract suite."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from binderlet.clients.docker import DockerClient
from binderlet.config.schema import EngineSettings
from binderlet.engine import docker as module
from binderlet.engine.docker import DockerEngine
from binderlet.engine.docker_spec import container_name, session_labels
from binderlet.errors import BinderletError, EngineUnavailable, ImageMissing, LaunchFailed, SessionDied
from binderlet.model import SessionState
from support.engine_harness import SPEC, Harness
from support.scripted_engine import HANG, Answer, ScriptedEngine

CREATE, START, INSPECT, DELETE, LOGS = (
    "POST containers/create",
    "POST containers/c0ffee/start",
    "GET containers/c0ffee/json",
    "DELETE containers/c0ffee",
    "GET containers/c0ffee/logs",
)
NAMED = f"containers/{container_name('mine', SPEC.id)}"
LABELS = session_labels(SPEC, "mine")
GONE: Answer = (404, {"message": "No such container: c0ffee"})
BROKEN: Answer = (500, {"message": "it broke"})
BUSY: Answer = (409, {"message": "removal of container c0ffee is already in progress"})
DONE: Answer = (204, None)


def container(status: str = "running", *, address: str = "172.18.0.2", code: int = 0, oom: bool = False) -> Answer:
    """The answer to an inspect request."""
    state = {"Status": status, "ExitCode": code, "OOMKilled": oom}
    networks = {"Networks": {"binderlet": {"IPAddress": address}}}
    return 200, {"Id": "c0ffee", "State": state, "Config": {"Labels": LABELS}, "NetworkSettings": networks}


@pytest.fixture
async def engine(scripted: ScriptedEngine, client: DockerClient) -> AsyncIterator[DockerEngine]:
    """An engine on a script in which all goes well."""
    scripted.answer(CREATE, (201, {"Id": "c0ffee"}))
    scripted.answer(START, DONE)
    scripted.answer(INSPECT, container())
    scripted.answer(DELETE, DONE)
    made = DockerEngine(client, EngineSettings(), "mine")
    yield made
    await made.close()


async def test_start_takes_three_calls(scripted: ScriptedEngine, engine: DockerEngine) -> None:
    """A cold start spends no call that it does not need."""
    session = await engine.start(SPEC)
    assert (session.address, session.engine_id) == ("172.18.0.2:8888", "c0ffee")
    assert scripted.asked() == [CREATE, START, INSPECT]
    assert scripted.calls[-3][1] == {"name": container_name("mine", SPEC.id)}


@pytest.mark.parametrize(
    ("call", "answer", "fails"),
    [
        (CREATE, (404, {"message": "No such image: x:1"}), (ImageMissing, "No such image: x:1")),
        (CREATE, (409, {"message": "name is in use"}), (LaunchFailed, "refused: name is in use")),
        (CREATE, BROKEN, (EngineUnavailable, "it broke")),
        (START, (400, {"message": "executable file not found"}), (SessionDied, "could not start: executable file")),
        (START, BROKEN, (SessionDied, "could not start: it broke")),
        (START, GONE, (SessionDied, "was stopped while it started")),
        (INSPECT, GONE, (SessionDied, "was stopped while it started")),
        (INSPECT, BROKEN, (EngineUnavailable, "it broke")),
        (INSPECT, container(address=""), (EngineUnavailable, "gave container c0ffee no address")),
        (INSPECT, (200, {"unexpected": True}), (EngineUnavailable, "makes no sense")),
    ],
)
async def test_failed_start_leaves_nothing(
    scripted: ScriptedEngine, engine: DockerEngine, call: str, answer: Answer, fails: tuple[type[BinderletError], str]
) -> None:
    """Whatever fails, the error says what and the container is removed, but none that was there before."""
    scripted.answer(call, answer)
    error, said = fails
    with pytest.raises(error, match=said):
        await engine.start(SPEC)
    assert scripted.asked().count(DELETE) == (0 if call == CREATE else 1)


async def test_session_that_ended_at_once_gives_its_last_words(scripted: ScriptedEngine, engine: DockerEngine) -> None:
    """The error about a session that died carries the reason and its last lines."""
    scripted.answer(INSPECT, container("exited", code=3))
    scripted.answer(LOGS, (200, b"\x01\0\0\0\0\0\0\x0alast words"))
    with pytest.raises(SessionDied, match=r"^The session ended at once: .* exit code 3\. It said:\nlast words$"):
        await engine.start(SPEC)
    scripted.answer(LOGS, (200, b""))
    with pytest.raises(SessionDied, match=r"exit code 3\.$"):
        await engine.start(SPEC)


async def test_network_that_was_tidied_up_is_made_again(scripted: ScriptedEngine, engine: DockerEngine) -> None:
    """A start survives that someone removed the idle network."""
    good = {"Driver": "bridge", "Options": {"com.docker.network.bridge.enable_icc": "false"}}
    scripted.answer(START, (404, {"message": "network binderlet not found"}), DONE)
    scripted.answer("GET networks/binderlet", (404, {"message": "network binderlet not found"}), (200, good))
    scripted.answer("POST networks/create", (201, {"Id": "1"}))
    assert (await engine.start(SPEC)).state is SessionState.RUNNING


async def test_traces_that_cannot_be_removed_are_logged(scripted: ScriptedEngine, engine: DockerEngine) -> None:
    """The caller gets the first error; what stays is told in the log."""
    scripted.answer(INSPECT, BROKEN)
    scripted.answer(DELETE, (500, {"message": "device busy"}))
    with capture_logs() as logged, pytest.raises(EngineUnavailable, match="it broke"):
        await engine.start(SPEC)
    assert [line["error"] for line in logged] == ["The container engine failed: device busy."]


@pytest.mark.parametrize("call", [CREATE, START, INSPECT])
async def test_start_is_given_up_between_calls(
    scripted: ScriptedEngine, engine: DockerEngine, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A cancelled start waits for the call that runs, makes no more, and removes what was made."""
    begun, go = asyncio.Event(), asyncio.Event()
    real_call = DockerClient.call

    async def slow(self: DockerClient, method: str, path: str, **more: Any) -> Any:  # noqa: ANN401 - passed on
        if f"{method} {path}" == call:
            begun.set()
            await go.wait()
        return await real_call(self, method, path, **more)

    monkeypatch.setattr(DockerClient, "call", slow)
    async with asyncio.TaskGroup() as group:
        start = group.create_task(engine.start(SPEC))
        await begun.wait()
        start.cancel()
        await asyncio.sleep(0.01)
        assert not start.done()
        go.set()
        with contextlib.suppress(asyncio.CancelledError):
            await start
    assert start.cancelled()
    order = [CREATE, START, INSPECT]
    assert scripted.asked() == [*order[: order.index(call) + 1], DELETE]


async def test_second_cancellation_ends_the_wait_not_the_removal(
    scripted: ScriptedEngine, engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who cannot wait leaves at once, and closing waits for the removal."""
    scripted.answer(CREATE, HANG)
    start = asyncio.gather(engine.start(SPEC))
    await asyncio.sleep(0.05)
    for _ in range(2):
        start.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(start, 1)
    monkeypatch.setattr(module, "CLOSE_TIMEOUT", 0.05)
    await asyncio.wait_for(engine.close(), 10)


async def test_stop_waits_for_a_removal_that_is_under_way(scripted: ScriptedEngine, engine: DockerEngine) -> None:
    """When stop returns, the container is gone, whoever removed it."""
    scripted.answer(f"DELETE {NAMED}", BUSY)
    scripted.answer(f"GET {NAMED}/json", container("removing"), container("removing"), GONE)
    await engine.stop(SPEC.id)
    assert scripted.asked()[-3:] == [f"GET {NAMED}/json"] * 3
    scripted.answer(f"GET {NAMED}/json", BROKEN)
    with pytest.raises(EngineUnavailable, match="it broke"):
        await engine.stop(SPEC.id)


async def test_stopped_session_ends_as_stopped(scripted: ScriptedEngine, engine: DockerEngine) -> None:
    """A session that was stopped, though it was gone already, is told to have been stopped."""
    scripted.answer(f"DELETE {NAMED}", GONE)
    await engine.stop(SPEC.id)
    scripted.answer("GET events", events(("die", time.time_ns() + 10**9)))
    assert (await anext(engine.watch())).ended_because == "it was stopped"


async def test_network_that_cannot_be_joined(scripted: ScriptedEngine, client: DockerClient) -> None:
    """Where the engine refuses a session's own network, nothing was made and nothing is removed."""
    client.product = "Podman"
    scripted.answer("POST networks/create", (409, {"message": "network already exists"}))
    with pytest.raises(LaunchFailed, match="already exists"):
        await DockerEngine(client, EngineSettings(), "mine").start(SPEC)
    assert scripted.asked() == ["POST networks/create"]


async def test_stop_says_when_it_fails(scripted: ScriptedEngine, engine: DockerEngine) -> None:
    """A stop that the engine refuses is an error."""
    scripted.answer(f"DELETE {NAMED}", BROKEN)
    with pytest.raises(EngineUnavailable, match="it broke"):
        await engine.stop(SPEC.id)


LISTED = {"Id": "c0ffee", "State": "exited", "Status": "Exited (137) 1 second ago", "Labels": LABELS}


@pytest.mark.parametrize(
    ("answer", "because"),
    [
        (container("exited", code=137, oom=True), "it ran out of memory"),
        (GONE, "it was killed"),
        ((200, {**container("exited")[1], "Config": {}}), "it was killed"),
    ],
)
async def test_list_asks_why_a_session_ended(
    scripted: ScriptedEngine, engine: DockerEngine, answer: Answer, because: str
) -> None:
    """An ended session is looked at once more; one that is removed meanwhile keeps what the list knew."""
    scripted.answer("GET containers/json", (200, [LISTED, {**LISTED, "Labels": {}}]))
    scripted.answer(INSPECT, answer)
    assert [session.ended_because for session in await engine.list()] == [because]


async def test_list_fails_as_a_whole(scripted: ScriptedEngine, engine: DockerEngine) -> None:
    """An engine that fails half-way gives no half list."""
    scripted.answer("GET containers/json", (200, [LISTED]))
    scripted.answer(INSPECT, BROKEN)
    with pytest.raises(EngineUnavailable, match="it broke"):
        await engine.list()


def events(*told: tuple[str, int]) -> Answer:
    """The answer to an events request: actions and when."""
    actor = {"ID": "c0ffee", "Attributes": {**LABELS, "exitCode": "137"}}
    lines = [json.dumps({"Action": action, "timeNano": when, "Actor": actor}) for action, when in told]
    return 200, "\n".join([*lines, ""]).encode()


async def test_watch_tells_when_the_connection_is_lost(scripted: ScriptedEngine, engine: DockerEngine) -> None:
    """The next watch goes on after the last event that was seen, and none comes twice."""
    now = time.time_ns() + 10**9
    scripted.answer("GET events", events(("oom", now), ("die", now + 1)), events(("die", now + 1), ("die", now + 2)))
    watch = engine.watch()
    assert (await anext(watch)).ended_because == "it ran out of memory"
    with pytest.raises(EngineUnavailable, match="closed its stream"):
        await anext(watch)
    scripted.answer(INSPECT, container())
    watch = engine.watch()
    ended = await anext(watch)
    # The engine's inspect still says that it runs: the event knows better.
    assert (ended.state, ended.ended_because) == (SessionState.ENDED, "it was killed")
    with pytest.raises(EngineUnavailable):
        await anext(watch)
    [*_, since] = [params["since"] for call, params, _ in scripted.calls if call == "GET events"]
    assert since == f"{(now + 1) // 10**9}.{(now + 1) % 10**9:09}"


async def test_watch_fails_with_the_engine(scripted: ScriptedEngine, engine: DockerEngine) -> None:
    """An engine that refuses the watch is unavailable."""
    scripted.answer("GET events", BROKEN)
    with pytest.raises(EngineUnavailable, match="it broke"):
        await anext(engine.watch())


async def test_logs_of_a_broken_engine(scripted: ScriptedEngine, engine: DockerEngine) -> None:
    """Logs are empty where the session is unknown, and an error where the engine fails."""
    scripted.answer(f"GET {NAMED}/logs", GONE, BROKEN)
    assert await engine.logs(SPEC.id) == ""
    with pytest.raises(EngineUnavailable, match="it broke"):
        await engine.logs(SPEC.id)


async def test_ping_and_prepare_reach_the_engine(scripted: ScriptedEngine, engine: DockerEngine) -> None:
    """Both are answered by the engine, not from memory."""
    assert await engine.ping() == "Docker 20.10.24"
    scripted.answer("GET networks/binderlet", BROKEN)
    with pytest.raises(EngineUnavailable):
        await engine.prepare()


async def test_program_that_does_not_exist(real: Harness) -> None:
    """A command that the image does not have is the session's fault, and the engine's words name it."""
    watch = real.engine.watch()
    try:
        await real.engine.start(replace(SPEC, command=("no-such-program",)))
    except SessionDied as error:
        said = str(error)
        assert await asyncio.to_thread(real.traces) == 0
    else:
        # The init program starts well; it is the one that finds no program.
        ended = await asyncio.wait_for(anext(watch), 5)
        assert ended.exit_code == 127
        said = await real.engine.logs(SPEC.id)
    assert "no-such-program" in said


@pytest.mark.docker
async def test_removed_network_comes_back(docker: Harness) -> None:
    """After 'docker network prune' the next start makes the network again."""
    assert docker.api is not None
    await asyncio.to_thread(docker.api.call, "DELETE", f"networks/{docker.instance}")
    assert (await docker.engine.start(SPEC)).address


@pytest.mark.docker
async def test_session_removed_by_hand_is_seen(docker: Harness) -> None:
    """An operator's 'docker rm -f' ends a session for the watch too."""
    assert docker.api is not None
    watch = docker.engine.watch()
    session = await docker.engine.start(SPEC)
    await asyncio.to_thread(docker.api.call, "DELETE", f"containers/{session.engine_id}", force="1")
    ended = await asyncio.wait_for(anext(watch), 5)
    assert (ended.id, ended.token, ended.ended_because) == (SPEC.id, SPEC.token, "it was killed")


@pytest.mark.parametrize(
    ("info", "parent"),
    [
        ({"CgroupDriver": "systemd", "CgroupVersion": "2"}, "a-b.slice"),
        ({"CgroupDriver": "cgroupfs", "CgroupVersion": "1"}, "/vm/a.slice/a-b.slice"),
        ({"CgroupDriver": "cgroupfs", "CgroupVersion": "2"}, None),
    ],
)
async def test_sessions_are_in_their_slice(
    scripted: ScriptedEngine,
    engine: DockerEngine,
    client: DockerClient,
    monkeypatch: pytest.MonkeyPatch,
    *,
    info: dict[str, str],
    parent: str | None,
) -> None:
    """Each engine is told its own way; one that cannot have a slice goes on without, and the log says so."""
    monkeypatch.setattr(module, "systemd_root", lambda: "/vm")
    good = {"Driver": "bridge", "Options": {"com.docker.network.bridge.enable_icc": "false"}}
    scripted.answer("GET networks/binderlet", (200, good))
    scripted.answer("GET info", (200, info))
    made = DockerEngine(client, EngineSettings(), "mine", slice_="a-b.slice")
    with capture_logs() as logs:
        await made.prepare()
    assert bool(logs) is (parent is None)
    await made.start(SPEC)
    created = next(body for call, _, body in scripted.calls if call == CREATE)
    assert created["HostConfig"].get("CgroupParent") == parent
