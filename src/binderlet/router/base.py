"""The port to the data path. ``tests/router/test_contract.py`` runs against each implementation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from binderlet.model import Route, Traffic


class Router(Protocol):
    """Carries visitors' bytes. It runs apart from the control plane and outlives it."""

    async def prepare(self) -> None:
        """Start the data path where it does not run yet, and take over the one that does. Idempotent.

        Raises:
            MissingProgram: HAProxy is not installed.
            AddressInUse: the port is taken.
            RouterUnavailable: it does not come up; the message has its own words.
        """

    async def add(self, route: Route) -> None:
        """Lead ``/user/<id>/`` to the address, replacing what it led to before; survives restarts of the data path.

        Raises:
            RouterUnavailable: it does not answer on its socket.
        """

    async def remove(self, session_id: str) -> None:
        """Forget a route. Idempotent.

        Raises:
            RouterUnavailable: it does not answer on its socket.
        """

    async def routes(self) -> Mapping[str, str]:
        """Give the live routes, session id to ``host:port``, as the data path has them.

        Raises:
            RouterUnavailable: it does not answer on its socket.
        """

    async def traffic(self) -> Mapping[str, Traffic]:
        """Give the counters of every session that had traffic since the data path started.

        Raises:
            RouterUnavailable: it does not answer on its socket.
        """

    async def ping(self) -> str:
        """Give the data path's name and version, such as ``HAProxy 2.6.12``.

        Raises:
            RouterUnavailable: it does not answer on its socket.
        """

    async def close(self) -> None:
        """Let go of the data path without stopping it. Idempotent."""

    async def shutdown(self) -> None:
        """Stop the data path; open connections are cut. Idempotent."""
