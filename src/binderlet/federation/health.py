"""Asks the members how they are: one probe a period for each, and the lists of images that they publish."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Mapping

import aiohttp
import structlog

from binderlet.federation import report
from binderlet.federation.config import Federation, Member
from binderlet.federation.redirector import Redirector
from binderlet.federation.report import Answer, Report
from binderlet.federation.standing import Phase, Standing, next_probe
from binderlet.tasks import Tasks

log = structlog.get_logger(__name__)

BODY_LIMIT = 1024 * 1024
"""Bytes of an answer that are read; health and versions are a few kilobytes."""
IMAGES = "/api/federation/images"
IMAGES_LIMIT = 4 * 1024 * 1024
IMAGES_EVERY = 20
"""Probes between two looks at a member's list of images."""
KEY = 16
"""Hexadecimal digits of a repository in that list."""


async def read_all(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Read a body up to ``limit`` bytes."""
    parts, size = [], 0
    async for part in response.content.iter_chunked(65536):
        parts.append(part)
        size += len(part)
        if size >= limit:
            break
    return b"".join(parts)[:limit]


async def probe(client: aiohttp.ClientSession, member: Member, patience: float) -> Report:
    """Ask a member for its health and its versions, at the same time; never raises for what it does."""
    try:
        async with asyncio.timeout(patience):
            health, versions = await asyncio.gather(
                get(client, member.health_url, BODY_LIMIT), get(client, member.versions_url, BODY_LIMIT)
            )
    except TimeoutError:
        return report.unreachable(f"no answer within {patience:g} s")
    if isinstance(health, str):
        return report.unreachable(health)
    return report.read(health, None if isinstance(versions, str) else versions)


async def get(client: aiohttp.ClientSession, url: str, limit: int) -> Answer | str:
    """Give the answer, or why there is none."""
    try:
        async with client.get(url, allow_redirects=False) as response:
            return Answer(response.status, await read_all(response, limit))
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return str(error) or type(error).__name__


def read_images(answer: Answer | str) -> frozenset[bytes]:
    """Read a member's list of repositories whose image it has; anything else is an empty list."""
    if isinstance(answer, str) or answer.status != report.GOOD:
        return frozenset()
    try:
        keys = json.loads(answer.body)["repositories"]
        return frozenset(bytes.fromhex(key) for key in keys if len(key) == KEY)
    except (ValueError, KeyError, TypeError):
        return frozenset()


class Health:
    """Keeps a redirector told; ``start``, then ``close``."""

    def __init__(
        self,
        redirector: Redirector,
        client: aiohttp.ClientSession,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._redirector = redirector
        self._client = client
        self._chance = chance
        self._tasks = Tasks("federation health")
        self._loops: dict[str, tuple[Member, asyncio.Task[None]]] = {}

    async def start(self) -> None:
        """Ask every member once, so that the first launch goes right, then again and again."""
        members = self._redirector.federation.members
        await asyncio.gather(*(self.look(name, member) for name, member in members.items()))
        self.follow(self._redirector.federation)

    def follow(self, federation: Federation) -> None:
        """Ask the members of this file from now on; those that stay as they were are asked when they would be."""
        for name, (member, loop) in list(self._loops.items()):
            if not _same_place(member, federation.members.get(name)):
                loop.cancel()
                del self._loops[name]
        for name, member in federation.members.items():
            if name not in self._loops:
                known = name in self._redirector.standings
                loop = self._tasks.start(self._watch(name, member, known=known), name=f"member {name}")
                self._loops[name] = (member, loop)

    async def _watch(self, name: str, member: Member, *, known: bool) -> None:
        looks = 0
        while True:
            if known:
                await asyncio.sleep(self._pause(name))
            known = True
            await self.look(name, member)
            if looks % IMAGES_EVERY == 0:
                await self.look_for_images(name, member)
            looks += 1

    def _pause(self, name: str) -> float:
        rules = self._redirector.federation.check
        pause = next_probe(self._redirector.standings.get(name, Standing()), rules)
        return pause * (1 + rules.jitter * (2 * self._chance() - 1))

    async def look(self, name: str, member: Member) -> None:
        """Ask a member once."""
        before = self._redirector.standings.get(name, Standing())
        said = await probe(self._client, member, self._redirector.federation.check.timeout)
        self._redirector.learn(name, said)
        tell(name, before, self._redirector.standings)

    async def look_for_images(self, name: str, member: Member) -> None:
        """Ask a member which images it has; most do not say."""
        if not self._redirector.federation.spread.images:
            return
        try:
            async with asyncio.timeout(self._redirector.federation.check.timeout):
                answer = await get(self._client, member.url + IMAGES, IMAGES_LIMIT)
        except TimeoutError:
            return
        self._redirector.learn_images(name, read_images(answer))

    async def close(self) -> None:
        """Ask no more."""
        await self._tasks.close()


def tell(name: str, before: Standing, standings: Mapping[str, Standing]) -> None:
    """Say in the log that a member came or went."""
    after = standings.get(name)
    if after is None or after.phase is before.phase:
        return
    say = log.info if after.phase is Phase.UP else log.warning
    say("member is " + after.phase, member=name, reason=after.report.trouble)


def _same_place(old: Member, new: Member | None) -> bool:
    """Whether a member is asked at the same addresses as before."""
    if new is None:
        return False
    return (old.url, old.health_url, old.versions_url) == (new.url, new.health_url, new.versions_url)
