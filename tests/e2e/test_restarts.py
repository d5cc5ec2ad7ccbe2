"""The control plane dies or is restarted at the worst moments: nothing that runs is lost, nothing runs twice."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest

from binderlet.engine.docker_spec import container_name
from support.gateway import Served, serve_to_containers
from support.gitserver import Program
from support.service import Event, LiveService
from support.site import Site, fetch, run_docker, said, site, until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.docker,
    pytest.mark.haproxy,
    pytest.mark.timeout(300),  # the first start on a machine makes the base image
]

HELLO = {"README.md": "Hello"}
LINES = 8
LONG_BUILD = f"""\
#!/bin/sh
cat /proc/sys/kernel/random/uuid > nonce.txt
echo nonce-$(cat nonce.txt)
for number in $(seq {LINES - 1}); do echo line-$number.; sleep 0.2; done
until python -c 'import urllib.request as u; u.urlopen("ADDRESS/go")' 2>/dev/null; do sleep 0.1; done
echo line-{LINES}.
"""
"""A build that ends once the test lets it."""
SLOW_START = '#!/bin/sh\nsleep 3\nexec "$@"\n'
SESSIONS = 10
WITHOUT_ROOTS_RIGHTS = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
"""Root may write everything; a program started like this may not."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One service for all tests here."""
    with site(tmp_path_factory.mktemp("restarts")) as found:
        yield found


def follow(here: Site, spec: str, words: str) -> list[Event]:
    """Ask for a launch and leave after the first event with these words."""
    story = []
    for event in here.service.stream(spec):
        story.append(event)
        if words in event["message"]:
            break
    return story


def come_back(here: Site, spec: str, story: list[Event]) -> Iterator[Event]:
    """Ask again as a browser does that lost its connection."""
    return here.service.stream(spec, after=story[-1]["id"])


@dataclass(frozen=True)
class Gate:
    """What ``LONG_BUILD`` waits for."""

    served: Served
    folder: Path

    @property
    def build(self) -> Program:
        """The script of a build that has to wait."""
        (self.folder / "go").unlink(missing_ok=True)
        return Program(LONG_BUILD.replace("ADDRESS", self.served.address))

    def let_go(self, story: Iterable[Event]) -> list[Event]:
        """Give a story whose build ends when its first line has been seen."""
        found = []
        for event in story:
            found.append(event)
            if "nonce-" in str(event.get("message", "")):
                (self.folder / "go").touch()
        return found


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """One that builds reach."""
    with serve_to_containers(tmp_path) as served:
        yield Gate(served, tmp_path)


def check_build(story: list[Event]) -> None:
    """The story has the log of one build, whole, each line once, and its session is of that build."""
    assert story[-1]["phase"] == "ready", story[-3:]
    text = said(story)
    assert re.findall(r"line-(\d+)\.", text) == [str(number) for number in range(1, LINES + 1)]
    (nonce,) = re.findall(r"nonce-([0-9a-f-]{36})", text)
    assert json.loads(fetch(story[-1], "api/contents/nonce.txt"))["content"].strip() == nonce


def build_log(here: Site, words: str) -> str:
    """Give the log on disk that has these words."""
    logs = [path.read_text() for path in (here.service.state / "builds").glob("*/log")]
    return next((log for log in logs if words in log), "")


def test_killed_during_a_build(shared: Site, gate: Gate) -> None:
    """The build tool goes on by itself; who comes back sees the whole log, and exactly one build ran."""
    spec = shared.spec("long", {"postBuild": gate.build})
    story = follow(shared, spec, "line-3.")
    shared.service.kill()
    (nonce,) = re.findall(r"nonce-[0-9a-f-]{36}", said(story))
    until(lambda: "line-5." in build_log(shared, nonce))
    shared.service.start()
    again = gate.let_go(come_back(shared, spec, story))
    assert nonce in said(again)
    check_build(again)


