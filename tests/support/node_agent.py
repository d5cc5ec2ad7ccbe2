"""A node's helper in this process, on control groups that are files of a test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from binderlet.clients.cgroups import Cgroups, CgroupsUnusable, Usage
from binderlet.clients.memory import Machine
from binderlet.engine.kubernetes_agent import Agent, serve

TOKEN = "a-long-random-word"
GIB = 2**30
MACHINE = Machine(8 * GIB, 6 * GIB, 4 * GIB, 3 * GIB, 1.5, 0.5)


class FakeCgroups(Cgroups):
    """Groups in memory: what is reclaimed goes to swap."""

    def __init__(self, usage: dict[str, Usage]) -> None:
        super().__init__(Path("/nowhere"))
        self.usage = usage
        self.problem = ""
        self.fails = False

    def read(self, containers: object) -> dict[str, Usage]:
        """Give those that are asked for."""
        wanted = set(containers)  # type: ignore[call-overload]  # any iterable of ids
        return {key: one for key, one in self.usage.items() if key in wanted}

    def reclaim(self, container: str) -> None:
        """Move all of it to swap."""
        if self.problem:
            raise CgroupsUnusable(self.problem)
        if self.fails:
            raise OSError("Input/output error")
        if (one := self.usage.get(container)) is not None:
            self.usage[container] = Usage(one.cpu, 0, one.swap + one.resident)


@contextmanager
def node_agent(cgroups: Cgroups) -> Iterator[str]:
    """Serve one on a free port and give its address."""
    with serve(Agent(TOKEN, cgroups, lambda: MACHINE), "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
