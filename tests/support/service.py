"""The whole service as a process of its own: ``binderlet up`` with real parts, as an operator runs it.

Used by the end-to-end tests and the benchmarks. Each has its own instance name, network, port and state folder, so
that several can run beside each other; the base image is shared, since it depends on its recipe alone.
"""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from binderlet.clients import nftables
from binderlet.clients.nftables import NftablesUnusable
from binderlet.engine.egress import table
from support.gitserver import Files, GitServer, Repository

Event = dict[str, Any]
COMMAND = (sys.executable, "-m", "binderlet.cli")
START_TIMEOUT = 300.0
"""Seconds; the first start on a machine makes the base image."""


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def forget_rules(name: str) -> None:
    """Remove the network rules of a service that was killed, or whose start failed half-way."""
    with suppress(NftablesUnusable):  # then it had none
        nftables.remove(table(name))


class ServiceError(AssertionError):
    """The service did not do what the test needs; the message has the end of its log."""


class LiveService:
    """One service; a context manager that leaves nothing running."""

    def __init__(self, state: Path, *, name: str, settings: Mapping[str, object] | None = None) -> None:
        self.state = state
        self.name = name
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.log = state / "service.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.repo_url = ""
        """Where a repository is served for it, if one is."""
        self.wrapper: tuple[str, ...] = ()
        """A command that runs the service, such as one that takes rights away."""
        self._settings = {
            "server.port": self.port,
            "server.host": "127.0.0.1",
            "server.instance": name,
            "engine.network": name,
            "paths.state": state,
            "log.format": "text",
            "builder.image_prefix": f"{name}/i-",
            # What is measured or counted is what the test asked for; tests of standbys switch them on.
            "standby.enabled": False,
            # Other tests' images are on this engine, too: they are not this service's to remove.
            "disk.enabled": False,
            **(settings or {}),
        }

    def set(self, **settings: object) -> None:
        """Change settings for the next start; ``cull__idle=5`` is ``cull.idle``."""
        self._settings.update({key.replace("__", "."): value for key, value in settings.items()})

    def arguments(self) -> list[str]:
        """Give the settings as arguments of any command."""
        pairs = ((key, _toml(value)) for key, value in self._settings.items())
        return [part for key, value in pairs for part in ("--set", f"{key}={value}")]

    def start(self) -> Self:
        """Start the control plane and wait until it answers."""
        self.spawn()
        deadline = time.monotonic() + START_TIMEOUT
        while not self.is_healthy():
            if self.process is None or self.process.poll() is not None:
                raise ServiceError(f"The service ended:\n{self.last_lines()}")
            if time.monotonic() > deadline:
                raise ServiceError(f"The service does not come up:\n{self.last_lines()}")
            time.sleep(0.02)
        return self

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the control plane without waiting."""
        self.state.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*self.wrapper, *COMMAND, "up", *self.arguments()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.process

    def is_healthy(self) -> bool:
        """Whether the control plane answers through HAProxy."""
        try:
            return self.get("health")[0] in {200, 503} and self.admin("GET", "/status")[0] == 200
        except OSError:
            return False

    def kill(self) -> None:
        """End the control plane as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def interrupt(self) -> int:
        """End it as Ctrl-C would, and give its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def stop(self) -> None:
        """End everything, also what a killed control plane left."""
        if self.process is not None and self.process.poll() is None:
            self.interrupt()
        elif self.process is not None:
            self.start().interrupt()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            if self.process is not None and self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self._remove_images()
            subprocess.run([docker(), "network", "rm", self.name], check=False, capture_output=True)
            forget_rules(self.name)

    def _remove_images(self) -> None:
        """Remove what it built; environments stay, as others may share them."""
        listed = [docker(), "images", "--format", "{{.Repository}}:{{.Tag}}", f"{self.name}/*"]
        names = subprocess.run(listed, check=False, capture_output=True, text=True).stdout.split()
        if names:
            subprocess.run([docker(), "rmi", "--force", *names], check=False, capture_output=True)

    def last_lines(self, count: int = 30) -> str:
        """Give the end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """Fetch a path through HAProxy; gives status and body."""
        request = urllib.request.Request(self.url + path.lstrip("/"), headers=dict(headers or {}))
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def admin(self, method: str, path: str) -> tuple[int, Any]:
        """Ask the operator's socket; gives status and JSON."""
        client = _UnixConnection(str(self.state / "run" / "admin.sock"))
        try:
            client.request(method, path)
            answer = client.getresponse()
            body = answer.read()
            return answer.status, json.loads(body) if body else None
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            client.close()

    def sessions(self) -> list[dict[str, Any]]:
        """List the sessions."""
        found: list[dict[str, Any]] = self.admin("GET", "/sessions")[1]
        return found

    def stream(self, spec: str, *, after: str = "", timeout: float = 120.0) -> Generator[Event, None, None]:
        """Ask for a launch and yield its events, each with its ``id``, until the stream ends."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
        request = urllib.request.Request(f"{self.url}build/{spec}", headers=headers)
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            event_id = ""
            for line in answer:
                if line.startswith(b"id:"):
                    event_id = line[3:].strip().decode()
                elif line.startswith(b"data:"):
                    event: Event = json.loads(line[5:])
                    yield event | {"id": event_id}
                    if event.get("phase") in {"ready", "failed"}:
                        return

    def launch(self, spec: str, *, timeout: float = 120.0) -> list[Event]:
        """Launch and give all events."""
        return list(self.stream(spec, timeout=timeout))

    def ready(self, spec: str, *, timeout: float = 120.0) -> Event:
        """Launch and give the ready event; fails with the whole story where it does not get there."""
        events = self.launch(spec, timeout=timeout)
        if not events or events[-1].get("phase") != "ready":
            story = "\n".join(str(event.get("message", "")).strip() for event in events)
            raise ServiceError(f"The launch failed:\n{story}\n{self.last_lines()}")
        return events[-1]


def docker() -> str:
    """Give Debian's own docker command."""
    return "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"


def git_spec(url: str, ref: str = "HEAD") -> str:
    """Give the spec of any git URL."""
    return f"git/{urllib.parse.quote(url, safe='')}/{ref}"


@contextmanager
def repository(root: Path, files: Mapping[str, Any], name: str = "repo") -> Iterator[tuple[Repository, str]]:
    """Serve a repository with one commit; gives it and its URL."""
    with GitServer(root) as server:
        made = Repository(root / name)
        made.commit(files)
        yield made, server.url(name)


@dataclass(frozen=True)
class Forge:
    """Where the tests' repositories are."""

    root: Path
    server: GitServer

    def repository(self, files: Files, name: str = "") -> tuple[Repository, str]:
        """Make a repository of the name ``owner/name`` with one commit; gives it and its URL."""
        name = name or f"o/r{uuid4().hex[:8]}"
        made = Repository(self.root / name)
        made.commit(files)
        return made, self.server.url(name)


def remove_images(reference: str) -> None:
    """Remove the images of these names."""
    names = ["image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", f"reference={reference}"]
    found = subprocess.run([docker(), *names], check=True, capture_output=True, text=True).stdout.split()
    if found:
        subprocess.run([docker(), "image", "rm", "--force", *found], check=False, capture_output=True)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _toml(value: object) -> str:
    return json.dumps(value) if isinstance(value, bool | list | dict) else str(value)


Serve = Callable[..., AbstractContextManager[LiveService]]
"""Runs a service with settings: ``serve(cull__idle=5)``."""
