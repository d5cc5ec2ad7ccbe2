"""A Docker of its own with nothing in it: what a new machine has."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

START_TIMEOUT = 60.0


@contextmanager
def second_engine() -> Iterator[Path]:
    """Run one whose images and containers are in a folder of its own; gives its socket.

    It has a bridge of its own and leaves the firewall alone: with the usual one, or none, it would take the bridge of
    the Docker that runs on this machine away.
    """
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        pytest.skip("dockerd is not installed, or this is not root")
    folder = Path(tempfile.mkdtemp(prefix="binderlet-docker-"))
    socket = folder / "docker.sock"
    with _bridge() as bridge, (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *("dockerd", "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")),
                *("--pidfile", str(folder / "pid"), "--host", f"unix://{socket}"),
                *("--bridge", bridge, "--iptables=false", "--ip-masq=false", "--ip-forward=false"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            _wait(socket, process, folder / "log")
            yield socket
        finally:
            _empty(socket)
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _unmount(folder)
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _bridge() -> Iterator[str]:
    name, net = f"bl{secrets.token_hex(4)}", 1 + secrets.randbelow(250)
    subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True, capture_output=True)
    try:
        subprocess.run(["ip", "addr", "add", f"10.213.{net}.1/24", "dev", name], check=True, capture_output=True)
        subprocess.run(["ip", "link", "set", name, "up"], check=True, capture_output=True)
        yield name
    finally:
        subprocess.run(["ip", "link", "del", name], check=False, capture_output=True)


def call(socket: Path, *arguments: str) -> list[str]:
    """Run Docker's command against it and give the words that it prints; errors are none of ours."""
    command = ["docker", "-H", f"unix://{socket}", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.split()


def _empty(socket: Path) -> None:
    """End its containers and remove its networks, whose bridges would stay."""
    if containers := call(socket, "ps", "-aq"):
        call(socket, "rm", "-f", *containers)
    if networks := call(socket, "network", "ls", "-q", "--filter", "type=custom"):
        call(socket, "network", "rm", *networks)


def _wait(socket: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not call(socket, "version", "--format", "{{.Server.Version}}"):
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.skip(f"a second dockerd does not start here: {log.read_text(errors='replace')[-500:]}")
        time.sleep(0.1)


def _unmount(folder: Path) -> None:
    """Take off what a daemon that was killed left mounted, the innermost first."""
    with contextlib.suppress(OSError):
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for mount in sorted((each for each in mounts if each.startswith(str(folder))), reverse=True):
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
