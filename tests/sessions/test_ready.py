"""Waiting for a session: it answers, it dies, or its time is up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from binderlet.engine.fake import FakeEngine
from binderlet.errors import SessionDied, SessionSilent
from binderlet.model import Limits, Session, SessionSpec
from binderlet.sessions import ready as ready_module
from binderlet.sessions.probe import Probe
from binderlet.sessions.ready import until_ready
from support.values import SESSION

SPEC = SessionSpec(
    id=SESSION.id,
    token=SESSION.token,
    image=SESSION.image,
    command=("sh",),
    environment={},
    limits=Limits(1, 1, 1),
    launch_id=SESSION.launch_id,
    provider=SESSION.provider,
    spec=SESSION.spec,
    repo_url=SESSION.repo_url,
    created_at=0.0,
)


class SilentProbe(Probe):
    """Never gets an answer, and says so at once."""

    async def why_not_ready(self, session: Session) -> str:
        """Say no."""
        assert session.id == SESSION.id
        return "nothing listens on its port"


class Waiting:
    """A session of a fake engine and all that waiting for it takes."""

    def __init__(self, engine: FakeEngine, session: Session, probe: Probe) -> None:
        self.engine = engine
        self.session = session
        self.probe = probe
        self.death: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
        self.watched = False

    async def until_ready(self, seconds: float = 5.0) -> None:
        """Wait."""
        await until_ready(
            self.session,
            self.death,
            self.engine,
            self.probe,
            timeout=seconds,
            is_watched=lambda: self.watched,
        )


@pytest.fixture
async def waiting(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Waiting]:
    """Start a session that answers."""
    monkeypatch.setattr(ready_module, "LOOK_UNWATCHED", 0.05)
    engine = FakeEngine(serve=True)
    async with Probe(timeout=0.2) as probe:
        yield Waiting(engine, await engine.start(SPEC), probe)
    await engine.close()


async def test_a_session_that_answers_is_ready(waiting: Waiting) -> None:
    """As soon as it answers, waiting ends."""
    await waiting.until_ready()


async def test_a_session_that_answers_later_is_waited_for(waiting: Waiting) -> None:
    """While it does not answer it is asked again and again."""
    waiting.engine.silent = True
    async with asyncio.TaskGroup() as group:
        waited = group.create_task(waiting.until_ready())
        await asyncio.sleep(0.1)
        assert not waited.done()
        waiting.engine.silent = False


@pytest.mark.parametrize(
    ("because", "exit_code", "text"),
    [
        ("it ran out of memory", 137, "it ran out of memory"),
        ("", 1, "its exit code was 1"),
    ],
)
async def test_a_death_that_is_told_ends_the_wait(waiting: Waiting, because: str, exit_code: int, text: str) -> None:
    """The error has the cause and the last lines, without the token."""
    waiting.watched = True
    waiting.engine.silent = True
    waiting.engine.output[SESSION.id] = f"starting with secret-token\nTraceback\nexec failed {SESSION.token}\n"

    def die() -> None:
        waiting.death.set_result(waiting.engine.end(SESSION.id, because, exit_code))

    asyncio.get_running_loop().call_later(0.05, die)
    with pytest.raises(SessionDied) as caught:
        await waiting.until_ready()
    assert caught.value.message == (
        f"The session ended before it answered: {text}. Its last lines:\nstarting with ...\nTraceback\nexec failed ..."
    )


async def test_a_death_that_nobody_told_is_found(waiting: Waiting) -> None:
    """Without the engine's events its list is read from time to time."""
    waiting.engine.end(SESSION.id, "it was killed")
    async with asyncio.timeout(2):
        with pytest.raises(SessionDied, match=r"it was killed\.$"):
            await waiting.until_ready()


async def test_a_session_that_vanished_is_dead(waiting: Waiting) -> None:
    """Somebody removed the container."""
    await waiting.engine.stop(SESSION.id)
    waiting.probe = SilentProbe()
    with pytest.raises(SessionDied, match="it is gone"):
        await waiting.until_ready()


async def test_a_silent_session_is_given_up(waiting: Waiting) -> None:
    """After the deadline the error says what was seen last, and the last lines."""
    waiting.engine.silent = True
    waiting.engine.output[SESSION.id] = "Loading a large model..."
    with pytest.raises(SessionSilent, match=r"(?s)within 0 seconds: it does not answer.*large model"):
        await waiting.until_ready(0.3)


async def test_an_engine_that_is_away_meanwhile_changes_nothing(waiting: Waiting) -> None:
    """What cannot be judged is waited for; without the engine there are no last lines."""
    waiting.engine.down = True
    waiting.probe = SilentProbe()
    with pytest.raises(SessionSilent, match=r"nothing listens on its port\.$"):
        await waiting.until_ready(0.2)
