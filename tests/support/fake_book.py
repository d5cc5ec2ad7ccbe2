"""A launch book without launches: a test says what happens in each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from binderlet.events.bus import Story
from binderlet.events.kinds import LaunchEvent
from binderlet.launch.request import LaunchRequest
from binderlet.model import Phase


@dataclass
class FakeLaunch:
    """One launch."""

    id: str
    request: LaunchRequest
    story: Story = field(default_factory=Story)
    waited_for_build: bool = False
    numbers_from: int = 0
    viewers: int = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count one viewer."""
        self.viewers += 1
        yield
        self.viewers -= 1

    def say(self, phase: Phase | None, message: str, **fields: object) -> None:
        """Add an event."""
        self.story.add(LaunchEvent(phase, message, fields))

    def flood(self, count: int, line: str = "line") -> None:
        """Add many lines of a build at once, each with its number."""
        for number in range(count):
            self.say(Phase.BUILDING, f"{line} {number}\n")

    def ready(self, url: str = "http://binder.test/user/s1/") -> None:
        """Add ``ready`` and end."""
        self.say(Phase.READY, f"server running at {url}\n", url=url, token="t0ken")
        self.story.close()

    def fail(self, message: str, **fields: object) -> None:
        """Add ``failed`` and end."""
        self.say(Phase.FAILED, f"{message}\n", **fields)
        self.story.close()


Plan = Callable[[FakeLaunch], None]


def nothing(_launch: FakeLaunch) -> None:
    """Leave the launch to the test."""


def built_image(launch: FakeLaunch) -> None:
    """Tell the whole story of an image that was found."""
    launch.say(Phase.BUILT, "Found built image, launching...\n", imageName="binderlet/i-x:abc")
    launch.say(Phase.LAUNCHING, "Launching server...\n")
    launch.say(Phase.LAUNCHING, "Server requested\n")
    launch.say(Phase.LAUNCHING, "Server answers\n")
    launch.ready()


class FakeBook:
    """Opens launches that follow ``plan``, and remembers them in ``opened``."""

    def __init__(self, plan: Plan = built_image) -> None:
        self.plan = plan
        self.opened: list[FakeLaunch] = []
        self._by_id: dict[str, FakeLaunch] = {}

    def open(self, request: LaunchRequest) -> FakeLaunch:
        """Begin a launch."""
        launch = FakeLaunch(f"launch-{len(self.opened) + 1}", request)
        self.opened.append(launch)
        self._by_id[launch.id] = launch
        self.plan(launch)
        return launch

    def find(self, launch_id: str) -> FakeLaunch | None:
        """Give a launch by its id."""
        return self._by_id.get(launch_id)
