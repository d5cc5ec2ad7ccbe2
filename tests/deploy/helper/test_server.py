"""The root helper on a real socket: who may ask, and what comes back."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from binderlet.deploy.helper import server
from binderlet.deploy.helper.actions import Actions
from binderlet.deploy.helper.requests import Tend
from support.root_helper import root_helper

ID = "a1" * 32


def say(path: str, *pieces: bytes) -> dict[str, object]:
    """Send these bytes one after the other, and give the answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(path)
        for piece in pieces:
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as file:
            answer: dict[str, object] = json.loads(file.readline())
    return answer


def test_answers_and_refusals(tmp_path: Path) -> None:
    """A request may come in pieces; what is none is refused, and the next one is answered."""
    with root_helper(tmp_path) as path:
        line = json.dumps({"verb": "reclaim", "container": ID}).encode() + b"\n"
        assert say(path, line[:10], line[10:]) == {}
        assert say(path, b'{"verb": "shell"}\n') == {"refused": "there is no such verb"}
        assert say(path, b"half a line") == {"refused": "it did not come whole"}
        assert say(path, b"x" * (server.LONGEST + 1)) == {"refused": "it is too long"}
        assert say(path, line) == {}


def test_other_users_are_refused(tmp_path: Path) -> None:
    """The kernel says who asks; the socket's rights are not the only wall."""
    script = "import os, sys; os.setuid(65534); sys.path[:] = sys.argv[2:]; import socket\n"
    script += "c = socket.socket(socket.AF_UNIX); c.connect(sys.argv[1]); c.sendall(b'{}\\n'); print(c.recv(99))"
    if os.geteuid() != 0:
        pytest.skip("only root can be another user")
    with root_helper(tmp_path, users=set()) as path:
        for part in (Path(path).parent, Path(path)):
            part.chmod(0o777)
        done = subprocess.run(
            [sys.executable, "-c", script, path, *sys.path], capture_output=True, text=True, check=False, cwd="/"
        )
    assert "this user may not ask" in done.stdout, done.stderr


def test_one_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not hold its place for long, and there is an end to places."""
    monkeypatch.setattr(server, "PATIENCE", 0.05)
    monkeypatch.setattr(server, "MOST_AT_ONCE", 1)
    with root_helper(tmp_path) as path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(path)
        assert json.loads(connection.recv(200)) == {"refused": "it did not come whole"}


def test_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many is hung up on."""
    monkeypatch.setattr(server, "MOST_AT_ONCE", 1)
    with root_helper(tmp_path) as path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as first:
        first.connect(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as second:
            second.connect(path)
            assert second.recv(10) == b""


def test_descriptors_are_closed(tmp_path: Path) -> None:
    """What comes along with a request that takes none is not kept."""
    with root_helper(tmp_path) as path:
        reading, writing = os.pipe()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(path)
            socket.send_fds(connection, [b'{"verb": "nothing"}\n'], [writing])
            os.close(writing)
            assert b"no such verb" in connection.recv(200)
        assert os.read(reading, 1) == b"", "nobody has the other end any more"
        os.close(reading)


def test_too_many_descriptors(tmp_path: Path) -> None:
    """Nobody can fill the helper with open files."""
    reading, writing = os.pipe()
    with root_helper(tmp_path) as path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(path)
        for _ in range(2):
            socket.send_fds(connection, [b" "], [reading, writing])
        assert b"too many files" in connection.recv(200)
    os.close(reading)
    os.close(writing)


def test_steps_are_tended_until_the_other_side_hangs_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words are passed on as they come; then the place is free again."""
    words = iter(["", "disk"])
    ended = threading.Event()

    def tend(_self: Actions, _request: Tend, tell: Callable[[str], bool]) -> None:
        while tell(next(words, "")):
            time.sleep(0.01)
        ended.set()

    monkeypatch.setattr(Actions, "tend", tend)
    body = {"verb": "tend", "mark": "x.binderlet.invalid", "share": 2, "processes": 0, "oom_score": 0, "disk": 0}
    with root_helper(tmp_path) as path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(path)
        connection.sendall(json.dumps(body).encode() + b"\n")
        assert connection.recv(10) == b"disk\n"
        connection.close()
        assert ended.wait(10)


def test_telling_nobody() -> None:
    """A connection that is closed on this side, too, ends it."""
    closed = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    closed.close()
    assert not server._tell(closed, "disk")


def test_systemd_passes_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it there is nothing to serve; with it the file's owner is served."""
    with pytest.raises(RuntimeError, match="systemd"):
        server.listener({})
    with tempfile.TemporaryDirectory(prefix="bl-h-") as folder:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.bind(f"{folder}/h.sock")
        made.listen()
        monkeypatch.setattr(server, "FIRST_PASSED", made.detach())
        served: list[set[int]] = []

        real = server.Server.run

        def run(self: server.Server) -> None:
            served.append(self._users)
            signal.raise_signal(signal.SIGUSR1)
            real(self)
            signal.raise_signal(signal.SIGUSR1)  # a second one does no harm
            self._listener.close()

        monkeypatch.setattr(server.Server, "run", run)
        monkeypatch.setattr(signal, "signal", keep_handler := Handlers())
        try:
            server.main({"LISTEN_FDS": "1"})
        finally:
            keep_handler.put_back()
        assert served == [{0, os.geteuid()}]


class Handlers:
    """Sets handlers of signals, and puts back what there was."""

    def __init__(self) -> None:
        self._set, self._before = signal.signal, dict[int, Any]()

    def __call__(self, number: int, handler: Any) -> None:  # noqa: ANN401 - as the standard library has it
        """Set one."""
        self._before[number] = self._set(number, handler)

    def put_back(self) -> None:
        """Put all back."""
        for number, handler in self._before.items():
            self._set(number, handler)


def test_what_was_begun_is_ended(tmp_path: Path) -> None:
    """One that drains answers who asked before, ends what never ends by itself, and leaves the rest to the next one."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    wait = ("/bin/sh", "-c", f"cat {gate}; exit 7")
    tend = {"verb": "tend", "mark": "x.binderlet.invalid", "share": 2, "processes": 0, "oom_score": 0, "disk": 0}
    with tempfile.TemporaryDirectory(prefix="bl-h-") as folder, socket.socket(socket.AF_UNIX) as listener:
        path = f"{folder}/h.sock"
        listener.bind(path)
        listener.listen()
        old = server.Server(listener, Actions(tmp_path, bootstrap=wait), {os.geteuid()})
        serving = threading.Thread(target=old.run, daemon=True)
        serving.start()
        with (
            socket.socket(socket.AF_UNIX) as system,
            socket.socket(socket.AF_UNIX) as tending,
            socket.socket(socket.AF_UNIX) as late,
            Path(os.devnull).open("w") as null,
        ):
            for each in (system, tending, late):
                each.settimeout(10)
            system.connect(path)
            body = {"verb": "system", "suite": "bookworm", "lines": [], "environment": {}}
            socket.send_fds(system, [json.dumps(body).encode() + b"\n"], [null.fileno(), null.fileno()])
            tending.connect(path)
            tending.sendall(json.dumps(tend).encode() + b"\n")
            with gate.open("w"):  # the program has begun
                old.drain()
                assert tending.recv(10) == b""
                late.connect(path)
                late.sendall(b'{"verb": "nothing"}\n')
                assert serving.is_alive()
            assert json.loads(system.recv(100)) == {"code": 7}
            serving.join(10)
            assert not serving.is_alive()
            threading.Thread(target=(new := server.Server(listener, Actions(tmp_path), set())).run, daemon=True).start()
            assert b"no such verb" in late.recv(100)
            new.drain()
