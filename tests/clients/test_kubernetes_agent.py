"""Another node's control groups, as if they were here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from binderlet.clients.cgroups import CgroupsUnusable, Usage
from binderlet.clients.kubernetes_agent import NodeCgroups
from support.node_agent import MACHINE, TOKEN, FakeCgroups, node_agent

A = "a" * 64


@pytest.fixture
def cgroups() -> FakeCgroups:
    """Groups on the node."""
    return FakeCgroups({A: Usage(1.5, 100, 20)})


@pytest.fixture
def node(cgroups: FakeCgroups) -> Iterator[NodeCgroups]:
    """The node."""
    with node_agent(cgroups) as address:
        yield NodeCgroups(address, TOKEN)


def test_reads(node: NodeCgroups) -> None:
    """What containers use, and what the node has, is as the node says."""
    with pytest.raises(OSError, match="does not answer"):
        node.machine()
    assert node.read({A, "gone"}) == {A: Usage(1.5, 100, 20)}
    assert node.machine() == MACHINE


def test_reclaims(node: NodeCgroups, cgroups: FakeCgroups) -> None:
    """A container's memory is pushed out there."""
    node.reclaim(A)
    assert cgroups.usage[A] == Usage(1.5, 0, 120)


def test_node_that_cannot(node: NodeCgroups, cgroups: FakeCgroups) -> None:
    """A node that cannot do it is told from one that failed."""
    cgroups.problem = "this kernel cannot"
    with pytest.raises(CgroupsUnusable, match="this kernel cannot"):
        node.reclaim(A)
    cgroups.problem, cgroups.fails = "", True
    with pytest.raises(OSError, match="500"):
        node.reclaim(A)


def test_node_that_is_away(node: NodeCgroups) -> None:
    """A node that does not answer has nothing to read, and is not taken for one with nothing in it."""
    node.read([A])
    node.address = "127.0.0.1:9"
    assert node.read([A]) == {}
    with pytest.raises(OSError, match="does not answer"):
        node.machine()
    with pytest.raises(OSError, match="refused"):
        node.reclaim(A)


def test_wrong_token(node: NodeCgroups) -> None:
    """With a wrong token nothing is read."""
    node._token = "other"
    assert node.read([A]) == {}
    with pytest.raises(OSError, match="401"):
        node.reclaim(A)


def test_something_else_answers(node: NodeCgroups, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that makes no sense counts as none."""
    monkeypatch.setattr(node, "_ask", lambda *_: {})
    assert node.read([A]) == {}
    with pytest.raises(OSError, match="no sense"):
        node.reclaim(A)
