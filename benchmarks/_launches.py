"""A running service with a built repository, and the floor beside it: ``docker run`` of the same image."""

from __future__ import annotations

import http.client
import json
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from support.gitserver import Repository
from support.service import Event, LiveService, docker, git_spec, repository

NOTEBOOK = json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
FILES = {"binder/requirements.txt": "# nothing more\n", "index.ipynb": NOTEBOOK}
POLL = 0.01


@contextmanager
def running(**settings: object) -> Iterator[tuple[LiveService, Repository, str]]:
    """Give a service, a repository and its spec; the repository's first commit is built."""
    name = f"bench-{uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory(prefix="bb-") as folder:
        root = Path(folder)
        service = LiveService(root / "s", name=name)
        service.set(**settings)
        with service, repository(root / "git", FILES) as (repo, url):
            spec = git_spec(url, repo.head)
            service.ready(spec)
            end_sessions(service)
            service.repo_url = url
            yield service, repo, spec


def end_sessions(service: LiveService) -> None:
    """End every session and wait until they are gone."""
    for session in service.sessions():
        service.admin("DELETE", f"/sessions/{session['id']}")
    while service.sessions():
        time.sleep(0.05)


def launch_to_first_page(service: LiveService, spec: str) -> Event:
    """Ask for a launch and return after the first 200 of ``/lab``."""
    event = service.ready(spec)
    await_page(event["url"] + "lab?token=" + event["token"])
    return event


def await_page(url: str, timeout: float = 120.0) -> None:
    """Ask for a page until it answers 200."""
    parts = urllib.parse.urlsplit(url)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        client = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
        try:
            client.request("GET", f"{parts.path}?{parts.query}")
            if client.getresponse().status == http.HTTPStatus.OK:
                return
        except OSError:
            pass
        finally:
            client.close()
        time.sleep(POLL)
    raise TimeoutError(f"{url} did not answer 200")


class Floor:
    """What anyone can do by hand: ``docker run`` of the image, with the command and limits that sessions get."""

    def __init__(self, service: LiveService, image: str) -> None:
        inspected = _docker("inspect", _container(service))
        (container,) = json.loads(inspected)
        self._image = image
        self._name = f"{service.name}-floor"
        self._network = service.name
        self._limits = container["HostConfig"]
        self._arguments = container["Config"]["Cmd"]
        self._environment = [pair for pair in container["Config"]["Env"] if pair.startswith(("JUPYTER", "BINDER"))]
        base = next((a.partition("=")[2] for a in self._arguments if a.startswith("--ServerApp.base_url=")), "/")
        self._base = base
        self._token = next(
            (pair.partition("=")[2] for pair in self._environment if pair.startswith("JUPYTER_TOKEN=")), ""
        )

    def run(self, number: int = 0, *, keep: bool = False) -> None:
        """Start one container and return after the first 200 of ``/lab``; with ``keep`` it outlives its end."""
        name = f"{self._name}-{number}"
        command = ["run", "-d", *([] if keep else ["--rm"]), "--name", name, "--network", self._network]
        command += ["--memory", str(self._limits["Memory"]), "--pids-limit", str(self._limits["PidsLimit"])]
        command += ["--cpus", str(self._limits["NanoCpus"] / 1e9)]
        for pair in self._environment:
            command += ["--env", pair]
        _docker(*command, self._image, *self._arguments)
        self._await_page(name)

    def stop(self, number: int = 0) -> None:
        """End a container that is kept."""
        _docker("stop", "-t", "0", f"{self._name}-{number}")

    def start_again(self, number: int = 0) -> None:
        """Start a container that was ended, and return after the first 200 of ``/lab``."""
        _docker("start", f"{self._name}-{number}")
        self._await_page(f"{self._name}-{number}")

    def _await_page(self, name: str) -> None:
        address = _docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name).strip()
        await_page(f"http://{address}:8888{self._base}lab?token={self._token}")

    def clean(self, count: int = 1) -> None:
        """Remove the containers."""
        subprocess.run(
            [docker(), "rm", "-f", *(f"{self._name}-{number}" for number in range(count))],
            check=False,
            capture_output=True,
        )


def _container(service: LiveService) -> str:
    label = f"label=binderlet.instance={service.name}"
    return _docker("ps", "-q", "--filter", label).split()[0]


def _docker(*arguments: str) -> str:
    return subprocess.run([docker(), *arguments], check=True, capture_output=True, text=True).stdout