def test_killed_during_a_launch(shared: Site) -> None:
    """The session that was starting is found, and who comes back gets it; there is no second one."""
    spec = shared.spec("slow", {"start": Program(SLOW_START)})
    before = set(shared.containers())
    story = follow(shared, spec, "Launching server")
    until(lambda: set(shared.containers(everything=False)) - before)
    shared.service.kill()
    shared.service.start()
    again = list(come_back(shared, spec, story))
    assert again[-1]["phase"] == "ready", again
    assert set(shared.containers()) - before == {container_of(shared, again[-1])}
    assert fetch(again[-1], "api/status")
    assert len(shared.service.sessions()) == len(shared.containers())


def test_killed_between_making_and_running_a_container(shared: Site) -> None:
    """A container that nobody will ever run is removed, and who comes back gets a session that runs."""
    spec = shared.spec("made", HELLO)
    ready = shared.service.ready(spec)
    container = container_of(shared, ready)
    before = set(shared.containers())
    shared.service.kill()
    labels = json.loads(run_docker("inspect", "-f", "{{json .Config.Labels}}", container))
    labels |= {"binderlet.session": "made-aaaaaaaaaaaa", "binderlet.launch": uuid4().hex}
    options = [word for name, value in labels.items() for word in ("--label", f"{name}={value}")]
    instance = shared.service.name
    options += ["--name", container_name(instance, "made-aaaaaaaaaaaa"), "--network", instance]
    orphan = run_docker("create", *options, ready["image"], "true").strip()
    shared.service.start()
    again = list(shared.service.stream(spec, after=f"{labels['binderlet.launch']}-2"))
    assert again[-1]["phase"] == "ready", again
    assert again[-1]["id"].startswith(labels["binderlet.launch"])
    assert fetch(again[-1], "api/status")
    assert not any(orphan.startswith(each) for each in shared.containers())
    assert len(set(shared.containers()) - before) == 1


