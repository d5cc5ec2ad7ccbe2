"""What goes wrong in builds, sessions and on the machine: said clearly, once, and nothing else suffers."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from support.cuttable import CuttableSocket
from support.gitserver import Program
from support.service import Event, LiveService
from support.site import Site, fetch, said, site, until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.docker,
    pytest.mark.haproxy,
    pytest.mark.timeout(300),  # the first start on a machine makes the base image
]

LOG_LIMIT = 65536
HELLO = {"README.md": "Hello"}
ENDLESS = 1024**5
"""Bytes that no disk has free."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One service for the tests of builds, sessions and the data path, with small limits."""
    root = tmp_path_factory.mktemp("faults")
    with site(root, builder__log_limit=LOG_LIMIT, builder__repository_limit=4 * 1024**2) as found:
        yield found


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One service with short deadlines, for what never ends by itself."""
    with site(tmp_path_factory.mktemp("hasty"), builder__timeout=7, session__start_timeout=6) as found:
        yield found


# Builds.


def test_a_failing_build(shared: Site) -> None:
    """A build that fails says so once, after its log, and closes the stream; a relaunch is answered from memory."""
    spec = shared.spec(
        "broken", {"postBuild": Program("#!/bin/sh\necho nonce-$(cat /proc/sys/kernel/random/uuid)\nexit 3\n")}
    )
    first = shared.service.launch(spec)
    assert [event["phase"] for event in first].count("failed") == 1
    assert (first[-1]["phase"], first[-1]["code"]) == ("failed", "build_failed")
    assert "exit code" in first[-1]["message"]
    assert "postBuild" in first[-1]["message"]
    nonces = re.findall(r"nonce-[0-9a-f-]{36}", said(first))
    assert len(nonces) == 1
    again = shared.service.launch(spec)
    assert said(again) == said(first)


def test_a_hanging_build(hasty: Site) -> None:
    """A build that hangs is ended at its deadline, with all it started, and the message has the deadline."""
    spec = hasty.spec("hanging", {"postBuild": Program("#!/bin/sh\necho begun\nsleep 4242\n")})
    events = hasty.service.launch(spec)
    assert "begun" in said(events)
    assert (events[-1]["phase"], events[-1]["code"]) == ("failed", "build_timeout")
    assert "longer than 7s" in events[-1]["message"]
    until(lambda: not running("sleep 4242"))


def test_a_build_that_prints_100_megabytes(shared: Site) -> None:
    """However much a build prints, its log stays within its limit and the service stays small."""
    files = {
        "postBuild": Program(
            "#!/bin/sh\nyes 0123456789abcdef0123456789abcdef | head -c 100000000\necho the last line\n"
        )
    }
    before = memory(shared.service)
    events = shared.service.launch(shared.spec("loud", files))
    assert events[-1]["phase"] == "ready", events[-3:]
    assert len(said(events)) < LOG_LIMIT + 300_000
    logs = [path.stat().st_size for path in (shared.service.state / "builds").glob("*/log")]
    assert max(logs) < LOG_LIMIT + 300_000
    assert memory(shared.service) - before < 50 * 1024**2


def test_a_repository_that_fills_its_limit(shared: Site) -> None:
    """A checkout larger than allowed is refused with both sizes, and nothing of it stays on the disk."""
    events = shared.service.launch(shared.spec("huge", {"data.bin": os.urandom(5 * 1024**2)}))
    assert events[-1]["phase"] == "failed"
    assert "4" in events[-1]["message"]
    assert "limit" in events[-1]["message"].lower() or "large" in events[-1]["message"].lower()
    assert not [path for path in (shared.service.state / "checkouts").rglob("*") if path.is_file()]


# Sessions.


def test_a_start_that_exits_at_once(shared: Site) -> None:
    """A session whose start script ends says so with its last lines, and its container is removed."""
    before = shared.containers()
    files = {"start": Program("#!/bin/sh\necho the licence server is away >&2\nexit 3\n")}
    failed = shared.service.launch(shared.spec("exits", files))[-1]
    assert (failed["phase"], failed["code"]) == ("failed", "session_died")
    assert "exit code" in failed["message"]
    assert "the licence server is away" in failed["message"]
    assert shared.containers() == before


def test_a_session_that_never_answers(hasty: Site) -> None:
    """A session that does not answer in time is ended, and the message says how long it had."""
    failed = hasty.service.launch(hasty.spec("silent", {"start": Program("#!/bin/sh\nexec sleep 4242\n")}))[-1]
    assert (failed["phase"], failed["code"]) == ("failed", "session_silent")
    assert "6 seconds" in failed["message"]
    assert (hasty.containers(), hasty.service.sessions()) == ([], [])


def test_a_disk_nearly_full(shared: Site) -> None:
    """Where too little disk is free, builds are refused and what is built goes on launching."""
    spec = shared.spec("built", HELLO)
    shared.service.ready(spec)
    shared.reload(builder__min_free_disk=ENDLESS)
    try:
        refused = shared.service.launch(shared.spec("new", HELLO))[-1]
        assert (refused["phase"], refused["code"]) == ("failed", "disk_full")
        assert "builds nothing now" in refused["message"]
        shared.service.ready(spec)
        status, body = shared.service.get("health")
        assert status == 200
        assert b"builds are refused" in body
    finally:
        shared.reload(builder__min_free_disk=0)
    # The refusal is over as soon as there is room: it is not remembered as a failed build.
    shared.service.ready(shared.spec("new", HELLO))


# The data path.


def test_the_haproxy_socket_is_gone(shared: Site) -> None:
    """Where HAProxy's socket is deleted, the watchdog brings up one that answers, with every route."""
    ready = shared.service.ready(shared.spec("built", HELLO))
    (shared.service.state / "run" / "haproxy.sock").unlink()
    until((shared.service.state / "run" / "haproxy.sock").exists)
    until(lambda: is_ok(shared.service))
    assert fetch(ready, "api/status")
    assert fetch(shared.service.ready(shared.spec("built", HELLO)), "api/status")


