"""What the service looks like now, from memory: for pages, metrics and the operator."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from binderlet.api.ports import BuildView, SessionView
from binderlet.launch.book import LaunchBook
from binderlet.launch.builds import Builds
from binderlet.launch.places import Places
from binderlet.launch.vitals import Vitals
from binderlet.model import Check, ServiceStatus
from binderlet.sessions.book import Sessions
from binderlet.sessions.hibernator import Hibernator
from binderlet.sessions.keeper import Keeper
from binderlet.sessions.pool import Pool


@dataclass(frozen=True, slots=True)
class View:
    """The parts that know something. No method does any I/O."""

    url: str
    """Where visitors reach the service, with trailing slash."""
    places: Places
    all_builds: Builds
    book: LaunchBook
    all_sessions: Sessions
    keeper: Keeper
    hibernator: Hibernator
    standbys: Pool
    vitals: Vitals
    others: Callable[[], tuple[Check, ...]] = tuple
    """More checks, from memory."""

    def status(self) -> ServiceStatus:
        """Give a snapshot."""
        machine = self.hibernator.sight.machine
        return ServiceStatus(
            sessions=self.places.taken,
            session_limit=self.places.limit,
            launches_waiting=self.places.waiting,
            builds_running=self.all_builds.running,
            builds_waiting=self.all_builds.waiting,
            draining=self.book.draining,
            started_at=self.vitals.started_at,
            checks=self.vitals.checks + self.others(),
            hibernated=len(self.hibernator.hibernated),
            hibernation_off=self.hibernator.off_because,
            memory=machine.memory if machine else 0,
            memory_available=machine.available if machine else 0,
            swap=machine.swap if machine else 0,
            swap_free=machine.swap_free if machine else 0,
            standbys=len(self.standbys.waiting()),
        )

    def builds(self) -> list[BuildView]:
        """Give the builds that wait, run or ended a moment ago."""
        return [
            BuildView(build.id, build.image, build.commit.repo_url, build.state, build.started_at)
            for build in self.all_builds.known()
        ]

    def sessions(self) -> list[SessionView]:
        """Give the sessions with their idleness."""
        now, active, traffic = time.time(), self.keeper.last_active, self.keeper.traffic
        return [
            SessionView(
                session,
                max(0.0, now - active.get(session.id, now)),
                traffic.get(session.id),
                f"{self.url}user/{session.id}/",
            )
            for session in self.all_sessions.running().values()
        ]
