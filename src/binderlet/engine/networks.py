"""The networks of sessions: no session reaches another, by the means that each engine has.

Docker keeps containers of one bridge apart (``enable_icc=false``), so all sessions share one network. Podman cannot,
but keeps isolated networks apart, so each session has its own.
"""

from __future__ import annotations

from typing import Protocol

from aiodocker.exceptions import DockerError

from binderlet.clients.docker import DockerClient, engine_errors
from binderlet.config.schema import EngineSettings
from binderlet.engine.docker_spec import (
    LABEL,
    bridge_of,
    container_name,
    instance_filter,
    network_problem,
    network_request,
    session_bridges,
    session_network_request,
)
from binderlet.engine.guard import Holds, Unheld
from binderlet.errors import ConfigError

NOT_FOUND, CONFLICT = 404, 409


class Networks(Protocol):
    """Gives each session a network. All methods may be called concurrently.

    Each method raises EngineUnavailable where the engine does not answer.
    """

    async def prepare(self) -> None:
        """Make what is shared by all sessions where it is absent, and have its network rules in force. Idempotent.

        Raises:
            ConfigError: a network of that name exists and does not keep sessions apart; or the rules are required and
                cannot be set.
        """

    async def join(self, session_id: str) -> str:
        """Give the name of the network for a new session.

        Raises:
            LaunchFailed: the engine refuses to make it.
        """

    async def leave(self, session_id: str) -> None:
        """Remove what ``join`` made, once the session's container is gone. Idempotent."""


class SharedNetwork:
    """Docker's: one bridge for all sessions, without traffic between them."""

    def __init__(self, client: DockerClient, settings: EngineSettings, guard: Holds) -> None:
        self._client = client
        self._settings = settings
        self._guard = guard

    async def prepare(self) -> None:
        """Make the network, or check that the one of its name keeps sessions apart; have its rules in force."""
        name = self._settings.network
        with engine_errors():
            try:
                network = await self._client.call("GET", f"networks/{name}")
            except DockerError as error:
                if error.status != NOT_FOUND:
                    raise
                network = await self._create()
        if problem := network_problem(network, self._settings):
            raise ConfigError(
                f"engine.network: the engine has a network {name!r}, but {problem}.",
                hint=f"Remove it ('docker network rm {name}') or set engine.network to another name.",
            )
        await self._guard.hold([bridge_of(network)])

    async def _create(self) -> dict[str, object]:
        try:
            await self._client.call("POST", "networks/create", body=network_request(self._settings))
        except DockerError as error:
            # Another control plane was faster; what it made is checked like any other.
            if error.status != CONFLICT:
                raise
        network: dict[str, object] = await self._client.call("GET", f"networks/{self._settings.network}")
        return network

    async def join(self, session_id: str) -> str:  # noqa: ARG002 - all sessions share it
        """Give the one network's name; asks nobody."""
        return self._settings.network

    async def leave(self, session_id: str) -> None:
        """Do nothing: the network stays for the others."""


class NetworkPerSession:
    """Podman's: an isolated bridge for each session; ``engine.network`` and ``engine.subnet`` mean nothing here."""

    def __init__(self, client: DockerClient, instance: str, guard: Holds) -> None:
        self._client = client
        self._instance = instance
        self._guard = guard
        self._in_use: set[str] = set()

    async def prepare(self) -> None:
        """Have the rules in force for all; remove networks whose session is gone, as after a killed control plane."""
        await self._guard.hold([session_bridges(self._instance)])
        with engine_errors():
            ours = instance_filter(self._instance)
            networks = await self._client.call("GET", "networks", params=ours)
            containers = await self._client.call("GET", "containers/json", params={"all": "1", **ours})
        alive = {container["Labels"].get(LABEL + "session") for container in containers} | self._in_use
        for network in networks:
            session_id = (network.get("Labels") or {}).get(LABEL + "session")
            if session_id and session_id not in alive:
                await self.leave(session_id)

    async def join(self, session_id: str) -> str:
        """Make the session's network."""
        request = session_network_request(self._instance, session_id)
        with engine_errors():
            await self._client.call("POST", "networks/create", body=request)
        self._in_use.add(session_id)
        return str(request["Name"])

    async def leave(self, session_id: str) -> None:
        """Remove the session's network."""
        self._in_use.discard(session_id)
        with engine_errors():
            try:
                await self._client.call("DELETE", f"networks/{container_name(self._instance, session_id)}")
            except DockerError as error:
                if error.status != NOT_FOUND:
                    raise


def networks_for(client: DockerClient, settings: EngineSettings, instance: str, guard: Holds | None = None) -> Networks:
    """Give the means that this engine has; without a guard, sessions reach what they like."""
    if client.is_podman:
        return NetworkPerSession(client, instance, guard or Unheld())
    return SharedNetwork(client, settings, guard or Unheld())
