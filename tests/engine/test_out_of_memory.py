"""When memory runs out, sessions go and what serves them stays: made to happen in a group that belongs to the test."""

from __future__ import annotations

import time
from typing import Any

import pytest

from binderlet.engine.docker_spec import OOM_SCORE
from support.engines import EngineApi, docker_socket
from support.filled import filled_container
from support.memory_group import MIB, container_processes, memory_group

GROW = "echo filled; sleep 2; tail /dev/zero"
"""Looks for a last line in what never ends, so it keeps all of it."""


@pytest.mark.docker
def test_a_session_goes_before_what_serves_it() -> None:
    """The service has most of the memory when a session takes the rest, and yet the session is killed."""
    api = EngineApi(docker_socket())
    with memory_group(160) as group, group.program(100) as service:
        assert service.stdout is not None
        assert service.stdout.readline()
        with filled_container(command=GROW, OomScoreAdj=OOM_SCORE) as container:
            group.take_in(container_processes(api, container))
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
