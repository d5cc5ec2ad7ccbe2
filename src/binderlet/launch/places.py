"""Places for sessions: wakes the launches that admission lets in, and tells the others where they stand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence

from binderlet.launch.admission import Admission
from binderlet.launch.machine import Queued


class Places:
    """The runner of ``Admission``: everything happens on the event loop, so each step is atomic."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._admitted: set[str] = set()
        self._changed = asyncio.Event()

    @property
    def limit(self) -> int:
        """Sessions at once."""
        return self._admission.places

    @property
    def taken(self) -> int:
        """Places that are held."""
        return self._admission.taken

    @property
    def waiting(self) -> int:
        """Launches in the queue."""
        return self._admission.waiting

    async def take(self, launch_id: str, repo_url: str, owner: str) -> AsyncGenerator[Queued, None]:
        """Wait for a place, yielding each new position on the way; the place is held when this ends.

        Leaving before the end leaves the queue.

        Raises:
            Full: the queue is full.
            RepositoryFull: the queue is full and this repository has its share.
        """
        if self._admission.request(launch_id, repo_url, owner):
            return
        shown = 0
        try:
            while launch_id not in self._admitted:
                position = self._position(launch_id)
                if position != shown:
                    shown = position
                    yield Queued(position, self.taken, self.limit)
                    continue  # it may have been let in while the caller was busy with this
                await self._changed.wait()
        except BaseException:
            self.release(launch_id)
            raise
        self._admitted.discard(launch_id)

    def release(self, launch_id: str) -> None:
        """Give back a place, or leave the queue. Idempotent."""
        self._admitted.discard(launch_id)
        self._wake(self._admission.release(launch_id))

    def allow(self, count: int | None) -> None:
        """Say how many launches may be admitted until this is said again, for what memory is left; None: all that fit.

        This also wakes those in the queue that are let in.
        """
        self._wake(self._admission.allow(count))

    def adopt(self, sessions: Mapping[str, str]) -> None:
        """Count sessions that were found running: launch id to repository URL."""
        self._admission.adopt(sessions)

    def holders(self) -> Sequence[str]:
        """Give the launches that hold a place."""
        return self._admission.holders()

    def _position(self, launch_id: str) -> int:
        return next(place.position for place in self._admission.positions() if place.launch_id == launch_id)

    def _wake(self, admitted: Sequence[str]) -> None:
        self._admitted.update(admitted)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
