"""Makes the layers that environments share, in the background after builds, and finds those that fit a new one.

What environments have in common is known only once some have been built. So the first that has numpy is built in one
layer, as quickly as can be; after it, while nobody waits, numpy gets a layer of its own, with its bytecode, on which
later environments stand. Such layers are only a saving: a build whose layers are gone makes them again.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import structlog

from binderlet.builder import stack
from binderlet.builder.backlog import Backlog
from binderlet.builder.base import BaseImage, Images
from binderlet.builder.beforehand import Beforehand
from binderlet.builder.environments import ENVIRONMENT_IMAGE
from binderlet.builder.job import Outcome
from binderlet.builder.layers import Work
from binderlet.builder.stack import Stack
from binderlet.errors import BinderletError, BuildFailed

log = structlog.get_logger(__name__)

SECONDS = 900.0
"""How long making the layers of one stack may take."""
MOST_KNOWN = 100
"""Stacks that are remembered on one foundation, the newest of them."""
MOST_NAMES = 2000
OLD = 60 * 86400.0
"""Seconds after which a record goes to which nothing was added: its base image has been replaced since."""
IMAGE_PREFIX = f"{ENVIRONMENT_IMAGE}:stack-"


class Maker(Protocol):
    """What it needs of ``Layers``."""

    async def stack(self, work: Work, base: BaseImage, image: str) -> Outcome:
        """Make the layers of ``work.stack`` and give them the name ``image``."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one foundation."""

    stacks: tuple[tuple[str, ...], ...] = ()
    names: frozenset[str] = frozenset()
    """Packages whose environments had one that belongs into a stack: only for these it is worth a look."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    work: Work
    base: BaseImage
    lock: str


class Stacks:
    """The stacks of one builder, on record below ``folder``.

    ``source`` names the package indexes; ``ready`` returns once the new wheels are in the cache, with their bytecode.
    """

    def __init__(
        self,
        folder: Path,
        *,
        maker: Maker,
        images: Images,
        beforehand: Beforehand,
        source: str,
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        self._folder = folder
        self._maker = maker
        self._images = images
        self._beforehand = beforehand
        self._source = source
        self._backlog = Backlog("stacks", self._try, ready)

    async def find(self, work: Work, base: BaseImage) -> Stack:
        """Give the stack that a new environment can stand on, which is empty where there is none."""
        foundation = self._foundation(work, base)
        known = await asyncio.to_thread(_read, self._path(foundation))
        if not stack.names_of(stack.asked_by(work.plan)) & known.names:
            return Stack()
        here = await self._those_here(foundation, known)
        resolution = await work.resolution()
        return Stack(stack.choose(here, resolution.pins if resolution is not None else ()), self._source)

    def want(self, work: Work, base: BaseImage, lock: str) -> None:
        """Make the stack of an environment that was built, whose ``lock`` this is, soon.

        Returns at once; whatever goes wrong is only logged.
        """
        if lock and stack.asked_by(work.plan):
            self._backlog.add(lock, _Wanted(work, base, lock))

    async def wait(self) -> None:
        """Return once there is nothing left to do."""
        await self._backlog.wait()

    async def close(self) -> None:
        """Stop waiting; layers that are being made go on by themselves. Idempotent."""
        await self._backlog.close()

    async def _try(self, wanted: _Wanted) -> None:
        try:
            await self._make(wanted)
        except (BinderletError, OSError) as error:
            log.warning("shared layers cannot be made", error=str(error))

    async def _make(self, wanted: _Wanted) -> None:
        work, foundation = wanted.work, self._foundation(wanted.work, wanted.base)
        packages = stack.pins_of(wanted.lock, await self._beforehand.base_pins(work.plan.python))
        pins = stack.order(await self._beforehand.sizes(packages, work.plan))
        if not pins:
            return
        known = await asyncio.to_thread(_read, self._path(foundation))
        here = await self._those_here(foundation, known)
        if not stack.covers(here, pins):
            await self._build(replace(work, stack=Stack(pins, self._source)), wanted.base, foundation)
            here = [*(each for each in here if each != pins[: len(each)]), pins]
        names = known.names | stack.names_in(stack.asked_by(work.plan), packages)
        kept = Known(tuple(here[-MOST_KNOWN:]), frozenset(sorted(names)[:MOST_NAMES]))
        await asyncio.to_thread(_write, self._path(foundation), kept)

    async def _build(self, work: Work, base: BaseImage, foundation: str) -> None:
        image = _image(foundation, work.stack.pins)
        outcome = await self._maker.stack(replace(work, deadline=time.monotonic() + SECONDS), base, image)
        if outcome.code:
            raise BuildFailed(f"{image}: {outcome.reason}: {outcome.tail[-500:]}")
        await self._images.refresh()
        log.info("shared layers made", packages=list(work.stack.pins))

    async def _those_here(self, foundation: str, known: Known) -> list[tuple[str, ...]]:
        return [pins for pins in known.stacks if await self._images.find(_image(foundation, pins)) is not None]

    def _foundation(self, work: Work, base: BaseImage) -> str:
        return stack.foundation_of(base.id, work.plan, self._source)

    def _path(self, foundation: str) -> Path:
        return self._folder / f"{foundation}.json"


def _image(foundation: str, pins: Sequence[str]) -> str:
    return f"{IMAGE_PREFIX}{stack.key_of(foundation, pins)}"


def _read(path: Path) -> Known:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        return Known(tuple(tuple(map(str, pins)) for pins in body["stacks"]), frozenset(map(str, body["names"])))
    except FileNotFoundError:
        return Known()
    except (ValueError, KeyError, TypeError) as error:
        log.warning("the record of shared layers cannot be read", path=str(path), error=str(error))
        return Known()


def _write(path: Path, known: Known) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"stacks": known.stacks, "names": sorted(known.names)}), encoding="utf-8")
    new.replace(path)
    for other in path.parent.glob("*.json"):
        if other.stat().st_mtime < time.time() - OLD:
            other.unlink()
