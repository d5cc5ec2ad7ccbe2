"""What a session cannot do, tried from the inside of real ones."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from binderlet.engine.docker import DockerEngine
from binderlet.model import Session
from support.engine_harness import HUNGRY, SPEC, Harness, spec_of
from support.engines import EngineApi

SERVES = ("httpd", "-f", "-p", "8888", "-h", "/bin")


async def start(harness: Harness, session_id: str = SPEC.id, command: tuple[str, ...] = SPEC.command) -> Session:
    """Start a session."""
    return await harness.engine.start(spec_of(session_id, command))


async def inside(harness: Harness, session: Session, *command: str) -> str:
    """Run a command inside a session and give its output."""
    assert isinstance(harness.api, EngineApi)
    return await asyncio.to_thread(harness.api.run, session.engine_id, *command)


async def test_sessions_cannot_reach_each_other(real: Harness) -> None:
    """A session answers this machine and itself, and no other session."""
    server = await start(real, "server", SERVES)
    other = await start(real, "other", SERVES)
    host, port = server.address.split(":")
    async with asyncio.timeout(5):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                break
    reach = f"nc -w 2 {host} {port} < /dev/null && echo reached || echo refused"
    assert "reached" in await inside(real, server, "sh", "-c", reach)
    assert "refused" in await inside(real, other, "sh", "-c", reach)


async def test_session_runs_without_root_or_privileges(real: Harness) -> None:
    """Its program has user and group 1000, no other group, no capability, no way to new ones, and a seccomp filter."""
    session = await start(real)
    status = dict(
        line.split(":\t", 1)
        for line in (await inside(real, session, "cat", "/proc/1/status")).splitlines()
        if ":\t" in line
    )
    assert status["Uid"].split() == ["1000"] * 4
    assert status["Gid"].split() == ["1000"] * 4
    assert set(status["Groups"].split()) <= {"1000"}
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


async def test_image_cannot_choose_its_user(real: Harness) -> None:
    """An image whose user is root still runs as user 1000."""
    api = real.api
    assert isinstance(api, EngineApi)
    name = f"{real.instance}-root"
    base = await asyncio.to_thread(api.call, "POST", "containers/create", {"Image": SPEC.image, "Cmd": ["true"]})
    try:
        await asyncio.to_thread(
            lambda: api.call("POST", "commit", {"User": "root"}, container=base["Id"], repo=name, tag="1")
        )
        spec = replace(spec_of(), image=f"{name}:1")
        session = await real.engine.start(spec)
        assert "Uid:\t1000" in await inside(real, session, "cat", "/proc/1/status")
        await real.engine.stop(spec.id)
    finally:
        await asyncio.to_thread(api.call, "DELETE", f"containers/{base['Id']}")
        await asyncio.to_thread(api.call, "DELETE", f"images/{name}:1")


async def test_number_of_processes_is_limited(real: Harness) -> None:
    """A session that starts processes without end is stopped at its limit and lives on."""
    session = await start(real)
    bomb = "i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done; wait"
    said = await inside(real, session, "sh", "-c", bomb)
    assert "fork" in said
    assert len(await real.engine.list()) == 1


async def test_memory_is_limited_and_the_reason_is_told(real: Harness) -> None:
    """A session that takes more memory than its limit ends, and the watch says why."""
    assert isinstance(real.engine, DockerEngine)
    # Podman 4.3 takes no note of it where control groups have version 1.
    because = "it was killed" if real.engine._client.is_podman else "it ran out of memory"
    watch = real.engine.watch()
    session = await start(real, command=HUNGRY)
    ended = await asyncio.wait_for(anext(watch), 15)
    assert (ended.id, ended.exit_code, ended.ended_because) == (session.id, 137, because)
    async with asyncio.timeout(5):
        # Docker tells of the end before its own list knows.
        while [listed.ended_because for listed in await real.engine.list()] != [because]:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)


async def test_limits_are_those_of_the_session(real: Harness) -> None:
    """The engine has the limits that were asked for."""
    session = await start(real)
    assert isinstance(real.api, EngineApi)
    container = await asyncio.to_thread(real.api.call, "GET", f"containers/{session.engine_id}/json")
    host = container["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (64 * 1024**2, 500_000_000, 32)
    limits = await inside(real, session, "cat", "/proc/1/limits")
    assert "Max open files            4096                 16384" in limits
    assert "Max core file size        0                    0 " in limits


async def test_no_port_is_published(real: Harness) -> None:
    """A session is reached at its own address only, never by a port of this machine."""
    session = await start(real, command=SERVES)
    assert isinstance(real.api, EngineApi)
    container = await asyncio.to_thread(real.api.call, "GET", f"containers/{session.engine_id}/json")
    assert not any((container["NetworkSettings"].get("Ports") or {}).values())


@pytest.mark.docker
async def test_lost_processes_are_reaped(docker: Harness) -> None:
    """Processes whose parent is gone do not stay as zombies, which would count against the session's limit."""
    session = await start(docker)
    await inside(docker, session, "sh", "-c", "sh -c 'sleep 0.1 & sleep 0.1 &' ; sleep 0.5")
    states = await inside(docker, session, "sh", "-c", "cat /proc/[0-9]*/status | grep State")
    assert "zombie" not in states
