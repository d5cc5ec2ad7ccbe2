"""Who may start a session now, who waits and who is refused. Pure: no clock, no I/O, one call at a time.

A place belongs to a launch from its admission until its session has ended; sessions carry their launch's id, so
the engine's list says after a restart which places are taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from binderlet.errors import Banned, Full, RepositoryFull
from binderlet.launch.fair import FairQueue
from binderlet.model import RepoSpec


@dataclass(frozen=True, slots=True)
class Position:
    """Where a launch stands in the queue."""

    launch_id: str
    position: int
    """1 is next."""


class Admission:
    """Counts places. Every change of the count happens in one call, so that it can never be passed."""

    def __init__(self, *, places: int, per_repository: int = 0, queue: int = 200) -> None:
        self.places = places
        self._per_repository = per_repository
        self._queue_limit = queue
        self._taken: dict[str, str] = {}
        self._wanted: dict[str, str] = {}
        self._queue: FairQueue[str] = FairQueue()
        self._budget: int | None = None

    def allow(self, count: int | None) -> Sequence[str]:
        """Say how many may be admitted until this is said again, whatever places are free; None: as many as fit.

        Returns the launches that are admitted now.
        """
        self._budget = count
        return self._admit()

    @property
    def taken(self) -> int:
        """Places that launches or their sessions hold."""
        return len(self._taken)

    @property
    def waiting(self) -> int:
        """Launches in the queue."""
        return len(self._queue)

    def request(self, launch_id: str, repo_url: str, owner: str) -> bool:
        """Ask for a place: True has it at once, False waits in the queue.

        Raises:
            Full: the queue is full and the machine is, or it takes no sessions at all.
            RepositoryFull: the queue is full and this repository's share is used up.
        """
        if self.places == 0:
            raise Full("This service takes no new sessions at the moment.")
        if not self._queue and self._fits(repo_url):
            self._take(launch_id, repo_url)
            return True
        if len(self._queue) >= self._queue_limit:
            if len(self._taken) < self.places and self._budget != 0 and not self._fits(repo_url):
                raise RepositoryFull(f"Too many users running {repo_url}! Try again soon.", retry_after=60)
            raise Full("Too many users on this service! Try again soon.", retry_after=60)
        self._wanted[launch_id] = repo_url
        self._queue.put(launch_id, owner)
        # The head of the queue may wait for its own repository's share alone: then this one need not wait.
        return launch_id in self._admit()

    def release(self, launch_id: str) -> Sequence[str]:
        """Give back a place, or leave the queue. Idempotent. Returns the launches that are admitted now."""
        self._taken.pop(launch_id, None)
        if self._wanted.pop(launch_id, None) is not None:
            self._queue.remove(launch_id)
        return self._admit()

    def adopt(self, sessions: Mapping[str, str]) -> None:
        """Count the places of sessions that were found running: launch id to repository URL."""
        self._taken.update(sessions)

    def positions(self) -> Sequence[Position]:
        """Give every waiting launch's position."""
        return [Position(launch_id, number) for number, launch_id in enumerate(self._queue.order(), start=1)]

    def holders(self) -> Sequence[str]:
        """Give the launches that hold a place."""
        return list(self._taken)

    def _fits(self, repo_url: str) -> bool:
        if len(self._taken) >= self.places or self._budget == 0:
            return False
        limit = self._per_repository
        return not limit or sum(other == repo_url for other in self._taken.values()) < limit

    def _take(self, launch_id: str, repo_url: str) -> None:
        self._taken[launch_id] = repo_url
        if self._budget is not None:
            self._budget -= 1

    def _admit(self) -> Sequence[str]:
        admitted = []
        while (launch_id := self._queue.pop(lambda waiting: self._fits(self._wanted[waiting]))) is not None:
            self._take(launch_id, self._wanted.pop(launch_id))
            admitted.append(launch_id)
        return admitted


def check_banned(spec: RepoSpec, banned: Sequence[str]) -> None:
    """Raise ``Banned`` where one of the regular expressions matches ``provider/spec`` from its start."""
    if any(re.match(pattern, str(spec), re.IGNORECASE) for pattern in banned):
        raise Banned(f"Sorry, {spec} is not allowed to launch. Please contact the operators for more information.")
