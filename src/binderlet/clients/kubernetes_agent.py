"""The helper on another node, as control groups and a machine that can be read like this one's. Everything blocks."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable
from typing import Any

from binderlet.clients.cgroups import Cgroups, CgroupsUnusable, Usage
from binderlet.clients.memory import Machine

TIMEOUT = 60.0
"""Seconds: half a gigabyte takes two to push out, more where the disk is slow."""


class NodeCgroups(Cgroups):
    """The control groups of one node, behind its helper at ``host:port``; may be used from several threads."""

    def __init__(self, address: str, token: str) -> None:
        super().__init__()
        self.address = address
        self._token = token
        self._machine: Machine | None = None

    def read(self, containers: Iterable[str]) -> dict[str, Usage]:
        """Give what each container uses, and remember what the node has; nothing where the helper does not answer."""
        try:
            answer = self._ask("/usage", {"containers": sorted(containers)})
            self._machine = Machine(**answer["machine"])
            return {container: Usage(*values) for container, values in answer["usage"].items()}
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
            self._machine = None
            return {}

    def machine(self) -> Machine:
        """Give what the node had when it was read last.

        Raises:
            OSError: it did not answer then.
        """
        if self._machine is None:
            raise OSError(f"the helper at {self.address} does not answer")
        return self._machine

    def reclaim(self, container: str) -> None:
        """Push a container's memory out.

        Raises:
            CgroupsUnusable: that node cannot.
            OSError: its helper does not answer.
        """
        try:
            problem = self._ask("/reclaim", {"container": container})["problem"]
        except (http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            raise OSError(f"the helper at {self.address} gave no sense: {error!r}") from error
        if problem:
            raise CgroupsUnusable(problem)

    def _ask(self, path: str, asked: dict[str, Any]) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self.address, timeout=TIMEOUT)
        try:
            headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
            connection.request("POST", path, json.dumps(asked), headers)
            response = connection.getresponse()
            text = response.read()
            if response.status != http.HTTPStatus.OK:
                raise OSError(f"the helper at {self.address} answered {response.status}")
            found: dict[str, Any] = json.loads(text)
            return found
        finally:
            connection.close()
