"""Asking the root helper."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from binderlet.clients import helper
from binderlet.clients.helper import HelperAway, HelperRefused, Tending, ask, main, make_system
from support.root_helper import root_helper

LINE = "deb http://deb.debian.org/debian bookworm main"
LIMITS = {"mark": "x.binderlet.invalid", "share": 100, "processes": 64, "oom_score": 500, "disk": 0}


@contextmanager
def answering(act: Callable[[socket.socket], None]) -> Iterator[str]:
    """Run a server that does this with each connection."""
    with tempfile.TemporaryDirectory(prefix="bl-h-") as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/h.sock")
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    act(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"{folder}/h.sock"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=10)


def test_answers_and_refusals(tmp_path: Path) -> None:
    """What was done is told; a refusal and a helper that is away are errors of their own."""
    with root_helper(tmp_path) as path:
        assert ask(path, "reclaim", container="a" * 64) == {}
        with pytest.raises(HelperRefused, match="no such verb"):
            ask(path, "shell")
    with pytest.raises(HelperAway):
        ask(path, "reclaim", container="a" * 64)
    with pytest.raises(HelperAway):
        make_system(path, "bookworm", [], {}, (1, 2))
    with answering(lambda _: None) as mute, pytest.raises(HelperAway, match=r"hung up|reset|Broken"):
        ask(mute, "reclaim", container="a" * 64)


def test_the_debian_part(tmp_path: Path) -> None:
    """It is written to the files that go along; the program's exit code comes back."""
    with root_helper(tmp_path) as path, (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        assert make_system(path, "bookworm", [LINE], {"http_proxy": "p"}, (out.fileno(), err.fileno())) == 7
    assert (tmp_path / "out").read_text() == f"['bookworm', '{LINE}'] ['LC_ALL', 'PATH', 'http_proxy']\n"
    assert (tmp_path / "err").read_text() == "words"


def test_as_a_program(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What it writes is its own output; a refusal is said."""
    monkeypatch.setenv("http_proxy", "http://p:3128")
    with root_helper(tmp_path) as path:
        assert main([path, "bookworm", LINE]) == 7
        assert "http_proxy" in capfd.readouterr().out
        assert main([path, "sid"]) == 1
    assert "suite has not the form" in capfd.readouterr().err


def test_steps_are_tended_while_it_lasts(tmp_path: Path) -> None:
    """The helper limits the steps; when it goes and comes again, it is asked again."""
    step = tmp_path / "docker" / "buildkit" / "step"
    step.mkdir(parents=True)
    (tmp_path / "cgroup.controllers").touch()
    (step / "cgroup.procs").write_text("")
    (step / "pids.max").write_text("max")
    with root_helper(tmp_path) as path:
        tending = Tending(path, LIMITS)
        deadline = time.monotonic() + 10
        while (step / "pids.max").read_text() != "64" and time.monotonic() < deadline:
            assert tending.tend(0.0) == ""
            time.sleep(0.01)
        assert (step / "pids.max").read_text() == "64"
        tending.close()
        tending.close()
    assert Tending(path, LIMITS).tend(0.0) == ""


def test_a_step_that_wrote_too_much() -> None:
    """The helper's word is given on; where it hangs up, the next look connects again."""
    connections: list[int] = []

    def act(connection: socket.socket) -> None:
        connections.append(1)
        connection.recv(1000)
        connection.sendall(b"disk\n")

    with answering(act) as path:
        tending = Tending(path, LIMITS)
        deadline = time.monotonic() + 10
        words: list[str] = []
        while words.count("disk") < 2 and time.monotonic() < deadline:
            words.append(tending.tend(0.0))
            time.sleep(0.01)
        tending.close()
    assert words.count("disk") == 2
    assert len(connections) >= 2


def test_standard_library_alone() -> None:
    """The supervisor imports it without site-packages."""
    code = "import sys; sys.path.append(sys.argv[1]); import binderlet.clients.helper"
    sources = str(Path(helper.__file__).parents[2])
    subprocess.run([sys.executable, "-I", "-S", "-c", code, sources], check=True)
