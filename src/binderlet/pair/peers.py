"""Asks the other control planes of a pair: what their HAProxies counted, and what the leader wants the next to know."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp

from binderlet.clients.kubernetes import KubernetesClient, cluster_errors
from binderlet.errors import EngineUnavailable, RouterUnavailable
from binderlet.model import Traffic
from binderlet.router.config import PAIR_HEADER

TIMEOUT = aiohttp.ClientTimeout(total=5, sock_connect=2)
FOREIGN_ERRORS = (aiohttp.ClientError, TimeoutError, OSError, ValueError, TypeError, AttributeError)
OK, UNCHANGED = 200, 304
HAPROXY = "haproxy"
"""The container of a pod of the pair that carries visitors."""
PART = "control-plane"

Find = Callable[[], Awaitable[Mapping[str, str]]]
"""Gives the others, name to ``host:port``; raises ``EngineUnavailable`` where they cannot be known."""


def peer_of(item: Mapping[str, Any], port: int) -> tuple[str, str] | None:
    """Give name and address of a pod of the pair; None of one whose HAProxy does not run, or is ending."""
    metadata, status = item["metadata"], item.get("status") or {}
    containers = status.get("containerStatuses") or ()
    runs = any(one["name"] == HAPROXY and "running" in (one.get("state") or {}) for one in containers)
    if "deletionTimestamp" in metadata or not status.get("podIP") or not runs:
        return None
    return metadata["name"], f"{status['podIP']}:{port}"


def by_labels(client: KubernetesClient, namespace: str, instance: str, *, me: str, port: int) -> Find:
    """Find the others by the labels that the chart gives their pods."""
    params = {"labelSelector": f"app.kubernetes.io/component={PART},binderlet.instance={instance}"}

    async def find() -> Mapping[str, str]:
        with cluster_errors():
            found, _ = await client.collect(
                f"api/v1/namespaces/{namespace}/pods", lambda item: peer_of(item, port), params=params
            )
        return {name: address for name, address in found if name != me}

    return find


def by_address(addresses: list[str]) -> Find:
    """Give the others that the settings name."""

    async def find() -> Mapping[str, str]:
        return {address: address for address in addresses}

    return find


class Peers:
    """The others, each asked through its HAProxy's door for them. All methods may be called concurrently."""

    def __init__(self, find: Find, secret: str) -> None:
        self._find = find
        self._headers = {PAIR_HEADER: secret}
        self._session: aiohttp.ClientSession | None = None
        self._tag = ""

    async def traffic(self) -> dict[str, dict[str, Traffic]]:
        """Give what each of the others counted, by its name.

        Raises:
            RouterUnavailable: one of them does not answer, so that nobody knows who is idle.
        """
        try:
            others = await self._find()
        except EngineUnavailable as error:
            raise RouterUnavailable(f"The other HAProxies are not known: {error.message}", hint=error.hint) from error
        counted = await asyncio.gather(*map(self._counted, others.values()))
        return dict(zip(others, counted, strict=True))

    async def _counted(self, address: str) -> dict[str, Traffic]:
        try:
            _, body = await self._get(address, "traffic", {})
            return {str(key): Traffic(*map(int, counters)) for key, counters in json.loads(body).items()}
        except FOREIGN_ERRORS as error:
            raise RouterUnavailable(f"The HAProxy at {address} does not say what it counted: {error!r}.") from error

    async def told(self, leader: str) -> dict[str, Any] | None:
        """Give what the leader wants the next one to know; None where that is what it said the last time.

        Raises:
            RouterUnavailable: it does not answer.
        """
        try:
            status, body = await self._get(leader, "state", {"If-None-Match": self._tag} if self._tag else {})
            found: dict[str, Any] | None = json.loads(body) if status == OK else None
        except FOREIGN_ERRORS as error:
            raise RouterUnavailable(f"The leader at {leader} does not answer: {error!r}.") from error
        return found

    async def _get(self, address: str, what: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=TIMEOUT, cookie_jar=aiohttp.DummyCookieJar())
        async with self._session.get(f"http://{address}/pair/{what}", headers={**self._headers, **headers}) as answer:
            if answer.status not in {OK, UNCHANGED}:
                answer.raise_for_status()
                raise ValueError(f"status {answer.status}")
            if what == "state":
                self._tag = answer.headers.get("ETag", "")
            return answer.status, await answer.read()

    async def close(self) -> None:
        """Close connections. Idempotent."""
        if self._session is not None:
            await self._session.close()
