"""What the HTTP side needs of the rest of the service; ``app`` fills it in."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from binderlet import __version__
from binderlet.config import Settings
from binderlet.dashboard.charts import Chart
from binderlet.dashboard.store import StatisticsStore
from binderlet.events.bus import Story
from binderlet.images.housekeeper import Housekeeper
from binderlet.launch.request import LaunchRequest
from binderlet.model import RepoSpec, ServiceStatus, Session, Traffic
from binderlet.providers.base import Provider
from binderlet.sessions.ending import SessionEnd
from binderlet.sessions.standby import Reservation


class Launch(Protocol):
    """One launch, whoever looks at it."""

    @property
    def numbers_from(self) -> int:
        """Added to its events' numbers, so that a story that begins anew has none that was seen before."""

    @property
    def id(self) -> str:
        """Unguessable: who knows it may read the story again."""

    @property
    def request(self) -> LaunchRequest:
        """What was asked for."""

    @property
    def story(self) -> Story:
        """Its events; ends with one ``ready`` or one ``failed``."""

    @property
    def waited_for_build(self) -> bool:
        """Whether an image was built for it, so far as is known now."""

    def watched(self) -> AbstractContextManager[None]:
        """Count one viewer while the context lasts: a build that nobody watches need not begin."""


class LaunchBook(Protocol):
    """All launches that run or ended a while ago."""

    def open(self, request: LaunchRequest) -> Launch:
        """Begin a launch at once; whatever is wrong with it becomes a ``failed`` event of its story."""

    def find(self, launch_id: str) -> Launch | None:
        """Give a launch that is still remembered."""


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session as the operator sees it."""

    session: Session
    idle_seconds: float
    traffic: Traffic | None
    """None while the router has not counted it yet."""
    url: str


@dataclass(frozen=True, slots=True)
class BuildView:
    """A build that waits, runs, or ended a while ago."""

    id: str
    image: str
    repo_url: str
    state: str
    """``waiting``, ``running``, ``success`` or ``failure``."""
    started_at: float
    """Seconds since the epoch; 0 while it waits."""

    @property
    def is_open(self) -> bool:
        """Whether its log may still grow."""
        return self.state in {"waiting", "running"}


class Operations(Protocol):
    """What the operator may see and do."""

    def sessions(self) -> Sequence[SessionView]:
        """List the sessions that run or start, from memory."""

    def stop(self, session_id: str) -> Awaitable[None]:
        """End a session.

        Raises:
            SessionNotFound: none of that id runs.
            EngineUnavailable: it could not be ended now.
        """

    def extend(self, session_id: str, seconds: float) -> Awaitable[float]:
        """Let a session stay that much longer than now, whatever it does; gives until when, since the epoch.

        Raises:
            SessionNotFound: none of that id runs.
        """

    def shutdown(self) -> None:
        """Ask the control plane to end; sessions stay."""


class Desk(Protocol):
    """Takes reservations."""

    def all(self) -> Sequence[tuple[Reservation, int]]:
        """Give those that have not ended, each with how many standbys are ready for it, from memory."""

    async def reserve(self, spec: RepoSpec, count: int, begins: float, ends: float, *, now: float) -> Reservation:
        """Keep sessions ready for an event.

        Raises:
            UnknownProvider: no repo provider of that name is enabled.
            BadSpec: the spec is malformed, or the times or the number make no sense.
            Refused: there are not that many places.
        """

    async def cancel(self, reservation_id: str) -> None:
        """Drop a reservation.

        Raises:
            ReservationNotFound: there is none of that id.
        """


class Membership(Protocol):
    """What this service tells the redirectors of its federation, from memory."""

    def wishes(self) -> Mapping[str, Any]:
        """Give ``draining`` and ``share``: whether it wants launches, and which part of its weight."""

    def versions(self) -> Mapping[str, Any] | None:
        """Give what ``/versions`` is to answer instead of our own; None where nothing else is wanted."""

    def repositories(self) -> Sequence[str]:
        """Give the repositories that were launched here lately, as redirectors name them."""

    async def wish(self, *, draining: bool | None = None, share: float | None = None) -> None:
        """Change what the operator wants, and keep it over restarts; None leaves it as it is.

        Raises:
            StoreUnavailable: it could not be written down.
        """


class Asset(Protocol):
    """A static file, held in memory."""

    @property
    def body(self) -> bytes:
        """The file."""

    @property
    def content_type(self) -> str:
        """Its media type, with charset."""

    @property
    def etag(self) -> str:
        """Quoted, as in the header."""


class Page(Protocol):
    """One page, ready to send."""

    @property
    def html(self) -> str:
        """The document."""

    @property
    def csp(self) -> str:
        """Its Content-Security-Policy."""


class PageSet(Protocol):
    """Makes what people look at; no method does any I/O. ``base`` is the URL visitors type, with trailing slash."""

    def home(self, base: str) -> Page:
        """Make the form that makes links and badges."""

    def launch(self, base: str, provider: str, spec: str, build_token: str) -> Page:
        """Make the page a badge leads to, which follows the launch; ``spec`` is percent-encoded."""

    def about(self, base: str) -> Page:
        """Say what this service is."""

    def status(self, base: str) -> Page:
        """Show how this service is; the page fetches ``/api/status`` again and again."""

    def statistics(
        self, base: str, charts: Sequence[Chart], *, query: str, presets: Sequence[tuple[str, str]], archive: bool
    ) -> Page:
        """Show charts, each with its table; ``query`` asks for the same days."""

    def problem(self, base: str, status: int, message: str, hint: str) -> Page:
        """Show an error to people."""

    def asset(self, path: str) -> Asset | None:
        """Give the static file of that path, such as ``app.css``."""


class Storage(Protocol):
    """What is kept on the disk, for the operator and for the status page."""

    @property
    def housekeeper(self) -> Housekeeper:
        """Who looks after it."""

    def body(self) -> Mapping[str, Any]:
        """Give the sums for the status page, from memory."""


class Restorer(Protocol):
    """Brings images back from the registry."""

    async def begin(self, count: int, room: int) -> None:
        """Begin to bring back so many images of so many bytes at most; one that goes on is left alone.

        Raises:
            ImagesUnavailable: the registry does not answer.
        """

    def progress(self) -> Mapping[str, Any]:
        """Give how far it is, as JSON."""


def no_builds() -> Sequence[BuildView]:
    """List no builds, for services that have none."""
    return ()


def no_session_end(_session_id: str) -> SessionEnd | None:
    """Know of no session's end, for services that have no sessions."""
    return None


