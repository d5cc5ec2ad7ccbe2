"""Builds that a socket's other side starts, as systemd does: one process for each connection."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from binderlet.builder import asked, supervisor
from binderlet.builder.job import Job, JobSpec
from binderlet.errors import BuildFailed


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name."""
    with tempfile.TemporaryDirectory(prefix="bl-j-") as made:
        yield Path(made)


@contextmanager
def systemd(root: Path) -> Iterator[str]:
    """Accept connections and start the program with each as its standard input; gives the socket."""
    command = [sys.executable, "-I", "-m", "binderlet.builder.asked", str(root)]
    started: list[subprocess.Popen[bytes]] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(root / "job.sock"))
        listener.listen()

        def accept() -> None:
            with contextlib.suppress(OSError):  # it is closed at the end
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        started.append(subprocess.Popen(command, stdin=connection.fileno()))

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield str(root / "job.sock")
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=10)
            for process in started:
                process.wait(timeout=20)


async def test_a_job_runs_to_its_end(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has this process's environment, which nobody else can read, and its outcome is found as ever."""
    monkeypatch.setenv("WHO", "you")
    with systemd(root) as path:
        job = Job(root / "jobs" / "one", path)
        await job.start(JobSpec(["sh", "-c", "echo hello $WHO; exit 3"], log=root / "log"))
        outcome = await job.wait()
    assert (outcome.code, outcome.reason, outcome.tail) == (3, "exited", "hello you\n")
    status = await asyncio.to_thread(job.folder.stat)
    assert status.st_mode & 0o777 == 0o700


async def test_nobody_listens(root: Path) -> None:
    """A build that cannot be started says where to look."""
    with pytest.raises(BuildFailed, match="does not answer") as error:
        await Job(root / "job", str(root / "none.sock")).start(JobSpec(["true"]))
    assert "binderlet-job.socket" in error.value.hint


@pytest.mark.parametrize("line", ["/etc\n", "{root}\n", "{root}/../x\n", "{root}/none\n", "\n", "{root}/link\n"])
def test_only_folders_below_the_root(root: Path, line: str) -> None:
    """Any other folder is refused, however it is written."""
    (root / "link").symlink_to("/etc")
    command = [sys.executable, "-I", "-m", "binderlet.builder.asked", str(root)]
    done = subprocess.run(command, input=line.format(root=root).encode(), check=False)
    assert done.returncode == asked.WRONG


def told(line: str) -> int:
    """Give a descriptor that the line can be read from."""
    reading, writing = os.pipe()
    os.write(writing, line.encode())
    os.close(writing)
    return reading


def test_only_this_users_folders(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of somebody else is not run."""
    (root / "job").mkdir()
    source = told(f"{root}/job\n")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert asked.main(str(root), source) == asked.WRONG
    os.close(source)


def test_in_this_process(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lets go of its standard input and runs the folder's job."""
    (root / "job").mkdir()
    ran: list[str] = []

    def run(folder: str) -> int:
        ran.append(folder)
        return 5

    monkeypatch.setattr(supervisor, "main", run)
    monkeypatch.chdir(root)
    source = told(f"{root}/job\n")
    assert asked.main(str(root), source) == 5
    assert ran == [str(root / "job")]
    assert Path(f"/proc/self/fd/{source}").readlink() == Path(os.devnull)
    os.close(source)
