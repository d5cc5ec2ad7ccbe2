"""Everything a launch works with, made of the ports' fakes."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from binderlet.builder.fake import FakeBuilder
from binderlet.config import Settings
from binderlet.engine.fake import FakeEngine
from binderlet.events.bus import Bus
from binderlet.events.kinds import Fact
from binderlet.images.fake import FakeImages
from binderlet.launch.admission import Admission
from binderlet.launch.book import LaunchBook
from binderlet.launch.builds import Builds
from binderlet.launch.places import Places
from binderlet.launch.request import LaunchRequest
from binderlet.launch.runner import Launch, Parts
from binderlet.model import Image, RepoSpec
from binderlet.providers.base import Provider
from binderlet.providers.fake import FakeProvider, FakeRepository
from binderlet.router.inprocess import InProcessRouter
from binderlet.sessions.book import Sessions
from binderlet.tasks import Tasks
from support.values import COMMIT, SHA

OTHER_SHA = "2" * 40
FILES = {"README.md": b"Hello\n"}


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def repositories() -> dict[str, FakeRepository]:
    """Three repositories: two of one owner, one of another."""
    refs = {"HEAD": SHA, "refs/heads/main": SHA, "refs/heads/next": OTHER_SHA}
    commits = {SHA: FILES, OTHER_SHA: FILES}
    return {name: FakeRepository(refs, commits) for name in ("owner/repo", "owner/second", "other/repo")}


class Workshop:
    """A whole launch side on fakes; an asynchronous context manager."""

    def __init__(self, state: Path, settings: Settings | None = None, *, places: int = 10) -> None:
        self.settings = settings or Settings()
        self.clock = Clock()
        self.bus = Bus()
        self.facts: list[Fact] = []
        self.bus.listen(self.facts.append)
        self.tasks = Tasks("workshop")
        self.engine = FakeEngine(serve=True)
        self.router = InProcessRouter()
        self.images = FakeImages()
        self.builder = FakeBuilder(on_built=self._keep)
        self.provider = FakeProvider(repositories())
        self.providers: dict[str, Provider] = {"fake": self.provider}
        self.free_disk = 100 * 1024**3
        self.sessions = Sessions(self.engine, self.router, self.settings, self.bus, self.tasks)
        self.builds = Builds(
            self.providers,
            self.builder,
            self.images,
            self.settings.builder,
            state=state,
            bus=self.bus,
            tasks=self.tasks,
            clock=self.clock,
            free_disk=lambda _: self.free_disk,
        )
        self.places = Places(Admission(places=places, queue=2))
        self.sessions.on_gone(lambda session: self.places.release(session.launch_id))
        self.parts = Parts(
            self.providers,
            self.images,
            self.builds,
            self.places,
            self.sessions,
            self.bus,
            self.settings,
            clock=self.clock,
        )
        self.book = LaunchBook(self.parts, self.tasks)

    def _keep(self, image: Image) -> None:
        self.images.images[image.name] = image

    def launch(self, spec: str = "owner/repo/main", *, build_only: bool = False, provider: str = "fake") -> Launch:
        """Open a launch."""
        request = LaunchRequest(RepoSpec(provider, spec), "http://binder.test/", build_only=build_only)
        return self.book.open(request)

    async def __aenter__(self) -> Self:
        await self.router.prepare()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End everything."""
        await self.tasks.close()
        for session in await self.engine.list():
            await self.engine.stop(session.id)
        await self.sessions.close()
        await self.router.shutdown()
        await self.engine.close()


async def told(launch: Launch) -> list[tuple[str, str]]:
    """Wait for a launch's end and give its events as (phase, message)."""
    return [(str(event.phase or ""), event.message.strip()) async for _, event in launch.story.follow()]


async def phases(launch: Launch) -> list[str]:
    """Wait for a launch's end and give its phases, each run of equal ones once."""
    seen: list[str] = []
    for phase, _ in await told(launch):
        if not seen or seen[-1] != phase:
            seen.append(phase)
    return seen


__all__ = ["COMMIT", "Clock", "Workshop", "phases", "told"]
