"""What is told, and to whom.

A ``LaunchEvent`` goes to the viewers of one launch, in BinderHub's shape. A ``Fact`` goes to whoever keeps the
record: history, archive, metrics.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from binderlet.model import Commit, Phase, RepoSpec, Session


@dataclass(frozen=True)
class LaunchEvent:
    """One line of a launch's story, as BinderHub's ``/build`` sends it."""

    phase: Phase | None
    message: str
    """Ends in a line end, as clients write it to a terminal as it is."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """More keys of the JSON object, such as ``url`` and ``token``."""

    @cached_property
    def data(self) -> bytes:
        """The JSON object in one line, encoded once however many viewers there are."""
        body = ({"phase": str(self.phase)} if self.phase else {}) | {"message": self.message} | dict(self.fields)
        # ASCII only: clients that split a stream at any Unicode line end never see one inside an event.
        return json.dumps(body, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class LaunchStarted:
    """A visitor asked for a launch."""

    launch_id: str
    spec: RepoSpec
    at: float


@dataclass(frozen=True, slots=True)
class LaunchEnded:
    """A launch came to its end, one way or the other."""

    launch_id: str
    spec: RepoSpec
    at: float
    started_at: float
    status: str
    """``success``, ``failure``, or for refusals ``pod_quota`` or ``repo_quota``."""
    code: str = ""
    """The error's code where it failed."""
    message: str = ""
    commit: Commit | None = None
    provider_name: str = ""
    """The provider's name in launch events, such as ``GitHub``."""
    session_id: str = ""
    built: bool = False
    """Whether an image was built for it, or waited for."""
    build_only: bool = False
    build_token: bool = False
    """Whether a valid build token came with it."""
    origin: str = ""
    request_origin: str = ""
    phase_seconds: Mapping[str, float] = field(default_factory=dict)
    """How long it spent in each step: resolve, pull, build, queue, start, route."""


@dataclass(frozen=True, slots=True)
class BuildStarted:
    """A build left the queue."""

    build_id: str
    commit: Commit
    image: str
    at: float


@dataclass(frozen=True, slots=True)
class BuildEnded:
    """A build came to its end."""

    build_id: str
    commit: Commit
    image: str
    at: float
    started_at: float
    status: str
    """``success`` or ``failure``."""
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """A session answers and has its route."""

    session: Session
    at: float


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """A session is gone."""

    session: Session
    at: float
    reason: str
    """``culled: idle``, ``culled: age``, ``stopped``, ``died``, ``abandoned``."""


Fact = LaunchStarted | LaunchEnded | BuildStarted | BuildEnded | SessionStarted | SessionEnded
