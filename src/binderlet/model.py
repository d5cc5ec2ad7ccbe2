"""The values that the steps of a launch hand to each other: frozen, without I/O, without behaviour of their own.

A launch goes ``RepoSpec -> Commit -> Image -> Session -> Route``; every folder of this package makes one of
these from the one before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any


class Phase(StrEnum):
    """Where a launch is; the values are the ``phase`` of BinderHub's events."""

    WAITING = "waiting"
    FETCHING = "fetching"
    BUILDING = "building"
    PUSHING = "pushing"
    BUILT = "built"
    LAUNCHING = "launching"
    READY = "ready"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether no event follows one of this phase."""
        return self in {Phase.READY, Phase.FAILED}


@dataclass(frozen=True, slots=True)
class RepoSpec:
    """What a visitor asked for: a repo provider's id and the rest of the URL, still percent-encoded.

    ``RepoSpec("gh", "owner/repo/HEAD")``; ``RepoSpec("git", "https%3A%2F%2Fexample.org%2Fr/main")``.
    """

    provider: str
    spec: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.spec}"


@dataclass(frozen=True, slots=True)
class Commit:
    """One exact state of one repository, as a repo provider resolved it."""

    provider: str
    """The provider's id, such as ``gh``."""
    sha: str
    """The commit, 40 lower-case hexadecimal digits."""
    clone_url: str
    """What git fetches from."""
    repo_url: str
    """What a person opens in a browser; ``BINDER_REPO_URL``."""
    ref_url: str
    """The page of this commit; ``BINDER_REF_URL``."""
    resolved_spec: str
    """The spec with the ref replaced by ``sha``; makes the persistent link."""
    slug: str
    """BinderHub's build slug, from which image names are made."""
    owner: str
    """Whom fair queues and shares count: ``github.com/owner``, or the URL's host and first path segment."""


@dataclass(frozen=True, slots=True)
class Image:
    """A built image in the machine's own store."""

    name: str
    """``repository:tag`` as the engine knows it."""
    id: str
    """The engine's content id, ``sha256:...``."""
    size: int = 0
    """Bytes on disk, shared layers included."""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one session may use."""

    memory: int
    """Bytes."""
    cpus: float
    """Cores; 0.5 is half of one."""
    pids: int
    """Processes and threads."""
    disk: int = 0
    """Bytes of the writable layer; 0 where the engine's storage cannot limit it."""


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """All that an engine needs to start a session, and all that it must be able to give back from its labels."""

    id: str
    """``[a-z0-9-]``, at most 63 characters; the segment in ``/user/<id>/``."""
    token: str
    """The Jupyter server's token."""
    image: str
    """``repository:tag``."""
    command: tuple[str, ...]
    """The program and its arguments; the image's entrypoint, if any, runs before it."""
    environment: Mapping[str, str]
    limits: Limits
    launch_id: str
    """The launch that asked for it."""
    provider: str
    spec: str
    """The spec as asked for, percent-encoded."""
    repo_url: str
    """What per-repository limits count."""
    created_at: float
    """Seconds since the epoch."""
    port: int = 8888
    """Where the Jupyter server listens inside."""
    standby: str = ""
    """What a launch must want to adopt it, where it is started ahead of its launch; empty for all others."""


class SessionState(StrEnum):
    """What the engine says of a session."""

    STARTING = "starting"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Session:
    """A session as the engine has it: read from the engine's own labels, never from our store."""

    id: str
    token: str
    image: str
    launch_id: str
    provider: str
    spec: str
    repo_url: str
    created_at: float
    state: SessionState
    address: str = ""
    """``host:port`` that HAProxy connects to; empty while it has none."""
    engine_id: str = ""
    """The engine's own id, such as a container's."""
    exit_code: int | None = None
    ended_because: str = ""
    """A sentence for people: ``it ran out of memory``; empty while it runs."""
    standby: str = ""
    """As in its spec; stays after its adoption, which the engine does not know of."""


@dataclass(frozen=True, slots=True)
class Route:
    """``/user/<session_id>/`` leads to ``address`` (``host:port``)."""

    session_id: str
    address: str


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the router has counted for one session since it was added; counters only grow."""

    websockets: int
    """Open now."""
    requests: int
    bytes_in: int
    """From the visitor."""
    bytes_out: int
    """To the visitor."""


@dataclass(frozen=True, slots=True)
class Check:
    """Whether one part of the service answers; made in the background, read by ``/health``."""

    service: str
    ok: bool
    message: str = ""
    """What was seen, and when it is not ok, what to do."""
    ignore_failure: bool = False
    """Whether the service counts as healthy without it."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """A snapshot of the whole service, always answered from memory."""

    sessions: int
    """Sessions that run or start."""
    session_limit: int
    launches_waiting: int
    """Launches in the queue for a session's place."""
    builds_running: int
    builds_waiting: int
    draining: bool
    """Whether new launches are refused because the service stops."""
    started_at: float
    checks: tuple[Check, ...] = ()
    standbys: int = 0
    """Sessions that were started ahead and wait for a launch; not counted in ``sessions``."""
    hibernated: int = 0
    """Sessions that are mostly in swap."""
    hibernation_off: str = ""
    """Why none is pushed out at the moment; empty while it works."""
    memory: int = 0
    """Bytes of this machine; 0 where it cannot be known."""
    memory_available: int = 0
    swap: int = 0
    swap_free: int = 0


def known(kind: type[Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a kept value has of a dataclass's fields: a newer program may have added others."""
    return {field.name: kept[field.name] for field in fields(kind) if field.name in kept}
