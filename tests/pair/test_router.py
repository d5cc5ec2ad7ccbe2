"""The data path as the leader sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from binderlet.errors import RouterUnavailable
from binderlet.model import Route, Traffic
from binderlet.pair.peers import Peers, by_address
from binderlet.pair.router import PairRouter
from binderlet.router.inprocess import InProcessRouter


class Others(Peers):
    """The others, as tests want them."""

    def __init__(self) -> None:
        super().__init__(by_address([]), "")
        self.counted: dict[str, dict[str, Traffic]] = {}
        self.is_away = False

    async def traffic(self) -> dict[str, dict[str, Traffic]]:
        """Say what they counted."""
        if self.is_away:
            raise RouterUnavailable("One is away.")
        return self.counted


@pytest.fixture
async def inner() -> AsyncIterator[InProcessRouter]:
    """A data path."""
    made = InProcessRouter()
    await made.prepare()
    yield made
    await made.shutdown()


async def test_counters_of_all_are_added(inner: InProcessRouter) -> None:
    """What all counted is added up, and stays when one of the others is gone."""
    others = Others()
    router = PairRouter(inner, others)
    await router.prepare()
    await router.add(Route("s", "127.0.0.1:1"))
    inner._count("s", requests=1, came=10, went=100)
    others.counted = {"b": {"s": Traffic(1, 2, 20, 200)}}
    assert await router.traffic() == {"s": Traffic(1, 3, 30, 300)}
    others.counted = {}
    assert await router.traffic() == {"s": Traffic(0, 3, 30, 300)}
    await router.remove("s")
    assert await router.traffic() == {}


async def test_one_of_the_others_is_away(inner: InProcessRouter) -> None:
    """Where one does not answer there are no counters at all: nobody is to be taken for idle."""
    others = Others()
    others.is_away = True
    with pytest.raises(RouterUnavailable):
        await PairRouter(inner, others).traffic()


async def test_cut_off_launches_are_gone_on_with(inner: InProcessRouter) -> None:
    """A session that may not have been announced looks as if without route, until it gets one or ends."""
    for name in ("told", "cut-off", "ended"):
        await inner.add(Route(name, "127.0.0.1:1"))
    router = PairRouter(inner, Others(), ["cut-off", "ended"])
    assert set(await router.routes()) == {"told"} == set(router.announced)
    await router.add(Route("cut-off", "127.0.0.1:1"))
    await router.remove("ended")
    assert set(await router.routes()) == {"told", "cut-off"} == set(router.announced)


async def test_the_rest_is_passed_on(inner: InProcessRouter) -> None:
    """Name and end are those of the router inside."""
    router = PairRouter(inner, Others())
    assert await router.ping() == "in-process router"
    await router.close()
    await router.shutdown()
    with pytest.raises(RouterUnavailable):
        await router.ping()
