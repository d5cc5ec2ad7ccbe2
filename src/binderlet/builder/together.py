"""Builds an environment and the first content on it in one run, which saves the visitor the second.

The environment's own name is given afterwards, while the session starts: all its layers are there by then. The lock, a
label, is known only when the environment is built, so the image gets it together with its name.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

import structlog

from binderlet.builder.base import BaseImage, Label
from binderlet.builder.environments import Environment
from binderlet.builder.job import Outcome
from binderlet.builder.layers import Layers, Work
from binderlet.builder.locks import Locks
from binderlet.errors import BinderletError
from binderlet.model import Image
from binderlet.tasks import Tasks

log = structlog.get_logger(__name__)

NAMING = 300.0
"""Seconds that giving a name may take; mostly a fifth of one, but after a clean-up of the engine it builds again."""
CLOSING = 10.0
"""Seconds for names that are being given when the builder is closed."""


@dataclass(frozen=True, slots=True)
class Built:
    """What came of it."""

    outcome: Outcome
    has_environment: bool
    """Whether the environment was built, whatever became of the content."""
    image: Image | None = None
    """None where the engine does not give names in this way: the content is added once more, the usual way."""


class Together:
    """Runs such builds; ``label`` names an image and adds labels, None where the engine cannot."""

    def __init__(self, layers: Layers, locks: Locks, label: Label | None) -> None:
        self._layers = layers
        self._locks = locks
        self._label = label
        self._tasks = Tasks("together")
        self._naming: dict[str, asyncio.Task[None]] = {}

    def can(self, work: Work) -> bool:
        """Whether a repository can be built so."""
        return self._label is not None and self._layers.can_be_one(work.plan)

    async def build(
        self,
        work: Work,
        base: BaseImage,
        environment: Environment,
        labels: Callable[[], Awaitable[Mapping[str, str]]],
    ) -> Built:
        """Build environment and content; ``labels`` gives those that are known once the environment is there."""
        outcome = await self._layers.both(work, base, environment)
        is_good = outcome.reason == "exited" and outcome.code == 0
        if not outcome.lock and not is_good:
            return Built(outcome, has_environment=False)
        if outcome.lock:
            await self._locks.keep(environment.key, outcome.lock)
        image = None
        if is_good and outcome.lock and outcome.image and self._label is not None:
            image = await _labelled(self._label, outcome.image, work.request.image, await labels())
        # Only now: both at once would be slower for who waits.
        self._naming[environment.key] = self._tasks.start(self._name(work, base, environment), name="name environment")
        return Built(outcome, has_environment=True, image=image)

    async def named(self, key: str) -> None:
        """Return once the environment has its name, if it is being given."""
        if (task := self._naming.get(key)) is not None:
            await asyncio.wait([task])

    async def all_named(self) -> None:
        """Return once every environment has its name."""
        while self._naming:
            await asyncio.wait(list(self._naming.values()))

    async def close(self) -> None:
        """Give the names that are being given. Idempotent."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSING):
                await self.all_named()
        await self._tasks.close()

    async def _name(self, work: Work, base: BaseImage, environment: Environment) -> None:
        try:
            outcome = await self._layers.name(replace(work, deadline=time.monotonic() + NAMING), base, environment)
            if outcome.code:
                log.warning("environment not named", image=environment.image, said=outcome.tail[-500:])
        except BinderletError as error:
            log.warning("environment not named", image=environment.image, error=error.message)
        finally:
            self._naming.pop(environment.key, None)


async def _labelled(label: Label, image: str, name: str, labels: Mapping[str, str]) -> Image | None:
    try:
        return await label(image, name, labels)
    except BinderletError as error:
        log.warning("image not named", image=name, error=error.message)
        return None
