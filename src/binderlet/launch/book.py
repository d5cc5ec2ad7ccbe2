"""All launches of this process, by id: those that run, and for a while those that have ended."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from itertools import islice

from binderlet.launch.machine import Recover
from binderlet.launch.request import LaunchRequest
from binderlet.launch.runner import Launch, Parts
from binderlet.model import RepoSpec, Session
from binderlet.tasks import Tasks

KEPT_SECONDS = 300.0
"""How long a launch that has ended can still be replayed."""
KEPT_LAUNCHES = 5000
"""How many launches that have ended are kept at most."""
OLDEST = 16
"""How many are looked at each time: more than come, so that the book shrinks."""


class LaunchBook:
    """Opens launches and finds them again."""

    def __init__(self, parts: Parts, tasks: Tasks) -> None:
        self._parts = parts
        self._tasks = tasks
        self._launches: dict[str, Launch] = {}
        self.draining = False
        """Whether the service stops: launches go on, new ones are not taken."""

    def __len__(self) -> int:
        return len(self._launches)

    @property
    def running(self) -> Sequence[Launch]:
        """Launches that have not ended."""
        return [launch for launch in self._launches.values() if not launch.ended_at]

    def open(self, request: LaunchRequest) -> Launch:
        """Start a launch; whatever goes wrong becomes an event in its story."""
        self._forget_old()
        # 128 random bits: who knows the id sees the token in the launch's events.
        launch = Launch(secrets.token_hex(16), request, self._parts)
        return self._keep(launch, None)

    def recover(self, session: Session, host: str) -> Launch:
        """Go on with a launch whose control plane ended between the session's start and its announcement."""
        request = LaunchRequest(RepoSpec(session.provider, session.spec), host)
        launch = Launch(session.launch_id, request, self._parts)
        launch.numbers_from = int(self._parts.clock())
        return self._keep(launch, Recover(session))

    def _keep(self, launch: Launch, first: Recover | None) -> Launch:
        self._launches[launch.id] = launch
        self._tasks.start(launch.run(first), name=f"launch {launch.id[:8]}")
        return launch

    def find(self, launch_id: str) -> Launch | None:
        """Give a launch by its id; None where it is unknown or too long ago."""
        return self._launches.get(launch_id)

    def _forget_old(self) -> None:
        """Drop launches that ended long ago; the oldest come first, so this stops at the first to keep."""
        now = self._parts.clock()
        for launch_id, launch in list(islice(self._launches.items(), OLDEST)):
            if not launch.ended_at:
                continue
            if now - launch.ended_at < KEPT_SECONDS and len(self._launches) <= KEPT_LAUNCHES:
                break
            del self._launches[launch_id]
