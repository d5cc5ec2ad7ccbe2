"""What a probe says."""

from __future__ import annotations

import json

import pytest

from binderlet.federation.report import Answer, Report, Room, read, unreachable
from support.federation import VERSIONS, health_answer, versions_answer


def test_well() -> None:
    """A member that is well says how many places it has, its versions and its parts."""
    found = read(health_answer(quota=100, total=30), versions_answer())
    assert (found.trouble, found.room, found.versions) == ("", Room(100, 30), VERSIONS)
    assert found.checks == {"JupyterHub API": True, "Pod quota": True}
    assert found.room is not None
    assert found.room.free == 70


@pytest.mark.parametrize("quota", [None, True, "many", float("nan")])
def test_no_limit(quota: object) -> None:
    """A member without a limit has no count of places."""
    body = {"checks": [{"service": "Pod quota", "total_pods": 3, "quota": quota, "ok": True}]}
    assert read(Answer(200, json.dumps(body).encode()), versions_answer()).room is None


def test_soft_checks() -> None:
    """A check that may be ignored, and a quota that is full, are no trouble of their own."""
    checks = [{"service": "Grafana", "ok": False, "_ignore_failure": True}]
    assert read(health_answer(checks=checks), versions_answer()).trouble == ""
    full = {"checks": [{"service": "Pod quota", "total_pods": 9, "quota": 9, "ok": False}]}
    assert read(Answer(200, json.dumps(full).encode()), versions_answer()).trouble == ""


@pytest.mark.parametrize(
    ("health", "said"),
    [
        (health_answer(checks=[{"service": "Docker registry", "ok": False}], status=503), "not well: Docker registry"),
        (health_answer(status=503), "/health answered 503"),
        (Answer(502, b"<html>"), "/health answered 502 without a list of checks"),
        (Answer(200, b"[]"), "/health answered 200 without a list of checks"),
        (Answer(200, b'{"checks": 3}'), "/health answered 200 without a list of checks"),
    ],
)
def test_trouble(health: Answer, said: str) -> None:
    """What is wrong is said; versions are read all the same, so that an ill prime is still the measure."""
    found = read(health, versions_answer())
    assert found.trouble == said
    assert found.versions == VERSIONS


@pytest.mark.parametrize("versions", [None, Answer(500, b"{}"), Answer(200, b"?"), Answer(200, b"[]")])
def test_no_versions(versions: Answer | None) -> None:
    """A member that does not say its versions gets nothing."""
    found = read(health_answer(), versions)
    assert (found.trouble, found.versions) == ("/versions did not answer", None)


def test_what_its_operator_asks_for() -> None:
    """A member may ask for no launches, or for fewer; asking is no trouble, and nonsense asks for nothing."""
    drained = read(health_answer(status=503, federation={"draining": True}), versions_answer())
    assert (drained.draining, drained.trouble) == (True, "")
    assert read(health_answer(federation={"share": 0.25}), versions_answer()).share == 0.25
    assert read(health_answer(federation={"share": 7}), versions_answer()).share == 1
    assert read(health_answer(federation={"share": "x"}), versions_answer()).share == 1
    assert read(health_answer(federation=[]), versions_answer()).share == 1


def test_unreachable() -> None:
    """A member that does not answer says nothing."""
    assert unreachable("refused") == Report(trouble="refused", reached=False)
