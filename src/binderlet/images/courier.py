"""Pushes images of this machine's engine to a registry of others, by its own name, when somebody waits for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from binderlet.clients.docker import DockerClient
from binderlet.clients.oci import OciClient
from binderlet.images.registry.gate import Gate, Upstream
from binderlet.images.registry.oci import OciRegistry
from binderlet.images.registry.throttle import Throttle
from binderlet.images.shelf import Shelf


class Courier:
    """Takes images to a shelf; what is there already costs a look at its layers."""

    def __init__(self, shelf: Shelf, client: OciClient, docker: DockerClient, gate: Gate) -> None:
        self._shelf = shelf
        self._named = OciRegistry(client, docker, gate, "named")
        self._others = OciRegistry(client, docker, gate, "others", folder=shelf.folder)

    async def push(self, name: str) -> str:
        """Push an image and give what nodes call it there.

        Raises:
            BinderletError: as ``Registry.push``.
        """
        if name.startswith(f"{self._shelf.known_as}/"):
            await self._named.push(name)
            return name
        await self._others.push(name)
        return f"{self._shelf.known_as}/{self._shelf.folder}{name}"


@asynccontextmanager
async def open_courier(
    shelf: Shelf, docker: DockerClient, folder: Path, ca_bundle: Path | None = None
) -> AsyncIterator[Courier]:
    """Give a courier; ``folder`` keeps the port of its gate."""
    client = client_of(shelf, ca_bundle)
    pace = Throttle(0, 1, lambda: False)
    gate = Gate(
        {"named": Upstream(client, "", pace), "others": Upstream(client, shelf.folder, pace)}, folder / "courier-port"
    )
    await gate.start()
    try:
        yield Courier(shelf, client, docker, gate)
    finally:
        await gate.close()
        await client.close()


def client_of(shelf: Shelf, ca_bundle: Path | None) -> OciClient:
    """Give a client of the shelf's registry."""
    scheme = "http" if shelf.is_plain else "https"
    return OciClient(f"{scheme}://{shelf.host}/", username=shelf.username, password=shelf.password, ca_bundle=ca_bundle)
