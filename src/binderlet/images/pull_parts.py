"""Brings what builds start from, base and environments, so that another machine's work is built on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import structlog

from binderlet.errors import BinderletError, EngineUnavailable, ImageRejected
from binderlet.images.base import ImageStore
from binderlet.images.pull_choice import Rate, is_worth_pulling, missing_bytes
from binderlet.images.pull_trust import why_not_key
from binderlet.images.registry.base import Progress, Registry
from binderlet.images.registry.pulse import Pulse
from binderlet.images.transfer_record import Record

log = structlog.get_logger(__name__)

TELL_EVERY = 5.0


class Parts:
    """Images of the service's own registry that are no session's; ``bring`` may be called concurrently."""

    def __init__(
        self,
        registry: Registry,
        pulse: Pulse,
        record: Record,
        images: ImageStore,
        rate: Rate,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._pulse = pulse
        self._record = record
        self._images = images
        self._rate = rate
        self._clock = clock
        self._locks: dict[str, asyncio.Lock] = {}

    async def bring(self, name: str, label: str, key: str, tell: Callable[[str], None]) -> bool:
        """Pull an image that has the label; False where it must be built: it is not there, or the registry is away.

        Raises:
            EngineUnavailable: the engine does not answer.
        """
        lock = self._locks.setdefault(name, asyncio.Lock())
        try:
            async with lock:
                return await self._images.find(name) is not None or await self._pull(name, label, key, tell)
        except EngineUnavailable:
            raise
        except BinderletError as error:
            log.info("not brought from the registry", image=name, error=str(error))
            return False
        finally:
            if not lock.locked():
                self._locks.pop(name, None)

    async def _pull(self, name: str, label: str, key: str, tell: Callable[[str], None]) -> bool:
        if self._pulse.down_since is not None:
            return False
        remote = await self._registry.find(name)
        if remote is None:
            return False
        if reason := why_not_key(remote.labels, label, key):
            raise ImageRejected(f"{remote.source} has another image under {name}: {reason}.")
        if not is_worth_pulling(missing_bytes(remote, ()), self._rate, self._record.usual_build()):
            return False
        tell(f"Pulling {name} from {remote.source} ({remote.size / 1e6:.0f} MB)...")
        began = told = self._clock()

        def say(progress: Progress) -> None:
            nonlocal told
            if self._clock() - told >= TELL_EVERY:
                told = self._clock()
                tell(f"Pulling: {progress.done / 1e6:.0f} of {progress.total / 1e6:.0f} MB...")

        await self._registry.pull(remote, name, say)
        self._rate.measured(remote.size, self._clock() - began)
        entry = self._record.get(name)
        self._record.put(replace(entry, image_id=remote.image_id, digest=remote.digest, size=remote.size))
        await self._images.refresh()
        return True
