"""This service as a member of a federation: what its operator wants, and what it tells redirectors."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import structlog

from binderlet.config.federation import FederationSettings
from binderlet.errors import StoreUnavailable
from binderlet.events.kinds import Fact, LaunchEnded
from binderlet.federation.pick import digest, key_of
from binderlet.model import RepoSpec

log = structlog.get_logger(__name__)

REMEMBERED = 20_000
"""Repositories whose image may be here, the latest launches first to stay."""
TIMEOUT = aiohttp.ClientTimeout(total=10)
SAVE_EVERY = 60.0
"""Seconds between two writes of what was launched."""


def name_of(spec: RepoSpec) -> str:
    """Give the short name by which redirectors know a repository."""
    return digest(key_of(f"/build/{spec.provider}/{spec.spec}".encode())).hex()


class Membership:
    """``api.ports.Membership``; ``load`` once, then ``run`` while the service runs."""

    def __init__(self, settings: FederationSettings, folder: Path) -> None:
        self._settings = settings
        self._path = folder / "federation.json"
        self._wishes: dict[str, Any] = {"draining": False, "share": 1.0}
        self._versions: Mapping[str, Any] | None = None
        self._launched: OrderedDict[str, None] = OrderedDict()
        self._saved = ""

    def load(self) -> None:
        """Read what an earlier run kept; a file that cannot be read is as none."""
        if not self._path.exists():
            return
        try:
            body = json.loads(self._path.read_text(encoding="utf-8"))
            self._wishes = {"draining": bool(body["draining"]), "share": float(body["share"])}
            self._versions = body["versions"]
            self._launched = OrderedDict.fromkeys(map(str, body["repositories"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("what the federation was told cannot be read", path=str(self._path), error=str(error))

    def _save(self, body: str) -> None:
        if body == self._saved:
            return
        part = self._path.with_suffix(".part")
        part.write_text(body, encoding="utf-8")
        part.replace(self._path)
        self._saved = body

    def _body(self) -> str:
        return json.dumps({**self._wishes, "versions": self._versions, "repositories": list(self._launched)})

    def wishes(self) -> Mapping[str, Any]:
        """Give what the operator wants."""
        return self._wishes

    def versions(self) -> Mapping[str, Any] | None:
        """Give the federation's versions, as last seen."""
        return self._versions if self._settings.mirror_versions else None

    def repositories(self) -> Sequence[str]:
        """Give what was launched here."""
        return list(self._launched)

    async def wish(self, *, draining: bool | None = None, share: float | None = None) -> None:
        """Change what the operator wants."""
        if draining is not None:
            self._wishes["draining"] = draining
        if share is not None:
            self._wishes["share"] = share
        try:
            await asyncio.to_thread(self._save, self._body())
        except OSError as error:
            raise StoreUnavailable(f"{self._path} cannot be written: {error.strerror}.") from error

    def listen(self, fact: Fact) -> None:
        """Remember a repository that was launched: its image is here."""
        if isinstance(fact, LaunchEnded) and fact.status == "success":
            name = name_of(fact.spec)
            self._launched[name] = None
            self._launched.move_to_end(name)
            while len(self._launched) > REMEMBERED:
                self._launched.popitem(last=False)

    async def run(self) -> None:
        """Keep what was launched on disk, and the federation's versions in memory, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep(), name="federation: keep")
            if self._settings.url and self._settings.mirror_versions:
                group.create_task(self._mirror(), name="federation: versions")

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(SAVE_EVERY)
            await self.save()

    async def save(self) -> None:
        """Write what was launched; a disk that is full is said in the log."""
        try:
            await asyncio.to_thread(self._save, self._body())
        except OSError as error:
            log.warning("what was launched cannot be written", path=str(self._path), error=str(error))

    async def _mirror(self) -> None:
        async with aiohttp.ClientSession(timeout=TIMEOUT) as client:
            while True:
                await self.look(client)
                await asyncio.sleep(self._settings.mirror_every)

    async def look(self, client: aiohttp.ClientSession) -> None:
        """Ask the federation for its versions; while it does not answer the last ones stay."""
        try:
            async with client.get(f"{self._settings.url}versions") as response:
                body = await response.json(content_type=None) if response.ok else None
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            log.warning("the federation's versions are not answered", url=self._settings.url, error=str(error))
            return
        if isinstance(body, dict) and body:
            self._versions = body
