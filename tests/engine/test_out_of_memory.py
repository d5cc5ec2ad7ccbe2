"""When memory runs out, sessions go and what serves them stays: made to happen in a group that belongs to the test."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from binderlet.engine.docker_spec import OOM_SCORE
from support.engines import EngineApi, docker_socket
from support.filled import filled_container

MIB = 1024**2
MEMORY = Path("/sys/fs/cgroup/memory")
HOLD = "import sys, time; held = b'x' * int(sys.argv[1]); print(len(held), flush=True); time.sleep(600)"
GROW = "echo filled; sleep 2; tail /dev/zero"
"""Looks for a last line in what never ends, so it keeps all of it."""


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of this test with 160 MiB and no swap; skips where there is none to be had."""
    if os.geteuid() != 0 or not (MEMORY / "memory.limit_in_bytes").exists():
        pytest.skip("needs root and cgroup version 1")
    name = f"binderlet-test-{secrets.token_hex(4)}"
    made = MEMORY / name
    made.mkdir()
    (made / "memory.limit_in_bytes").write_text(str(160 * MIB))
    with contextlib.suppress(OSError):
        (made / "memory.memsw.limit_in_bytes").write_text(str(160 * MIB))
    yield made
    # The engine makes the same folder for each controller.
    for folder in MEMORY.parent.glob(f"*/{name}"):
        with contextlib.suppress(OSError):
            folder.rmdir()


@pytest.fixture
def service(group: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with an ordinary score and 100 MiB, more than any session here will have: the service."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(100 * MIB)], stdout=subprocess.PIPE) as process:
        (group / "cgroup.procs").write_text(str(process.pid))
        yield process
        process.kill()


@pytest.mark.docker
def test_a_session_goes_before_what_serves_it(group: Path, service: subprocess.Popen[bytes]) -> None:
    """The service has most of the memory when a session takes the rest, and yet the session is killed."""
    assert service.stdout is not None
    (group / "cgroup.procs").write_text(str(service.pid))
    assert service.stdout.readline()
    api = EngineApi(docker_socket())
    with filled_container(command=GROW, CgroupParent=f"/{group.name}", OomScoreAdj=OOM_SCORE) as container:
        while (state := api.call("GET", f"containers/{container}/json")["State"])["Running"]:
            time.sleep(0.05)
        assert (state["ExitCode"], service.poll()) == (137, None)


@pytest.mark.docker
def test_a_session_that_eats_its_limit_dies_alone() -> None:
    """Its neighbour does not notice."""
    api = EngineApi(docker_socket())
    limit: dict[str, Any] = {"Memory": 32 * MIB, "MemorySwap": 32 * MIB, "OomScoreAdj": OOM_SCORE}
    with filled_container(size=1, **limit) as neighbour, filled_container(command=GROW, **limit) as container:
        while (state := api.call("GET", f"containers/{container}/json")["State"])["Running"]:
            time.sleep(0.05)
        assert state["OOMKilled"]
        assert api.call("GET", f"containers/{neighbour}/json")["State"]["Running"]