def test_haproxy_is_killed(shared: Site) -> None:
    """Where HAProxy dies, the watchdog starts it again, and sessions are reached as before."""
    ready = shared.service.ready(shared.spec("built", HELLO))
    for process in haproxies(shared.service):
        process.kill()
    until(lambda: is_ok(shared.service))
    assert fetch(ready, "api/status")
    assert fetch(shared.service.ready(shared.spec("built", HELLO)), "api/status")


# The engine.


def test_the_engine_is_down_at_start(tmp_path: Path) -> None:
    """Without an engine the start ends with a sentence that names the socket, and leaves nothing."""
    proxy = CuttableSocket(tmp_path / "docker.sock")
    with proxy:
        proxy.cut()
        words = refusal(LiveService(tmp_path / "s", name="e2e-none"), engine__socket=str(proxy.path))
    assert "The container engine does not answer" in words
    assert "Traceback" not in words


@pytest.fixture(scope="module")
def cuttable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, CuttableSocket]]:
    """A service whose way to the engine can be cut."""
    root = tmp_path_factory.mktemp("cut")
    with CuttableSocket(root / "docker.sock") as proxy, site(root, engine__socket=str(proxy.path)) as found:
        yield found, proxy


def test_the_engine_goes_down_while_launching(cuttable: tuple[Site, CuttableSocket]) -> None:
    """Sessions go on without an engine, a launch is tried again until it is back, and no container is left over."""
    here, proxy = cuttable
    spec = here.spec("built", HELLO)
    earlier = here.service.ready(spec)
    proxy.cut()
    try:
        story: list[Event] = []
        for event in here.service.stream(spec):
            story.append(event)
            if "retrying" in event["message"]:
                assert fetch(earlier, "api/status")
                proxy.mend()
    finally:
        if proxy.is_cut.is_set():
            proxy.mend()
    assert story[-1]["phase"] == "ready", story
    assert fetch(story[-1], "api/status")
    assert fetch(earlier, "api/status")
    until(lambda: len(here.containers()) == len(here.service.sessions()) == 2)


@pytest.mark.parametrize("call", [b"/containers/create", b"/start "])
def test_the_engine_goes_down_while_a_session_starts(cuttable: tuple[Site, CuttableSocket], call: bytes) -> None:
    """A container whose making was not answered becomes no orphan: the launch gets a session, and nobody else one."""
    here, proxy = cuttable
    spec = here.spec("built", HELLO)
    before = len(here.service.sessions())
    proxy.lose_answer_to = call
    for event in here.service.stream(spec):
        if "retrying" in event["message"]:
            assert proxy.is_cut.wait(5)
            assert len(here.containers()) == before + 1
            proxy.mend()
    assert event["phase"] == "ready", event
    assert fetch(event, "api/status")
    until(lambda: len(here.containers()) == len(here.service.sessions()) == before + 1)


def test_the_engine_goes_down_while_building(cuttable: tuple[Site, CuttableSocket]) -> None:
    """A build that loses the engine fails with a message that says so, and the next launch builds anew."""
    here, proxy = cuttable
    spec = here.spec("building", {"postBuild": Program("#!/bin/sh\necho begun\nsleep 3\n")})
    story: list[Event] = []
    for event in here.service.stream(spec):
        story.append(event)
        if event["message"].strip() == "begun":
            proxy.cut()
    assert (event["phase"], event["code"]) == ("failed", "engine_unavailable"), story[-3:]
    proxy.mend()
    assert here.service.ready(spec)


# Starting.


def test_the_port_is_taken(tmp_path: Path) -> None:
    """A port that somebody else has ends the start with a sentence that names the port and its holder."""
    with site(tmp_path, start=False) as found, socket.socket() as other:
        other.bind(("127.0.0.1", found.service.port))
        other.listen()
        words = refusal(found.service)
        assert re.search(rf"Port {found.service.port} on 127\.0\.0\.1 is taken by .*process {os.getpid()}", words)


def running(command: str) -> bool:
    """Whether a process has this command line."""
    return any(" ".join(process.info["cmdline"] or []) == command for process in psutil.process_iter(["cmdline"]))


def memory(service: LiveService) -> int:
    """Give the bytes of memory of the control plane alone."""
    assert service.process is not None
    return int(psutil.Process(service.process.pid).memory_info().rss)


def is_ok(service: LiveService) -> bool:
    """Whether the service calls itself healthy."""
    try:
        return service.get("health")[0] == 200
    except OSError:
        return False


def haproxies(service: LiveService) -> list[psutil.Process]:
    """Find the service's HAProxy processes."""
    return [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "haproxy" and str(service.state) in " ".join(process.info["cmdline"] or [])
    ]


def refusal(service: LiveService, **settings: object) -> str:
    """Start a service that cannot start; gives what it said. Nothing of it may be left."""
    service.set(**settings)
    assert service.spawn().wait(60) != 0
    assert haproxies(service) == []
    return service.log.read_text()
