"""Keeps the disk from filling up: looks at real sizes, and removes what is worth least, one step at a time.

Every ``disk.every`` the free bytes are read, which costs nothing; all that is kept is measured anew every
``disk.survey_every``, and before anything is removed. What to remove is ``retention.plan``'s decision. A step waits
while launches start sessions, so that no visitor waits for it; when the disk is too full to build it does not wait.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import structlog

from binderlet.config.disk import DiskSettings
from binderlet.errors import BinderletError
from binderlet.images.files import StateFiles
from binderlet.images.pins import Pins
from binderlet.images.retention import Budget, Item, Kind, Limit, Removal, Rules, Shelf, Volume, plan
from binderlet.images.survey import ELSEWHERE, EngineStore, Survey, Surveyor, World

log = structlog.get_logger(__name__)

PATIENCE = 30.0
"""Seconds that a step waits at most for launches that go on."""
LOOK_AGAIN = 0.5
FIRST_LOOK = 60.0
"""Seconds after the start until everything is measured, unless the disk is tight: others have more to do then."""
CACHE_EVERY = 6 * 3600.0
"""Seconds between two measurings of the build cache where nobody needs to know."""
REFUSED = 3600.0
"""Seconds for which what was not removed because it is in use is left alone."""
FILES = {Kind.LOG, Kind.CHECKOUT, Kind.MIRROR}
IMAGES = {Kind.IMAGE, Kind.ENVIRONMENT, Kind.BASE}


class Housekeeper:
    """``run`` is its loop; the rest answers the operator. ``close`` once at the end."""

    def __init__(
        self,
        settings: DiskSettings,
        files: StateFiles,
        store: EngineStore | None,
        world: World,
        pins: Pins,
        *,
        spare: int,
    ) -> None:
        self.settings = settings
        self.pins = pins
        self.freed: Counter[str] = Counter()
        """Bytes that were freed since the start, by kind."""
        self.room = ELSEWHERE
        """Bytes that builds could still take at the last look."""
        self._files = files
        self._store = store
        self._world = world
        self._surveyor = Surveyor(settings, files, store, world, pins)
        self._survey: Survey | None = None
        self._budget = Budget(settings.budget, spare, settings.start_at, settings.stop_at)
        self._next_survey = world.clock() + FIRST_LOOK
        self._next_cache = world.clock() + CACHE_EVERY
        self._is_stuck = False
        """Whether nothing could go at the last look."""
        self._refused: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn = asyncio.Lock()

    @property
    def survey(self) -> Survey | None:
        """What was there when it was last measured; None before that."""
        return self._survey

    def free_now(self) -> int:
        """Give the bytes that builds may still take; blocks on the disk. Where these are too few, it looks soon."""
        self.room = self._budget.room(self._surveyor.volumes_now())
        if self.room < self._budget.spare and self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)
        return self.room

    async def load(self) -> None:
        """Read the pins of an earlier process."""
        await self._surveyor.offload(self.pins.load)

    async def run(self) -> None:
        """Look again and again, until cancelled; what fails is logged and tried again at the next look."""
        self._loop = asyncio.get_running_loop()
        while True:
            try:
                await self.look()
            except BinderletError as error:
                log.warning("the disk could not be looked at", error=error.message, hint=error.hint)
            except OSError as error:
                log.warning("the disk could not be tidied", error=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.every):
                    await self._wake.wait()
            self._wake.clear()

    async def look(self) -> list[Removal]:
        """Look once, and tidy where the disk is tight; gives what was removed.

        Raises:
            EngineUnavailable: the engine does not answer.
        """
        async with self._turn:
            volumes = await self._surveyor.volumes()
            self.room = self._budget.room(volumes)
            is_tight = self.room < 1.5 * self._budget.spare or any(
                limit.used > limit.start for limit in self._budget.limits(volumes)
            )
            # Where nothing could go a moment ago, measuring all again would only cost.
            if self._world.clock() < self._next_survey and (not is_tight or self._is_stuck):
                return []
            await self._measure(thorough=is_tight)
            done = await self._carry_out(self.plan()) if self.settings.enabled else []
            self._is_stuck = not done
            return done

    async def close(self) -> None:
        """Let go of what it has. Idempotent."""
        await self._surveyor.close()

    async def measure(self) -> Survey:
        """Measure everything that is kept.

        Raises:
            EngineUnavailable: the engine does not answer.
        """
        async with self._turn:
            return await self._measure()

    async def _measure(self, *, thorough: bool = True) -> Survey:
        now = self._world.clock()
        thorough = thorough or bool(self.settings.budget) or now >= self._next_cache
        found = await self._surveyor.measure(thorough=thorough)
        self._next_survey = now + self.settings.survey_every
        self._next_cache = now + CACHE_EVERY if thorough else self._next_cache
        self._survey = replace(found, items=tuple(self._left_alone(item) for item in found.items))
        self.room = self._budget.room(found.volumes)
        return self._survey

    def _left_alone(self, item: Item) -> Item:
        if not item.keep and self._refused.get(item.id, 0.0) > self._world.clock():
            return replace(item, keep="it was in use when it should have been removed")
        return item

    # What goes.

    @property
    def budget(self) -> int:
        """Bytes that everything may take; 0 while that is not known."""
        return self.settings.budget or sum(volume.ours + volume.free for volume in self._volumes())

    @property
    def rules(self) -> Rules:
        """What the operator set."""
        settings = self.settings
        return Rules(settings.half_life, settings.min_age, settings.max_age, settings.owner_share, self.budget)

    @property
    def limits(self) -> list[Limit]:
        """How much there may be, and was at the last survey."""
        return self._budget.limits(self._volumes())

    def plan(self, free: int = 0) -> list[Removal]:
        """Give what goes next, by the budget; with ``free``, what would have to go to free so many bytes."""
        if self._survey is None:
            return []
        names = frozenset(volume.name for volume in self._survey.volumes)
        limits = [Limit(names, used=free, start=0, stop=0)] if free else self.limits
        return plan(self._survey.items, limits, self.rules, self._world.clock())

    def shelf(self) -> Shelf:
        """Give what is kept, to ask what it is worth."""
        return Shelf(self._survey.items if self._survey else (), self.rules, self._world.clock())

    def _volumes(self) -> Sequence[Volume]:
        return self._survey.volumes if self._survey else ()

    async def prune(self, free: int = 0, *, dry_run: bool = False) -> list[Removal]:
        """Remove what ``plan`` says, at once; with ``dry_run`` only say it.

        Raises:
            EngineUnavailable: the engine does not answer.
        """
        async with self._turn:
            await self._measure()
            steps = self.plan(free)
            return steps if dry_run else await self._carry_out(steps, patient=False)

    async def pin(self, name: str) -> None:
        """Keep images of that name, repository or owner, from now on. Idempotent."""
        await self._surveyor.offload(lambda: self.pins.pin(name))

    async def unpin(self, name: str) -> bool:
        """Let them go again; False where no such pin was added."""
        return await self._surveyor.offload(lambda: self.pins.unpin(name))

    async def _carry_out(self, steps: Sequence[Removal], *, patient: bool = True) -> list[Removal]:
        done: list[Removal] = []
        for step in steps:
            if patient:
                await self._wait_for_launches()
            if await self._remove(step):
                done.append(step)
            await self._world.sleep(self.settings.pause if patient else 0)
        if self._store is not None and any(step.items[0].kind in IMAGES for step in done):
            await self._store.let_go()
        if done:
            await self._measure()
        return done

    async def _wait_for_launches(self) -> None:
        deadline = self._world.clock() + PATIENCE
        while self._world.is_busy() and self._world.clock() < deadline:
            if self._budget.room(await self._surveyor.volumes()) < self._budget.spare:
                return
            await self._world.sleep(LOOK_AGAIN)

    async def _remove(self, step: Removal) -> bool:
        """Carry out one step; what is needed by now stays, and so does what it is built on."""
        needed = self._world.needs()
        for item in step.items:
            if item.name in needed.images or not await self._remove_item(item):
                self._refused[item.id] = self._world.clock() + REFUSED
                log.info("kept, as it is in use by now", item=item.name, kind=str(item.kind))
                return False
        for item in step.items:
            log.info("removed", item=item.name, kind=str(item.kind), frees=step.frees, why=step.why)
        self.freed[step.items[0].kind.value] += step.frees
        return True

    async def _remove_item(self, item: Item) -> bool:
        if item.kind in FILES:
            return await self._surveyor.offload(lambda: self._files.remove(item))
        return self._store is not None and await self._store.remove(item)
