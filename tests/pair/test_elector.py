"""Keeping the Lease in a cluster, or waiting for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from binderlet.clients.kubernetes import KubernetesClient
from binderlet.errors import EngineUnavailable
from binderlet.pair.elector import Elector, steady_clock
from binderlet.pair.lease import Candidate
from binderlet.tasks import Tasks
from support.eventually import eventually
from support.lease_api import NAMESPACE, LeaseApi, lease_api


@dataclass
class World:
    """An API server, a client, and a clock that tests set."""

    api: LeaseApi
    client: KubernetesClient
    now: float = 100.0

    def elector(self, name: str = "a") -> Elector:
        """Give a candidate for a Lease of ten seconds."""
        candidate = Candidate(name, f"{name}:1", 10.0)
        return Elector(self.client, candidate, "l", NAMESPACE, every=1.0, clock=lambda: self.now)

    def empty_lease(self) -> None:
        """Have one that nobody holds."""
        self.api.put({"metadata": {"name": "l"}, "spec": {}})


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """All of it."""
    async with lease_api() as (api, client):
        yield World(api, client)


async def test_made_and_kept(world: World) -> None:
    """A Lease that is not there is made; whoever made it leads after its time, and renews it."""
    one = world.elector()
    await one.look()
    assert not one.won.is_set()
    world.now += 10
    await one.look()
    assert one.leads
    assert one.won.is_set()
    one.fence()
    world.now += 5
    await one.look()
    assert world.api.writes == 3
    assert world.api.lease is not None
    assert world.api.lease["spec"]["renewTime"].endswith("Z")


async def test_the_other_waits_and_takes_over(world: World) -> None:
    """Another one waits until the leader was silent for the Lease's time."""
    world.empty_lease()
    one, other = world.elector(), world.elector("b")
    await one.look()
    await other.look()
    assert (one.leads, other.leads, other.candidate.leader) == (True, False, "a:1")
    world.now += 10
    await other.look()
    assert (one.leads, other.leads) == (False, True)
    with pytest.raises(EngineUnavailable, match="does not lead"):
        one.fence()


async def test_somebody_was_faster(world: World) -> None:
    """Who finds that another wrote in between reads again and lets it lead."""
    world.empty_lease()
    one = world.elector()
    world.api.faster = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "b", "leaseDurationSeconds": 10}}
    await one.look()
    assert not one.leads


async def test_somebody_wrote_on_it(world: World) -> None:
    """A leader whose Lease was changed by an operator, or removed, reads it again and keeps it."""
    world.empty_lease()
    one = world.elector()
    await one.look()
    world.api.faster = {**(world.api.lease or {}), "spec": {**(world.api.lease or {})["spec"], "x": 1}}
    world.now += 5
    await one.look()
    assert one.candidate.until == pytest.approx(world.now + 20 / 3)


@pytest.mark.parametrize("status", [403, 500])
async def test_what_fails_is_tried_again(world: World, status: int) -> None:
    """A refusal is logged, and neither ends the looking nor the leading before its time."""
    world.empty_lease()
    one = world.elector()
    await one.look()
    world.api.fails = status
    await one.look()
    assert one.leads
    world.now += 7
    assert not one.leads
    await one.look()
    world.api.fails = 0
    await one.look()
    assert one.leads


async def test_a_server_that_never_answers(world: World) -> None:
    """A call without an answer is given up in time; the loop goes on."""
    world.empty_lease()
    one = Elector(world.client, Candidate("a", "a:1", 10.0), "l", NAMESPACE, every=0.05)
    world.api.silent = True
    async with Tasks("test") as tasks:
        tasks.start(one.run(), name="elect")
        await asyncio.wait_for(one.looked.wait(), 10)
        assert not one.leads
        world.api.silent = False
        await asyncio.wait_for(one.won.wait(), 10)


async def test_lost_by_its_own_clock(world: World) -> None:
    """Whoever waits for the end of leading is told when its time is up, also without an answer of the cluster."""
    world.empty_lease()
    one = Elector(world.client, Candidate("a", "a:1", 0.3), "l", NAMESPACE, every=1.0)
    await one.look()
    assert one.leads
    await asyncio.wait_for(one.until_lost(), 10)
    assert not one.leads


async def test_given_back(world: World) -> None:
    """The Lease is free at once when its holder leaves; one that does not lead gives nothing back."""
    world.empty_lease()
    one, other = world.elector(), world.elector("b")
    await one.look()
    await other.give_back()
    await one.give_back()
    assert not one.leads
    third = world.elector("c")
    await third.look()
    assert third.leads


async def test_given_back_without_an_answer(world: World) -> None:
    """Where the cluster does not answer, the one that leaves does not lead either."""
    world.empty_lease()
    one = world.elector()
    await one.look()
    world.api.fails = 500
    await one.give_back()
    assert not one.leads


async def test_steady_clock_goes_on() -> None:
    """The clock never goes back."""
    before = steady_clock()
    await eventually(lambda: steady_clock() > before)
