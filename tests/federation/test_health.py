"""Asking members over real HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from binderlet.federation.config import Federation, Member
from binderlet.federation.health import Health, get, probe, read_images, tell
from binderlet.federation.redirector import Redirector
from binderlet.federation.report import Answer, Room
from binderlet.federation.standing import Phase, Standing
from support.eventually import eventually
from support.members import FakeMember, silent

pytestmark = pytest.mark.timeout(90)

PATIENCE = 30.0
FAST = {"period": 0.05, "jitter": 0.1, "retries": 2, "failed_period": 0.05, "timeout": 5}


@pytest.fixture
def member() -> Iterator[FakeMember]:
    """One member."""
    with FakeMember("m") as found:
        yield found


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """What asks."""
    async with aiohttp.ClientSession() as found:
        yield found


def federation(*members: FakeMember, **check: float) -> Federation:
    """A federation of these; the first is prime."""
    body = {one.name: {"url": one.base, "prime": one is members[0]} for one in members}
    return Federation.model_validate({"members": body, "check": FAST | check})


async def test_probe(member: FakeMember, client: aiohttp.ClientSession) -> None:
    """One probe asks for health and versions once each."""
    member.state.quota, member.state.total = 50, 5
    found = await probe(client, Member(url=member.base), 5)
    assert (found.trouble, found.room) == ("", Room(50, 5))
    assert sorted(member.paths()) == ["/health", "/versions"]


async def test_probes_that_fail(member: FakeMember, client: aiohttp.ClientSession) -> None:
    """A member that is gone, silent, or closes at once is unreachable, and why is said."""
    member.state.gone = True
    assert not (await probe(client, Member(url=member.base), 5)).reached
    member.state.gone, member.state.versions = False, None
    assert (await probe(client, Member(url=member.base), 5)).trouble == "/versions did not answer"
    async with silent() as url:
        assert "no answer within" in (await probe(client, Member(url=url), 0.05)).trouble


async def test_a_large_body_is_cut(member: FakeMember, client: aiohttp.ClientSession) -> None:
    """No more than the limit of a body is kept."""
    answer = await get(client, f"{member.base}/huge", 1000)
    assert isinstance(answer, Answer)
    assert len(answer.body) == 1000


async def test_watching(member: FakeMember, client: aiohttp.ClientSession) -> None:
    """Members are asked again and again, new ones at once, old ones no more; lists of images are read."""
    member.state.images = ["00" * 8, "nonsense"]
    with FakeMember("n") as other:
        redirector = Redirector(federation(member))
        health = Health(redirector, client, chance=lambda: 0.5)
        await health.start()
        assert redirector.standings["m"].phase is Phase.UP
        await eventually(lambda: member.paths().count("/health") > 3, seconds=PATIENCE)
        await eventually(lambda: "m" in redirector._images, seconds=PATIENCE)
        member.state.images = []
        await eventually(lambda: "m" not in redirector._images, seconds=PATIENCE)
        redirector.reload(federation(member, other))
        health.follow(redirector.federation)
        await eventually(lambda: "n" in redirector.standings, seconds=PATIENCE)
        redirector.reload(federation(member))
        health.follow(redirector.federation)

        async def is_left_alone() -> bool:
            """Whether nobody asks the other member any more."""
            asked = len(other.asked)
            await asyncio.sleep(0.3)
            return len(other.asked) == asked

        await eventually(is_left_alone, seconds=PATIENCE)
        member.state.gone = True
        await eventually(lambda: redirector.standings["m"].phase is Phase.DOWN, seconds=PATIENCE)
        await health.close()


async def test_images_are_not_always_asked_for(member: FakeMember, client: aiohttp.ClientSession) -> None:
    """Where images do not count they are not asked for; a member that is silent about them has none."""
    off = Federation.model_validate(
        {"members": {"m": {"url": member.base, "prime": True}}, "spread": {"images": False}, "check": FAST}
    )
    await Health(Redirector(off), client).look_for_images("m", off.members["m"])
    assert member.asked == []
    async with silent() as url:
        body = {"s": {"url": url, "prime": True}}
        wanted = Federation.model_validate({"members": body, "check": FAST | {"timeout": 0.05}})
        redirector = Redirector(wanted)
        await Health(redirector, client).look_for_images("s", wanted.members["s"])
    assert redirector._images == {}


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        ("refused", 0),
        (Answer(404, b""), 0),
        (Answer(200, b"?"), 0),
        (Answer(200, b"[]"), 0),
        (Answer(200, json.dumps({"repositories": ["ab" * 8, "ab"]}).encode()), 1),
        (Answer(200, json.dumps({"repositories": ["zz" * 8]}).encode()), 0),
    ],
)
def test_lists_of_images(answer: Answer | str, count: int) -> None:
    """A list of images is read where it is one."""
    assert len(read_images(answer)) == count


def test_news_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """A member that comes or goes is said once."""
    up, down = Standing(Phase.UP), Standing(Phase.DOWN)
    for before, after in ((up, {"m": down}), (down, {"m": up}), (up, {"m": up}), (up, {})):
        tell("m", before, after)
    assert "".join(capsys.readouterr()).count("member is") == 2
