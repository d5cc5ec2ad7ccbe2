"""The HAProxy process: finding, starting and ending it; ``test_haproxy.py`` has it in use."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from binderlet.errors import AddressInUse, MissingProgram, RouterUnavailable
from binderlet.router import process
from binderlet.router.process import (
    HAProxyProcess,
    find_program,
    open_file_limit,
    own_words,
    port_holder,
    unprivileged_user,
)
from support.routers import folder_for_sockets
from support.upstreams import free_port

PLAIN = """
global
  stats socket unix@haproxy.sock mode 600 level admin
  noreuseport
defaults
  mode http
  timeout connect 1s
  timeout client 1s
  timeout server 1s
frontend f
  bind 127.0.0.1:{port}
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for HAProxy."""
    with folder_for_sockets() as made:
        yield made


def make(folder: Path, port: int, text: str = PLAIN, *, timeout: float = 20) -> HAProxyProcess:
    """Write a configuration and give its process, not started."""
    (folder / "haproxy.cfg").write_text(text.format(port=port))
    return HAProxyProcess(folder, host="127.0.0.1", port=port, timeout=timeout)


def program(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a shell script in HAProxy's place."""
    (folder / "haproxy").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "haproxy").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.haproxy
class TestWithHAProxy:
    """With the real program."""

    async def test_life(self, folder: Path) -> None:
        """It is checked, started, reloaded, ended; ending it again does nothing."""
        haproxy = make(folder, free_port())
        await haproxy.check()
        assert await haproxy.reload() is False
        await haproxy.start()
        async with asyncio.timeout(5):
            while not await haproxy.reload():  # noqa: ASYNC110 - the pid file comes a moment after the start
                await asyncio.sleep(0.02)
        await haproxy.end()
        assert await haproxy.retire() is False
        await haproxy.end()
        assert not (folder / "haproxy.sock").exists()

    async def test_refused_configuration(self, folder: Path) -> None:
        """HAProxy's own words are in the error, without process ids."""
        haproxy = make(folder, free_port(), "global\n  no_such_word\n")
        with pytest.raises(RouterUnavailable, match=r"says: .*no_such_word") as caught:
            await haproxy.check()
        assert "[ALERT]" not in caught.value.message

    async def test_port_that_becomes_free(self, folder: Path) -> None:
        """With patience, a start waits for a port that is about to be given up."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            haproxy = make(folder, taken.getsockname()[1])
            with pytest.raises(AddressInUse, match=rf"process {os.getpid()}"):
                await haproxy.start(patience=0.2)
            assert str(os.getpid()) in await haproxy.port_holder()
        try:
            await haproxy.start(patience=0.2)
        finally:
            await haproxy.end()

    async def test_warnings_are_logged(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """What HAProxy says at a start that succeeds is in the log."""
        haproxy = make(folder, free_port(), PLAIN + "  use_backend none if FALSE\n  http-request deny\nbackend none\n")
        try:
            await haproxy.start()
        finally:
            await haproxy.end()
        said = capsys.readouterr()
        # Where logs go is up to whoever set them up last in this process.
        assert "HAProxy started" in said.out + said.err


class TestFaults:
    """With something else in HAProxy's place."""

    async def test_no_permission(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A low port without root is an error with a hint."""
        program(folder, "echo 'cannot bind socket (Permission denied)' >&2; exit 1", monkeypatch)
        with pytest.raises(RouterUnavailable, match="Permission denied") as caught:
            await make(folder, 80).start()
        assert "root" in caught.value.hint

    async def test_never_comes_up(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A start that hangs is ended and said to be so."""
        program(folder, "exec sleep 60", monkeypatch)
        with pytest.raises(RouterUnavailable, match=r"did not come up in 0\.2 s"):
            await make(folder, 80, timeout=0.2).start()

    async def test_taken_by_nobody_we_see(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the holder of the port cannot be seen, it is another program."""
        program(folder, "echo '(Address already in use)' >&2; exit 1", monkeypatch)
        with pytest.raises(AddressInUse, match="taken by another program"):
            await make(folder, free_port()).start()

    async def test_pid_file_of_something_else(self, folder: Path) -> None:
        """Pid files that are damaged, stale or another program's lead to no signal."""
        haproxy = make(folder, free_port())
        for text in ("", "x", "999999999", str(os.getpid())):
            (folder / "haproxy.pid").write_text(text)
            assert await haproxy.reload() is False

    async def test_ends_what_does_not_want_to(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A HAProxy that ignores the request to end is ended."""
        haproxy = make(folder, free_port())
        script = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"
        stubborn = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, str(haproxy.config), stdout=asyncio.subprocess.PIPE
        )
        assert stubborn.stdout is not None
        await stubborn.stdout.readline()
        monkeypatch.setattr(process, "STOP_TIMEOUT", 0.2)
        monkeypatch.setattr(process, "PROGRAM", await asyncio.to_thread(psutil.Process(stubborn.pid).name))
        await haproxy.end()
        assert await stubborn.wait() == -signal.SIGKILL


def test_signal_to_a_process_that_has_gone() -> None:
    """A process that ends before its signal comes is no error."""
    with subprocess.Popen(["true"]) as short:
        seen = psutil.Process(short.pid)
        short.wait()
    assert process._send(seen, signal.SIGTERM) is False


def test_process_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that cannot be looked at is not ours."""

    def refuse(_: psutil.Process) -> str:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "name", refuse)
    assert HAProxyProcess(tmp_path, host="", port=1)._is_ours(psutil.Process()) is False


def test_find_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Programs are found on PATH and where system programs are; a missing one says what to install."""
    assert find_program("sh").endswith("/sh")
    (tmp_path / "tool").write_text("")
    (tmp_path / "tool").chmod(0o755)
    monkeypatch.setattr(process, "SEARCH", (str(tmp_path),))
    assert find_program("tool") == str(tmp_path / "tool")
    with pytest.raises(MissingProgram, match="no-such-program is not installed"):
        find_program("no-such-program")


def test_own_words() -> None:
    """Notices go, prefixes go, the rest is one line."""
    said = "[NOTICE]   (1) : New worker\n[ALERT]    (1) : config : bad\n\n[WARNING]  (1) : odd\nplain\n"
    assert own_words(said) == "config : bad odd plain"


def test_port_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The listener on a port is named, but not one of ours, one that has gone, or where we may not look."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert port_holder(port, "no-such-argument").endswith(f"(process {os.getpid()})")
        assert port_holder(port, psutil.Process().cmdline()[-1]) == ""
        gone = SimpleNamespace(status=psutil.CONN_LISTEN, laddr=SimpleNamespace(port=port), pid=999999999)
        monkeypatch.setattr(psutil, "net_connections", lambda **_: [gone])
        assert port_holder(port, "") == ""

    def refuse(**_: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", refuse)
    assert port_holder(port, "") == ""


def test_open_file_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hard limit counts; no limit is a large one."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    assert open_file_limit() == 4096
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, resource.RLIM_INFINITY))
    assert open_file_limit() == 1_000_000


class TestUnprivilegedUser:
    """Whom HAProxy becomes."""

    @pytest.fixture(autouse=True)
    def users(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
        """A machine on which we are root and there is a user for HAProxy."""
        users = {"haproxy": 7}

        def look_up(name: str) -> SimpleNamespace:
            return SimpleNamespace(pw_gid=users[name])

        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(pwd, "getpwnam", look_up)
        monkeypatch.setattr(grp, "getgrgid", lambda number: SimpleNamespace(gr_name=f"group-{number}"))
        return users

    def test_user_of_the_package(self, folder: Path) -> None:
        """As root with an open path, it is the package's user."""
        folder.chmod(0o711)
        assert unprivileged_user(folder) == "haproxy:group-7"

    def test_nobody(self, folder: Path, users: dict[str, int]) -> None:
        """Without the package's user it is nobody, and without either it stays root."""
        folder.chmod(0o755)
        users["nobody"] = users.pop("haproxy")
        assert unprivileged_user(folder) == "nobody:group-7"
        users.clear()
        assert unprivileged_user(folder) == ""

    def test_closed_path(self, folder: Path) -> None:
        """Where that user could not reach the control plane, it stays root."""
        folder.chmod(0o700)
        assert unprivileged_user(folder) == ""

    def test_not_root(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A plain user's HAProxy stays that user's."""
        folder.chmod(0o755)
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        assert unprivileged_user(folder) == ""
