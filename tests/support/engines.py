"""Real container engines for tests: a tiny image, a Podman of our own, and ways to look inside; all synchronous."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import io
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

TINY_IMAGE = "binderlet-test/tiny:1"
BUSYBOX = Path("/bin/busybox")
PROGRAMS = (
    "sh",
    "sleep",
    "cat",
    "echo",
    "grep",
    "httpd",
    "wget",
    "id",
    "nc",
    "dd",
    "head",
    "tail",
    "true",
    "false",
    "nslookup",
)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class EngineApi:
    """The plain API of an engine, for setting things up and looking inside; status 400 and above is an error."""

    def __init__(self, socket_path: str) -> None:
        self.socket_path = socket_path

    def call(self, method: str, path: str, body: object = None, **params: str) -> Any:  # noqa: ANN401 - JSON
        """Make one call and give its JSON; text where it is none."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        kind = "application/x-tar" if isinstance(body, bytes) else "application/json"
        connection = _UnixConnection(self.socket_path)
        try:
            url = f"/v1.41/{path}" + (f"?{urlencode(params)}" if params else "")
            connection.request(method, url, body=data, headers={"Content-Type": kind})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise OSError(answer.status, f"{method} {path}: {text}")
        try:
            return json.loads(text)
        except ValueError:
            return text

    def run(self, container: str, *command: str) -> str:
        """Run a command inside a container and give what it printed on both streams."""
        made = self.call(
            "POST",
            f"containers/{container}/exec",
            {"Cmd": command, "AttachStdout": True, "AttachStderr": True, "Tty": True},
        )
        connection = _UnixConnection(self.socket_path)
        try:
            # With a terminal the answer is plain bytes, not frames.
            body = json.dumps({"Detach": False, "Tty": True})
            connection.request("POST", f"/v1.41/exec/{made['Id']}/start", body, {"Content-Type": "application/json"})
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def ours(self, kind: str, instance: str) -> list[dict[str, Any]]:
        """List the containers or networks that an instance has, ended ones included."""
        filters = json.dumps({"label": [f"binderlet.instance={instance}"]})
        path = "containers/json" if kind == "containers" else kind
        found: list[dict[str, Any]] = self.call("GET", path, filters=filters, all="1")
        return found

    def clean(self, instance: str, network: str) -> None:
        """Remove all that an instance has, and its network."""
        for container in self.ours("containers", instance):
            with contextlib.suppress(OSError):
                self.call("DELETE", f"containers/{container['Id']}", force="1", v="1")
        for name in [network, *(found["Name"] for found in self.ours("networks", instance))]:
            with contextlib.suppress(OSError):
                self.call("DELETE", f"networks/{name}")


def fresh_name() -> str:
    """Give a name for an instance and its network that no other test has."""
    return f"t{secrets.token_hex(4)}"


def docker_socket() -> str:
    """Give the socket of the Docker that tests use, or skip the test."""
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    path = host.removeprefix("unix://")
    if not Path(path).is_socket():
        pytest.skip(f"no Docker listens at {path}")
    return path


def _tiny_rootfs() -> bytes:
    if not BUSYBOX.exists():
        pytest.skip("busybox-static is not installed")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777)):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            archive.addfile(entry)
        archive.add(BUSYBOX, "bin/busybox")
        for program in PROGRAMS:
            link = tarfile.TarInfo(f"bin/{program}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    return buffer.getvalue()


def tiny_image(api: EngineApi) -> str:
    """Give the name of an image with busybox and nothing else, made where it is absent."""
    with Path(tempfile.gettempdir(), "binderlet-test-tiny.lock").open("w") as lock:
        # Two test runs at once would both make it, and one copy would stay without a name.
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            api.call("GET", f"images/{quote(TINY_IMAGE, safe='')}/json")
        except OSError:
            name, _, tag = TINY_IMAGE.partition(":")
            # Podman ignores the tag parameter, Docker does not take a tag in repo together with one.
            api.call("POST", "images/create", _tiny_rootfs(), fromSrc="-", repo=f"{name}:{tag}")
    return TINY_IMAGE


@contextlib.contextmanager
def podman_service() -> Iterator[EngineApi]:
    """Run a Podman of our own, with its images in a folder of its own, or skip the test."""
    if shutil.which("podman") is None or os.geteuid() != 0:
        pytest.skip("Podman is not installed, or this is not root")
    # Not below pytest's own folder, whose cleaning would stumble over a mount that stayed.
    folder = Path(tempfile.mkdtemp(prefix="binderlet-podman-"))
    path = folder / "podman.sock"
    command = [
        "podman",
        *("--root", str(folder / "root"), "--runroot", str(folder / "run"), "--tmpdir", str(folder / "tmp")),
        *("--cgroup-manager", "cgroupfs", "--events-backend", "file"),
        *("system", "service", "--time", "0", f"unix://{path}"),
    ]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as process,
    ):
        try:
            while not path.is_socket():
                if process.poll() is not None:
                    pytest.fail(f"Podman did not start: {(folder / 'log').read_text()}")
                time.sleep(0.05)
            yield EngineApi(str(path))
        finally:
            process.terminate()
            process.wait()
            _clear(folder)


def _clear(folder: Path) -> None:
    """End Podman's helpers and remove its folder: one of them would wait five minutes, then mount it again."""
    deadline = time.monotonic() + 15
    while (helpers := _processes_naming(folder)) and time.monotonic() < deadline:
        for helper in helpers:
            with contextlib.suppress(OSError):
                os.kill(helper, signal.SIGKILL)
        time.sleep(0.05)
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((mount for mount in mounts if mount.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False)
    shutil.rmtree(folder, ignore_errors=True)


def _processes_naming(folder: Path) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(folder).encode() in process.read_bytes():
                found.append(int(process.parent.name))
    return found
