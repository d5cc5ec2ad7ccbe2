"""A whole federation on one machine: real binderlets with fake sessions, each behind a port that can be cut."""

from __future__ import annotations

import http.client
import json
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from support.cuttable_port import CuttablePort
from support.gitserver import GitServer, Repository
from support.service import COMMAND, LiveService, free_port, git_spec

SECRET = "5a" * 32
CHECK = {"period": 0.5, "jitter": 0.05, "retries": 3, "timeout": 2, "failed_period": 1}
START = 60.0


@dataclass
class LiveMember:
    """One binderlet and the way to it."""

    name: str
    service: LiveService
    way: CuttablePort


@dataclass
class Redirector:
    """One running redirector."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """Where it is, without slash."""
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
        """Ask without following: status, headers, body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path, headers=dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def where(self, path: str) -> str:
        """Give the address of the member that a launch is sent to."""
        status, headers, _ = self.get(path)
        assert status == 307, status
        return headers["location"].partition("/build/")[0]

    def members(self) -> dict[str, dict[str, Any]]:
        """Give how it sees the members."""
        rows = json.loads(self.get("/federation")[2])["members"]
        return {row["name"]: row for row in rows}

    def answers(self) -> bool:
        """Whether it answers yet."""
        assert self.process.poll() is None, "the redirector ended"
        try:
            return self.get("/federation/health")[0] == 200
        except OSError:
            return False

    def end(self) -> None:
        """End it as an operator would."""
        self.process.terminate()
        self.process.wait(30)


@dataclass
class LiveFederation:
    """Members, and the redirectors that were started."""

    folder: Path
    members: list[LiveMember]
    spec: str
    """A repository that can be launched."""
    port: int
    """Of the first redirector."""
    file: Path
    undo: ExitStack = field(repr=False)

    def redirector(self, port: int = 0) -> Redirector:
        """Start one more, and wait until it answers; it ends with the federation."""
        port = port or free_port()
        log = (self.folder / f"redirector-{port}.log").open("wb")
        self.undo.callback(log.close)
        arguments = ["federation", "serve", "--file", str(self.file), "--port", str(port)]
        process = subprocess.Popen([*COMMAND, *arguments], stdout=log, stderr=log)
        made = Redirector(port, process)
        self.undo.callback(_kill, process)
        wait_until(made.answers, START, "the redirector answers")
        return made

    def write(self, **keys: object) -> None:
        """Write the file, in the form of mybinder.org's."""
        hosts = {
            member.name: {
                "url": member.way.url,
                "weight": 50,
                "prime": number == 0,
                "health": f"{member.way.url}/health",
                "versions": f"{member.way.url}/versions",
            }
            for number, member in enumerate(self.members)
        }
        body = {
            "host": f"http://127.0.0.1:{self.port}",
            "check": CHECK,
            "load_balancer": "rendezvous",
            "pod_headroom": 2,
            "hosts": {**hosts, "gone": None},
        }
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps(body | keys))
        part.replace(self.file)


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def wait_until(look: Any, seconds: float, what: str) -> None:  # noqa: ANN401 - any callable
    """Return once ``look()`` is true; fail if it is not within that time."""
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            raise AssertionError(f"Not within {seconds:g} seconds: {what}")
        time.sleep(0.02)


@contextmanager
def federation(count: int = 3) -> Iterator[LiveFederation]:
    """Run that many members; nothing is left of them."""
    with ExitStack() as undo:
        # Not in pytest's folder: the paths of unix sockets must be short.
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="bl-fed-")))
        git = undo.enter_context(GitServer(folder / "git"))
        Repository(folder / "git" / "repo").commit({"README.md": "Hello"})
        port = free_port()
        members = []
        for number in range(count):
            way = undo.enter_context(CuttablePort())
            members.append(LiveMember(f"m{number}", _service(folder, number, way, port), way))
        for member in members:
            member.service.spawn()
            undo.push(member.service)
        for member in members:
            wait_until(member.service.is_healthy, START, f"{member.name} answers")
        made = LiveFederation(folder, members, git_spec(git.url("repo")), port, folder / "config.json", undo)
        made.write()
        yield made


def _service(folder: Path, number: int, way: CuttablePort, port: int) -> LiveService:
    settings = {
        "engine.kind": "fake",
        "server.public_url": f"{way.url}/",
        "federation.url": f"http://127.0.0.1:{port}/",
        "security.build_token_secret": SECRET,
        "sponsor.name": f"Host {number}",
        "limits.sessions": 5000,
        "limits.per_repository": 0,
        "limits.launches_per_hour": 100_000,
        "builder.min_free_disk": 0,
    }
    service = LiveService(folder / f"m{number}", name=f"fed-{uuid4().hex[:8]}", settings=settings)
    way.target = service.port
    return service


def launch(redirector: Redirector, spec: str, *, cookie: str = "", timeout: float = 30) -> dict[str, Any]:
    """Launch as a script does: follow the redirect, read the events; gives the last one.

    Raises:
        OSError: the way to the member failed.
    """
    headers = {"Accept": "text/event-stream"} | ({"Cookie": cookie} if cookie else {})
    request = urllib.request.Request(f"{redirector.url}/build/{spec}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            for line in answer:
                if line.startswith(b"data:"):
                    event: dict[str, Any] = json.loads(line[5:])
                    if event.get("phase") in {"ready", "failed"}:
                        return event
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    raise OSError("the stream ended before the launch did")
