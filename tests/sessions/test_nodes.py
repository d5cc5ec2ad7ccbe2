"""Hibernation on many nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from binderlet.clients.cgroups import Usage
from binderlet.clients.memory import Machine
from binderlet.config.schema import HibernateSettings
from binderlet.errors import EngineUnavailable
from binderlet.model import Session
from binderlet.sessions import nodes as module
from binderlet.sessions.hibernator import Sight
from binderlet.sessions.nodes import NodesHibernator, together
from support.node_agent import MACHINE, TOKEN, FakeCgroups, node_agent
from support.values import SESSION

MIB = 2**20
BIG = Usage(1.0, 200 * MIB, 0)
SESSIONS = {key: replace(SESSION, id=key, engine_id=key * 64) for key in ("a", "b")}
NODES = {"a": "one", "b": "two"}


class World:
    """Two nodes with a session each, and a clock."""

    def __init__(self, one: str, two: str) -> None:
        self.groups = {"one": FakeCgroups({"a" * 64: BIG}), "two": FakeCgroups({"b" * 64: BIG})}
        self.agents: Mapping[str, str] = {"one": one, "two": two}
        self.sessions: Mapping[str, Session] = SESSIONS
        self.now = 1000.0
        self.sights: list[Sight] = []
        self.is_away = False

    async def find(self) -> Mapping[str, str]:
        """Give the helpers."""
        if self.is_away:
            raise EngineUnavailable("The cluster is away.")
        return self.agents

    def hibernator(self, **settings: object) -> NodesHibernator:
        """Make one for them."""
        return NodesHibernator(
            lambda: self.sessions,
            lambda: dict.fromkeys(SESSIONS, 0.0),
            HibernateSettings.model_validate({"after": 5, **settings}),
            node_of=lambda session_id: NODES[session_id],
            find=self.find,
            token=TOKEN,
            on_look=self.sights.append,
            clock=lambda: self.now,
        )

    async def look(self, hibernator: NodesHibernator, times: int = 4) -> set[str]:
        """Let it look several times, ten seconds apart; gives the sessions that were pushed out."""
        chosen: set[str] = set()
        for _ in range(times):
            self.now += 10
            chosen.update(await hibernator.look())
        return chosen


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Both nodes; helpers are looked for each time."""
    monkeypatch.setattr(module, "FIND_EVERY", 0.0)
    made = World("", "")
    with node_agent(made.groups["one"]) as one, node_agent(made.groups["two"]) as two:
        made.agents = {"one": one, "two": two}
        yield made


async def test_each_node_pushes_out_its_own(world: World) -> None:
    """Each quiet session is pushed out on its own node, and all are seen together."""
    hibernator = world.hibernator()
    assert await world.look(hibernator) == {"a", "b"}
    assert [one.usage[key * 64].resident for key, one in zip("ab", world.groups.values(), strict=True)] == [0, 0]
    assert hibernator.hibernated == {"a", "b"}
    assert hibernator.off_because == ""
    assert world.sights[-1].machine == together([MACHINE, MACHINE])
    hibernator.close()


async def test_what_computes(world: World) -> None:
    """A session that computes is left alone, and known as such."""
    hibernator = world.hibernator()
    await world.look(hibernator, 1)
    world.groups["two"].usage["b" * 64] = Usage(9.0, 200 * MIB, 0)
    assert "b" not in await world.look(hibernator, 1)
    assert hibernator.computing == {"b"}
    hibernator.close()


async def test_helper_that_goes_and_comes(world: World) -> None:
    """A node whose helper is gone is left alone; another one in its place is used."""
    hibernator = world.hibernator()
    agents, world.agents = world.agents, {"one": world.agents["one"]}
    assert await world.look(hibernator) == {"a"}
    world.agents = agents
    assert await world.look(hibernator) == {"b"}
    world.agents = {"one": "127.0.0.1:9", "two": agents["two"]}
    await world.look(hibernator, 1)
    assert hibernator.hibernated == {"b"}
    hibernator.close()


async def test_without_helpers(world: World) -> None:
    """Where no node has a helper, or they cannot be looked for, nothing is pushed out, and why is said."""
    world.is_away = True
    hibernator = world.hibernator()
    assert await world.look(hibernator) == set()
    assert hibernator.off_because == "no node has a helper"
    assert world.sights[-1] == Sight({}, None)
    hibernator.close()


async def test_node_that_cannot(world: World) -> None:
    """One node that cannot does not keep the other from it; when none can, the reason is said."""
    hibernator = world.hibernator()
    world.groups["one"].problem = "this kernel cannot"
    await world.look(hibernator)
    assert world.groups["two"].usage["b" * 64].resident == 0
    assert hibernator.off_because == ""
    world.agents = {"one": world.agents["one"]}
    await world.look(hibernator, 1)
    assert hibernator.off_because == "this kernel cannot"
    hibernator.close()


async def test_trouble_on_one_node(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake while one node is looked at is not the others'."""
    hibernator = world.hibernator()
    await world.look(hibernator, 1)

    async def broken() -> list[str]:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(hibernator._nodes["one"][1], "look", broken)
    assert await world.look(hibernator) == {"b"}
    hibernator.close()


async def test_switched_off(world: World) -> None:
    """Where hibernation is off, that is why nothing is pushed out."""
    hibernator = world.hibernator(enabled=False)
    assert await world.look(hibernator) == set()
    assert hibernator.off_because == "hibernate.enabled is false"
    hibernator.close()


def test_together() -> None:
    """Sizes add up, pressure is the worst."""
    assert together([]) is None
    assert together([MACHINE, Machine(1, 1, 1, 1, 9.0, 0.1)]) == Machine(
        MACHINE.memory + 1, MACHINE.available + 1, MACHINE.swap + 1, MACHINE.swap_free + 1, 9.0, 0.5
    )


async def test_helpers_are_looked_for_seldom(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between looks for helpers the known ones are asked; nobody needs to be told what was seen."""
    hibernator = NodesHibernator(
        lambda: SESSIONS, dict, HibernateSettings(), node_of=NODES.__getitem__, find=world.find, token=TOKEN
    )
    await hibernator.look()
    monkeypatch.setattr(module, "FIND_EVERY", 1000.0)
    world.agents = {}
    await hibernator.look()
    assert set(hibernator.sight.usage) == {"a", "b"}
    hibernator.close()
