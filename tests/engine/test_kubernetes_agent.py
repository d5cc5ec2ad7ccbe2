"""The helper on each node."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from binderlet.clients.cgroups import Cgroups, Usage
from binderlet.engine import kubernetes_agent as module
from binderlet.engine.kubernetes_agent import LONGEST, Agent
from support.node_agent import MACHINE, TOKEN, FakeCgroups, node_agent
from support.service import free_port

A, B = "a" * 64, "b" * 64
SOURCE = Path(module.__file__).parents[1]
FILES = ("clients/cgroups.py", "clients/memory.py", "engine/kubernetes_agent.py")
"""All that the chart puts on nodes."""


@pytest.fixture
def cgroups() -> FakeCgroups:
    """Groups of two containers."""
    return FakeCgroups({A: Usage(1.5, 100, 20), B: Usage(0.5, 200, 0)})


@pytest.fixture
def address(cgroups: FakeCgroups) -> Iterator[str]:
    """A helper for them."""
    with node_agent(cgroups) as served:
        yield served


def ask(address: str, path: str, body: object, token: str = TOKEN, **headers: str) -> tuple[int, Any]:
    """Make a request; gives status and JSON."""
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request("POST", path, json.dumps(body), {"Authorization": f"Bearer {token}", **headers})
    answer = connection.getresponse()
    found = json.loads(answer.read())
    connection.close()
    return answer.status, found


def test_usage(address: str) -> None:
    """It tells what the containers that were asked for use, and what the node has."""
    status, found = ask(address, "/usage", {"containers": [A, "c" * 64]})
    assert (status, found["usage"]) == (200, {A: [1.5, 100, 20]})
    assert found["machine"]["memory"] == MACHINE.memory


def test_reclaim(address: str, cgroups: FakeCgroups) -> None:
    """It pushes one container's memory out; one that is gone is no trouble."""
    assert ask(address, "/reclaim", {"container": B}) == (200, {"problem": ""})
    assert cgroups.usage[B] == Usage(0.5, 0, 200)
    assert ask(address, "/reclaim", {"container": "gone"}) == (200, {"problem": ""})


def test_node_that_cannot(address: str, cgroups: FakeCgroups) -> None:
    """A node whose kernel cannot do it says so; a failure is told as one."""
    cgroups.problem = "this kernel cannot"
    assert ask(address, "/reclaim", {"container": A}) == (200, {"problem": "this kernel cannot"})
    cgroups.problem, cgroups.fails = "", True
    assert ask(address, "/reclaim", {"container": A})[0] == 500


@pytest.mark.parametrize("token", ["", "other", "a-long-random-wor"])
def test_token_is_needed(address: str, cgroups: FakeCgroups, token: str) -> None:
    """Without the token nothing is told or done."""
    assert ask(address, "/reclaim", {"container": A}, token) == (401, {})
    assert cgroups.usage[A].resident == 100


def test_nonsense(address: str) -> None:
    """What makes no sense is refused, and the helper goes on."""
    assert ask(address, "/usage", {"else": 1})[0] == 400
    assert ask(address, "/usage", [1])[0] == 400
    assert ask(address, "/elsewhere", {})[0] == 404
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.putrequest("POST", "/usage")
    connection.putheader("Authorization", f"Bearer {TOKEN}")
    connection.putheader("Content-Length", str(LONGEST + 1))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    assert ask(address, "/usage", {"containers": []})[0] == 200


def test_empty_token_is_refused() -> None:
    """A helper that anybody could use does not start."""
    with pytest.raises(ValueError, match="AGENT_TOKEN"):
        Agent("", Cgroups())


def test_program_needs_nothing_else(tmp_path: Path) -> None:
    """The three files alone, without the rest of binderlet or any package, are a program that serves."""
    for name in FILES:
        target = tmp_path / "binderlet" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SOURCE / name, target)
    code = "import runpy, sys; sys.path.insert(0, sys.argv[1]); runpy.run_module('binderlet.engine.kubernetes_agent', "
    code += "run_name='__main__')"
    port = free_port()
    environment = {"AGENT_TOKEN": TOKEN, "AGENT_CGROUPS": str(tmp_path), "AGENT_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", code, str(tmp_path)], env=environment)
    try:
        deadline = time.monotonic() + 15
        while True:
            try:
                status, found = ask(f"127.0.0.1:{port}", "/usage", {"containers": [A]})
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert (status, found["usage"]) == (200, {})
        assert found["machine"]["memory"] > 0
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def test_main(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The program takes its token and folder from the environment."""

    class Served:
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def serve_forever(self) -> None:
            """End at once."""

    agents: list[Agent] = []

    def serve(agent: Agent, *, port: int) -> Served:
        assert port == module.PORT
        agents.append(agent)
        return Served()

    monkeypatch.setattr(module, "serve", serve)
    monkeypatch.setenv("AGENT_TOKEN", TOKEN)
    monkeypatch.setenv("AGENT_CGROUPS", str(tmp_path))
    module.main()
    assert agents[0].knows(f"Bearer {TOKEN}")
    assert not agents[0].knows("")
