"""Many visitors at once: one build for all, streams that are left and taken up again, and the queue for places."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from support.gitserver import Program
from support.service import Event, Forge, LiveService, Serve, git_spec
from support.visit import Visit, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.haproxy, pytest.mark.timeout(120)]

STEPS = Program("#!/bin/bash\nfor step in 1 2 3 4 5 6; do echo step-$step; sleep 0.4; done\n")


def lines(events: list[Event], phase: str = "building") -> list[str]:
    """Give the lines of the log that begin with ``step``."""
    text = "".join(event["message"] for event in events if event.get("phase") == phase)
    return [line for line in text.splitlines() if line.startswith("step-")]


def end(service: LiveService, *visits: Visit) -> None:
    """End sessions."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda visit: service.admin("DELETE", f"/sessions/{visit.id}"), visits))


def test_ten_viewers_of_one_build(service: LiveService, forge: Forge) -> None:
    """Ten who ask for one repository wait for one build, read one log from its first line, and get a session each."""
    repository, url = forge.repository({"postBuild": STEPS})
    spec = git_spec(url, repository.head)
    with ThreadPoolExecutor(10) as pool:
        stories = list(pool.map(lambda _: service.launch(spec), range(10)))
    expected = [f"step-{number}" for number in range(1, 7)]
    assert [lines(story) for story in stories] == [expected] * 10
    wait_for(lambda: builds_of(service, url) == ["success"], seconds=10, what="exactly one build is on record")
    visits = [Visit(story[-1]) for story in stories]
    assert len({visit.id for visit in visits}) == len({visit.token for visit in visits}) == 10
    assert {visit.ask("GET", "lab")[0] for visit in visits} == {200}
    end(service, *visits)


def builds_of(service: LiveService, url: str) -> list[str]:
    """Give how each build of a repository ended, from the history."""
    with closing(sqlite3.connect(service.state / "history.sqlite")) as database:
        rows = database.execute("SELECT status FROM builds WHERE repo_url = ?", (url,))
        return [status for (status,) in rows]


def test_a_viewer_that_leaves_stops_nothing(service: LiveService, forge: Forge) -> None:
    """When the only viewer leaves during the build, the launch goes on to its session without anyone."""
    repository, url = forge.repository({"postBuild": STEPS})
    with closing(service.stream(git_spec(url, repository.head))) as events:
        assert any("step-1" in event["message"] for event in events)
    (session,) = wait_for(lambda: sessions_of(service, url), seconds=30, what="the session runs")
    wait_for(
        lambda: [found for found in sessions_of(service, url) if found["state"] == "running"],
        seconds=30,
        what="the session answers",
    )
    assert service.admin("DELETE", f"/sessions/{session['id']}")[0] == 204


def sessions_of(service: LiveService, url: str) -> list[Event]:
    """List the sessions of a repository."""
    return [session for session in service.sessions() if session["repo_url"] == url]


def test_a_stream_is_taken_up_again(service: LiveService, forge: Forge) -> None:
    """With ``Last-Event-ID`` a viewer who comes back gets the rest of the same launch, nothing twice, nothing lost."""
    repository, url = forge.repository({"postBuild": STEPS})
    spec = git_spec(url, repository.head)
    before: list[Event] = []
    with closing(service.stream(spec)) as events:
        for event in events:
            before.append(event)
            if "step-2" in event["message"]:
                break
    after = list(service.stream(spec, after=before[-1]["id"]))
    assert lines(before + after) == [f"step-{number}" for number in range(1, 7)]
    assert not {event["id"] for event in before} & {event["id"] for event in after}
    assert after[-1]["phase"] == "ready"
    whole = list(service.stream(spec, after=before[0]["id"]))
    assert before[1:] + after == whole
    assert len(sessions_of(service, url)) == 1
    end(service, Visit(after[-1]))


@pytest.fixture(scope="module")
def small(serve: Serve) -> Iterator[LiveService]:
    """A service with a single place."""
    with serve(limits__sessions=1) as service:
        yield service


class Waiting:
    """A launch that is followed in a thread of its own."""

    def __init__(self, service: LiveService, spec: str) -> None:
        self.events: list[Event] = []
        self._thread = threading.Thread(target=self._follow, args=(service, spec), daemon=True)
        self._thread.start()

    def _follow(self, service: LiveService, spec: str) -> None:
        for event in service.stream(spec):
            self.events.append(event)

    def is_at(self, position: int) -> bool:
        """Whether it was told this position in the queue last."""
        positions = [event["queue_position"] for event in self.events if "queue_position" in event]
        return positions[-1:] == [position]

    def visit(self) -> Visit:
        """Give its session, once there is one."""
        self._thread.join(60)
        assert self.events[-1]["phase"] == "ready", self.events
        return Visit(self.events[-1])


def test_the_queue(small: LiveService, forge: Forge) -> None:
    """Who finds every place taken is told their position; each session that ends lets the next one in, in order."""
    repository, url = forge.repository({"a.txt": "queue"})
    spec = git_spec(url, repository.head)
    first = Visit(small.ready(spec))
    second = Waiting(small, spec)
    wait_for(lambda: second.is_at(1), seconds=20, what="the second launch is first in the queue")
    third = Waiting(small, spec)
    wait_for(lambda: third.is_at(2), seconds=20, what="the third launch is second in the queue")
    assert small.admin("GET", "/status")[1]["launches_waiting"] == 2

    end(small, first)
    visit = second.visit()
    assert visit.ask("GET", "lab")[0] == 200
    wait_for(lambda: third.is_at(1), seconds=20, what="the third launch moves up")
    visit.kill()
    last = third.visit()
    assert last.ask("GET", "lab")[0] == 200
    assert [session["id"] for session in small.sessions()] == [last.id]