async def test_killed_with_ten_sessions_open(shared: Site) -> None:
    """All are found again with their tokens; what is open stays open, also while there is no control plane."""
    spec = shared.spec("many", HELLO)
    for session in shared.service.sessions():
        shared.service.admin("DELETE", f"/sessions/{session['id']}")
    ready: list[Event] = []
    threads = [threading.Thread(target=lambda: ready.append(shared.service.ready(spec))) for _ in range(SESSIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    async with terminal(ready[0]) as echo:
        await echo("before")
        shared.service.kill()
        await echo("meanwhile")
        assert all(fetch(event, "api/status") for event in ready)
        shared.service.start()
        await echo("after")
        assert all(fetch(event, "api/status") for event in ready)
        found = {session["id"] for session in shared.service.sessions()}
        assert found == {event["url"].rstrip("/").rpartition("/")[2] for event in ready}
        shared.service.admin("DELETE", f"/sessions/{found.pop()}")
        assert len(shared.containers()) == SESSIONS - 1


async def test_left_by_signal(shared: Site, gate: Gate) -> None:
    """SIGUSR1 ends the control plane alone: the next one goes on with sessions, launches and builds."""
    here = shared
    open_session = here.service.ready(here.spec("many", HELLO))
    slow = here.spec("slow", {"start": Program(SLOW_START)})
    here.service.ready(slow)
    long = here.spec("left", {"postBuild": gate.build})
    async with terminal(open_session) as echo:
        building = follow(here, long, "line-2.")
        before = set(here.containers())
        launching = follow(here, slow, "Launching server")
        until(lambda: set(here.containers(everything=False)) - before)
        assert here.service.process is not None
        here.service.process.send_signal(signal.SIGUSR1)
        assert here.service.process.wait(30) == 0
        await echo("meanwhile")
        here.service.start()
        built = gate.let_go(come_back(here, long, building))
        launched = list(come_back(here, slow, launching))
        await echo("after")
    check_build(built)
    assert fetch(launched[-1], "api/status")
    (container,) = set(here.containers()) - before - {container_of(here, built[-1])}
    assert container == container_of(here, launched[-1])


def test_the_history_is_damaged(shared: Site) -> None:
    """A history database that is broken is kept aside, and the service starts with a new one."""
    state = shared.service.state
    shared.service.kill()
    for path in state.glob("history.sqlite*"):
        path.unlink()
    (state / "history.sqlite").write_bytes(b"this is no database" * 1000)
    shared.service.start()
    shared.service.ready(shared.spec("many", HELLO))
    until(lambda: launches_on_record(state / "history.sqlite") > 0)
    assert list(state.glob("history.sqlite.damaged-*"))


def test_the_history_is_read_only(shared: Site) -> None:
    """A history database that cannot be written is a warning in the log, and the service serves."""
    shared.service.kill()
    for path in shared.service.state.glob("history.sqlite*"):
        path.chmod(0o444)
    shared.service.wrapper = WITHOUT_ROOTS_RIGHTS
    try:
        shared.service.start()
        assert fetch(shared.service.ready(shared.spec("many", HELLO)), "api/status")
        until(lambda: "cannot be written" in shared.service.log.read_text())
        shared.service.kill()
    finally:
        shared.service.wrapper = ()
        for path in shared.service.state.glob("history.sqlite*"):
            path.chmod(0o644)
    shared.service.start()


def test_a_second_control_plane(shared: Site, tmp_path: Path) -> None:
    """One of the same name, or with the same state folder, refuses with a sentence that says what to do."""
    ready = shared.service.ready(shared.spec("many", HELLO))
    same_name = LiveService(tmp_path / "s", name=shared.service.name)
    same_state = LiveService(tmp_path / "t", name=f"{shared.service.name}-2")
    same_state.set(paths__state=str(shared.service.state))
    for second, words in ((same_name, f"A control plane named '{shared.service.name}'"), (same_state, "state folder")):
        assert second.spawn().wait(30) != 0
        log = second.log.read_text()
        assert words in log
        assert "Traceback" not in log
    assert fetch(ready, "api/status")
    assert shared.service.is_healthy()


def test_a_state_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """The start ends with a sentence that names the folder and its setting."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    service = LiveService(tmp_path / "s", name=f"e2e-{uuid4().hex[:8]}")
    service.wrapper = WITHOUT_ROOTS_RIGHTS
    service.set(paths__state=str(closed / "state"))
    assert service.spawn().wait(30) != 0
    log = service.log.read_text()
    assert f"paths.state: {closed}/state cannot be written" in " ".join(log.split())
    assert "Traceback" not in log


def test_a_start_that_fails_leaves_what_runs(shared: Site) -> None:
    """Where a restart does not succeed, visitors keep their sessions, and a later one finds them."""
    ready = shared.service.ready(shared.spec("many", HELLO))
    shared.service.kill()
    shared.service.set(engine__subnet="10.254.254.0/24")
    assert shared.service.spawn().wait(60) != 0
    assert fetch(ready, "api/status")
    shared.service.set(engine__subnet="")
    shared.service.start()
    assert fetch(ready, "api/status")


def container_of(here: Site, ready: Event) -> str:
    """Give the container of a launch's session."""
    session = ready["url"].rstrip("/").rpartition("/")[2]
    return run_docker("ps", "-q", "--filter", f"name={container_name(here.service.name, session)}").strip()


def launches_on_record(path: Path) -> int:
    """Count the launches in a history database."""
    with sqlite3.connect(path) as database:
        try:
            ((count,),) = database.execute("SELECT count(*) FROM launches")
        except sqlite3.OperationalError:
            return 0
        return int(count)


class Echo:
    """A terminal in a session; calling it types words and waits until they come back."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def __call__(self, words: str) -> None:
        """Let the shell say the words; fails if the connection was lost."""
        await self._socket.send_json(["stdin", f"echo '{words}'-$((6 * 7))\r"])
        shown = ""
        while f"{words}-42" not in shown:
            kind, *rest = await self._socket.receive_json(timeout=20)
            shown += str(rest[0]) if kind == "stdout" else ""


@asynccontextmanager
async def terminal(event: Event) -> AsyncIterator[Echo]:
    """Open a terminal over a WebSocket through the data path."""
    async with aiohttp.ClientSession(headers={"Authorization": f"token {event['token']}"}) as client:
        async with client.post(f"{event['url']}api/terminals", json={}) as answer:
            name = (await answer.json())["name"]
        async with client.ws_connect(f"{event['url']}terminals/websocket/{name}") as socket:
            yield Echo(socket)
