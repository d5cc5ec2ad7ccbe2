"""The command line against a running service, and ``binderlet up`` from its first line to Ctrl-C."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest

from support.service import COMMAND, Forge, LiveService, Serve, docker, free_port, remove_images
from support.visit import Visit

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.haproxy, pytest.mark.timeout(180)]


def binderlet(service: LiveService, *arguments: str, code: int = 0) -> str:
    """Run a command with the service's settings; gives its standard output."""
    command = [*COMMAND, *arguments, *service.arguments()]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout


def told(service: LiveService, *arguments: str, code: int = 0) -> Any:  # noqa: ANN401 - JSON
    """Run a command with ``--json`` and give what it printed."""
    return json.loads(binderlet(service, *arguments, "--json", code=code))


def test_launch_list_stop(service: LiveService, forge: Forge) -> None:
    """``launch`` prints a link that opens, ``sessions`` lists the session, ``stop`` ends it."""
    _, url = forge.repository({"a b.txt": "cli"})
    ready = told(service, "launch", url, "--path", "a b.txt")
    session = Visit(ready)
    assert ready["link"] == f"{session.url}lab/tree/a%20b.txt?token={session.token}"
    session.get("lab/tree/a%20b.txt")
    link = binderlet(service, "launch", url).strip()
    assert re.fullmatch(re.escape(service.url) + r"user/[a-z0-9-]+/\?token=\S+", link), link

    listed = {entry["id"]: entry for entry in told(service, "sessions") if entry["repo_url"] == url}
    assert len(listed) == 2
    assert listed[session.id]["state"] == "running"
    assert session.token not in json.dumps(listed)
    assert session.id in binderlet(service, "sessions")

    binderlet(service, "stop", *listed)
    assert not {entry["id"] for entry in told(service, "sessions")} & set(listed)
    assert service.get(f"user/{session.id}/lab")[0] == 424
    binderlet(service, "stop", session.id, code=1)


def test_build(service: LiveService, forge: Forge) -> None:
    """``build`` makes the image and starts nothing; the visitors' address does not allow it."""
    repository, _ = forge.repository({"a.txt": "build"}, "owner/built")
    built = told(service, "build", "gh/owner/built/main")
    assert built["imageName"].endswith(f":{repository.head}")
    assert binderlet(service, "build", "gh/owner/built").strip() == built["imageName"]
    (refused,) = service.launch("gh/owner/built/main?build_only=true")
    assert refused["phase"] == "failed"
    assert "owner/built" not in json.dumps(told(service, "sessions"))


def test_status_doctor_config(service: LiveService) -> None:
    """``status``, ``doctor`` and ``config`` print JSON that says how things are, and where settings come from."""
    status = told(service, "status")
    assert status["ok"]
    assert {"Container engine", "Data path"} <= {check["service"] for check in status["checks"]}
    findings = {finding["check"]: finding for finding in told(service, "doctor")}
    assert {findings[name]["level"] for name in ("engine", "haproxy", "git")} == {"ok"}
    settings = told(service, "config", "show")
    assert settings["server.port"]["value"] == service.port
    assert settings["cull.idle"]["origin"] == "default"
    assert "right" in binderlet(service, "config", "check")
    binderlet(service, "config", "check", "--set", "cull.idel=5", code=2)


def test_a_launch_that_fails(service: LiveService) -> None:
    """What cannot be launched gives exit code 1, and no service at all gives 3."""
    binderlet(service, "launch", "gh/owner/none", code=1)
    nowhere = LiveService(service.state / "nowhere", name="nowhere")
    binderlet(nowhere, "sessions", code=3)


@contextmanager
def up(state: Path, name: str, port: int) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run ``binderlet up --example`` until the block ends; gives the process and its standard output's first line."""
    settings = [f"server.port={port}", "server.host=127.0.0.1", f"server.instance={name}", f"engine.network={name}"]
    settings += [f"paths.state={state}", f"builder.image_prefix={name}/i-"]
    command = [*COMMAND, "up", "--example", *(part for pair in settings for part in ("--set", pair))]
    log = (state.parent / "log").open("ab")
    with (
        log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True) as process,
    ):
        try:
            assert process.stdout is not None
            yield process, [process.stdout.readline().strip(), (state.parent / "log").read_text()]
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(60)


def left_of(name: str, state: Path) -> list[str]:
    """Name the containers and processes that belong to an instance."""
    found = subprocess.run(
        [docker(), "ps", "--all", "--quiet", "--filter", f"label=binderlet.instance={name}"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    for process in psutil.process_iter():
        try:
            if str(state) in " ".join([*process.cmdline(), process.cwd()]):
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def assert_nothing_is_left(name: str, state: Path) -> None:
    """Fail the test, naming what is left, where that does not go away on a busy machine either."""
    deadline = time.monotonic() + 15
    while (left := left_of(name, state)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []


def test_up_with_the_example() -> None:
    """``up --example`` prints a link that opens JupyterLab with the notebook; Ctrl-C leaves nothing; then once more.

    The second start finds the image, and builds nothing.
    """
    name, port = f"e2e-{uuid4().hex[:8]}", free_port()
    with tempfile.TemporaryDirectory(prefix="bl-") as folder:
        state = Path(folder) / "s"
        try:
            with up(state, name, port) as (process, (link, log)):
                assert link.startswith(f"http://127.0.0.1:{port}/user/"), log
                assert "Built image" in log
                session = session_of(link)
                session.get("")
                session.get("lab")
                assert "Welcome to your Binder" in session.get("files/welcome.ipynb").decode()
                assert {"welcome.ipynb", "README.md", "binder"} <= session.files()
                assert left_of(name, state)
                process.send_signal(signal.SIGINT)
                assert process.wait(60) in {0, 130, -signal.SIGINT}
            assert_nothing_is_left(name, state)
            (state.parent / "log").unlink()
            with up(state, name, port) as (process, (link, log)):
                assert "Built image" not in log
                session_of(link).get("lab")
            assert process.returncode in {0, 130}
            assert_nothing_is_left(name, state)
        finally:
            subprocess.run([docker(), "network", "rm", name], check=False, capture_output=True)
            remove_images(f"{name}/*")


def test_a_detached_run(serve: Serve) -> None:
    """``up --detach`` returns once the service answers; ``stop-service`` ends it and leaves nothing."""
    with serve() as service:
        service.interrupt()
        assert_nothing_is_left(service.name, service.state)
        binderlet(service, "up", "--detach")
        try:
            assert told(service, "status")["ok"]
            assert service.get("versions")[0] == 200
            binderlet(service, "up", "--detach", code=1)
        finally:
            binderlet(service, "stop-service")
        assert_nothing_is_left(service.name, service.state)


def session_of(link: str) -> Visit:
    """Give the session that a link leads to."""
    url, _, token = link.partition("?token=")
    return Visit({"url": url, "token": token})