@dataclass(frozen=True)
class Services:
    """Everything behind the URLs. Every callable answers from memory and at once."""

    settings: Settings
    book: LaunchBook
    providers: Mapping[str, Provider]
    operations: Operations
    pages: PageSet
    build_token_secret: str = field(repr=False)
    """Hexadecimal, as in BinderHub's setting; members of a federation share it."""
    status: Callable[[], ServiceStatus]
    metrics: Callable[[], bytes]
    build_log: Callable[[str], Path | None]
    """The file of a build's log, by the build's id."""
    builds: Callable[[], Sequence[BuildView]] = no_builds
    session_end: Callable[[str], SessionEnd | None] = no_session_end
    """When a session ends, or why it did, by its id."""
    desk: Desk | None = None
    """None where nothing can be reserved."""
    challenges: Path | None = None
    """Where answers to a certificate authority are; None where none is asked."""
    membership: Membership | None = None
    """None where no federation is asked for."""
    statistics: StatisticsStore | None = None
    """None where the pages of statistics are switched off."""
    archive: Path | None = None
    """The folder of the archive's public files; None where they are not served."""
    builder_info: Mapping[str, str] = field(default_factory=dict)
    """What ``/versions`` tells of the builder; ``build_image`` is the key that BinderHub uses."""
    storage: Storage | None = None
    restorer: Restorer | None = None
    """None where there is no registry."""
    """None where nobody looks after the disk."""
    version: str = __version__
    clock: Callable[[], float] = time.time
