"""The HTTP side with everything behind it faked, for tests and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from binderlet.api.ports import BuildView, Services, SessionView
from binderlet.config import Settings
from binderlet.errors import BadSpec, SessionNotFound
from binderlet.model import Check, Commit, ServiceStatus
from binderlet.pages.views import Pages
from binderlet.providers.base import Log
from support.fake_book import FakeBook

SECRET = "ab" * 32
NOW = 1_800_000_000.0
DISPLAYS: dict[str, dict[str, Any]] = {
    "gh": {
        "displayName": "GitHub",
        "id": "gh",
        "spec": {"validateRegex": "[^/]+/[^/]+/.+"},
        "detect": {"regex": "^(https?://github.com/)?(?<repo>.*[^/])/?"},
        "repo": {
            "label": "GitHub repository name or URL",
            "placeholder": "example: binder-examples/requirements",
            "urlEncode": False,
        },
        "ref": {"enabled": True, "default": "HEAD"},
    },
    "git": {
        "displayName": "Git repository",
        "id": "git",
        "spec": {"validateRegex": "[^/]+/.+"},
        "repo": {
            "label": "Arbitrary git repository URL",
            "placeholder": "example: http://git.example.com/repo",
            "urlEncode": True,
        },
        "ref": {"enabled": True, "default": "HEAD"},
    },
    "zenodo": {
        "displayName": "Zenodo DOI",
        "id": "zenodo",
        "spec": {"validateRegex": "10\\.\\d+\\/(.)+"},
        "repo": {"label": "Zenodo DOI", "placeholder": "example: 10.5281/zenodo.3242074", "urlEncode": False},
        "ref": {"enabled": False},
    },
}


@dataclass
class FormProvider:
    """A repo provider that knows the form of a spec and nothing else."""

    id: str

    @property
    def event_name(self) -> str:
        """The name in launch events."""
        return self.id

    @property
    def display(self) -> Mapping[str, Any]:
        """The entry in ``/api/repoproviders``."""
        return DISPLAYS[self.id]

    def check(self, spec: str) -> None:
        """Ask for as many parts as the form has."""
        if spec.count("/") < {"gh": 2}.get(self.id, 1):
            raise BadSpec(f'Spec is not of the form "user/repo/ref", provided: "{spec}".')

    async def resolve(self, spec: str) -> Commit:
        """Find nothing."""
        raise NotImplementedError(spec)

    async def fetch(self, commit: Commit, destination: Path, log: Log) -> None:
        """Fetch nothing."""
        raise NotImplementedError(str(destination))

    async def close(self) -> None:
        """Close nothing."""


@dataclass
class FakeOperations:
    """Sessions in a list."""

    views: list[SessionView] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    shut_down: bool = False

    def sessions(self) -> Sequence[SessionView]:
        """List them."""
        return self.views

    async def stop(self, session_id: str) -> None:
        """Take one away."""
        for view in self.views:
            if view.session.id == session_id:
                self.views.remove(view)
                self.stopped.append(session_id)
                return
        raise SessionNotFound(f"No session {session_id!r} runs here.")

    async def extend(self, session_id: str, seconds: float) -> float:
        """Let a session stay, where it is known."""
        if session_id == "other":
            raise SessionNotFound(f"There is no session {session_id!r}.")
        return 1000.0 + seconds

    def shutdown(self) -> None:
        """Note it."""
        self.shut_down = True


@dataclass
class Stage:
    """What a test may change while the service runs."""

    book: FakeBook = field(default_factory=FakeBook)
    operations: FakeOperations = field(default_factory=FakeOperations)
    status: ServiceStatus = field(
        default_factory=lambda: ServiceStatus(
            sessions=3,
            session_limit=40,
            hibernated=2,
            hibernation_off="there is no swap",
            memory=24,
            memory_available=12,
            swap=8,
            swap_free=4,
            launches_waiting=1,
            builds_running=1,
            builds_waiting=2,
            draining=False,
            started_at=NOW - 3600,
            checks=(Check("Container engine", ok=True), Check("HAProxy", ok=True, message="2 routes")),
        )
    )
    logs: dict[str, Path] = field(default_factory=dict)
    builds: list[BuildView] = field(default_factory=list)
    now: float = NOW

    def services(self, settings: Settings | None = None) -> Services:
        """Give all of it to the HTTP side."""
        chosen = settings or Settings()
        providers = {name: FormProvider(name) for name in DISPLAYS}
        return Services(
            settings=chosen,
            book=self.book,
            providers=providers,
            operations=self.operations,
            pages=Pages(chosen, [provider.display for provider in providers.values()]),
            build_token_secret=SECRET,
            status=lambda: self.status,
            metrics=lambda: b"binderhub_inprogress_launches 1.0\n",
            build_log=self.logs.get,
            builds=lambda: self.builds,
            builder_info={"build_image": "binderlet/base:test"},
            clock=lambda: self.now,
        )
