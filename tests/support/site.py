"""A running service and a git server beside it, for end-to-end tests that need both."""

from __future__ import annotations

import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from support.gitserver import Files, GitServer, Repository
from support.service import Event, LiveService, docker, forget_rules, git_spec


@dataclass(frozen=True)
class Site:
    """One service, one git server."""

    service: LiveService
    git: GitServer
    root: Path

    def spec(self, name: str, files: Files, *, ref: str = "HEAD") -> str:
        """Make a repository, or the next commit of one that is there, and give its spec."""
        Repository(self.root / "git" / name).commit(files)
        return git_spec(self.git.url(name), ref)

    def containers(self, *, everything: bool = True) -> list[str]:
        """Give the ids of the service's containers, also of those that do not run."""
        label = f"label=binderlet.instance={self.service.name}"
        return run_docker("ps", "-q", *(["-a"] if everything else []), "--filter", label).split()

    def container_of(self, event: Event) -> str:
        """Give the id of the container that a ready event leads to."""
        session_id = event["url"].rstrip("/").rpartition("/")[2]
        return run_docker("ps", "-q", "--filter", f"label=binderlet.session={session_id}").strip()

    def reload(self, **settings: object) -> None:
        """Start the control plane anew with other settings; sessions go on."""
        self.service.kill()
        self.service.set(**settings)
        self.service.start()


@contextmanager
def site(root: Path, *, start: bool = True, **settings: object) -> Iterator[Site]:
    """Run a service with a git server, both with files below ``root``; leaves nothing, no image either."""
    name = f"e2e-{uuid4().hex[:8]}"
    service = LiveService(root / "s", name=name)
    service.set(builder__image_prefix=f"{name}/i-", builder__min_free_disk=0, **settings)
    (root / "git").mkdir(parents=True)
    try:
        with GitServer(root / "git") as git:
            if not start:
                yield Site(service, git, root)
                return
            with service:
                yield Site(service, git, root)
    finally:
        images = run_docker("images", "-q", "--filter", f"reference={name}/*").split()
        if images:
            run_docker("rmi", "--force", *set(images))
        # A start that failed half-way leaves its network, which a later one would use, and the rules for it.
        subprocess.run([docker(), "network", "rm", name], check=False, capture_output=True)
        forget_rules(name)


def run_docker(*arguments: str) -> str:
    """Run Docker's command and give its output."""
    return subprocess.run([docker(), *arguments], check=True, capture_output=True, text=True).stdout


def fetch(event: Event, path: str) -> bytes:
    """Get a path below a session's URL, as its visitor."""
    request = urllib.request.Request(event["url"] + path, headers={"Authorization": f"token {event['token']}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        body: bytes = answer.read()
    return body


def said(events: list[Event]) -> str:
    """Give the messages of a story in one text."""
    return "".join(str(event.get("message", "")) for event in events)


def until(condition: Callable[[], object], *, seconds: float = 30.0) -> None:
    """Return once the condition holds; fail if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{condition} did not come true in {seconds:g} s"
        time.sleep(0.05)
