"""Which builder pod builds what."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binderlet.builder.cluster.choice import BuilderPod, choose, pod_from_api, ranked, selector

PODS = [BuilderPod(f"b-{number}", "", is_ready=True) for number in range(5)]


def test_selector() -> None:
    """Only the service's own builders are found."""
    assert selector("x") == (
        "app.kubernetes.io/name=binderlet,app.kubernetes.io/component=builder,binderlet.instance=x"
    )


READY = [{"type": "Ready", "status": "True"}]


@pytest.mark.parametrize(
    ("metadata", "status", "expected"),
    [
        ({"uid": "u"}, {"conditions": READY}, BuilderPod("b", "u", is_ready=True)),
        ({}, {}, BuilderPod("b", "", is_ready=False)),
        ({}, {"conditions": [{"type": "Ready", "status": "False"}]}, BuilderPod("b", "", is_ready=False)),
        ({"deletionTimestamp": "now"}, {"conditions": READY}, BuilderPod("b", "", is_ready=False)),
        (
            {},
            {"containerStatuses": [{"name": "builder", "restartCount": 2}, {"name": "x", "restartCount": 5}]},
            BuilderPod("b", "", is_ready=False, restarts=2),
        ),
    ],
)
def test_pod_from_api(metadata: dict[str, Any], status: dict[str, Any], expected: BuilderPod) -> None:
    """A pod that is being deleted takes no build; its container's restarts are counted."""
    assert pod_from_api({"metadata": {"name": "b", **metadata}, "status": status}) == expected


def test_choose() -> None:
    """The first free one in the repository's order; one that was begun on before, before that."""
    first, second, *_ = ranked(PODS, "r")
    assert choose(PODS, "r") == first
    assert choose(PODS, "r", busy=[first.name]) == second
    assert choose(PODS, "r", avoid=[first.name]) == second
    assert choose(PODS, "r", prefer=second.name) == second
    assert choose(PODS, "r", prefer=second.name, busy=[second.name]) == first
    assert choose(PODS, "r", prefer="gone") == first
    assert choose(PODS, "r", busy=[pod.name for pod in PODS]) is None
    assert choose([BuilderPod("b", "", is_ready=False)], "r") is None


@given(st.text(), st.integers(0, 4))
def test_a_pod_that_goes_moves_only_its_own(repository: str, gone: int) -> None:
    """Every repository whose pod stays keeps it."""
    before = choose(PODS, repository)
    after = choose([pod for pod in PODS if pod != PODS[gone]], repository)
    assert after == before or before == PODS[gone]


def test_all_take_part() -> None:
    """Many repositories are spread over all pods."""
    counts = [sum(choose(PODS, str(number)) == pod for number in range(500)) for pod in PODS]
    assert min(counts) > 50
