"""What the root helper may be asked for, and all else that it refuses."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binderlet.deploy.helper.requests import (
    Hold,
    LayerSize,
    LimitBuilds,
    Reclaim,
    Refused,
    Release,
    System,
    Tend,
    parse,
)
from binderlet.engine.egress import Rules

ID = "a1" * 32
MARK = "job-1.binderlet.invalid"
TEND = {"verb": "tend", "mark": MARK, "share": 100, "processes": 64, "oom_score": 500, "disk": 0}
LINE = "deb http://deb.debian.org/debian bookworm main"
SYSTEM = {"verb": "system", "suite": "bookworm", "lines": [LINE], "environment": {"http_proxy": "http://p:3128"}}

EGRESS = {
    "verb": "egress",
    "name": "mine",
    "bridges": ["br-0a", "bl0f0f*"],
    "ports": ["80"],
    "allow": ["10.0.0.0/8 all"],
    "builds": ["docker0"],
}


def test_what_there_is() -> None:
    """Each verb with right fields is a request."""
    for body, request in (
        ({"verb": "reclaim", "container": ID}, Reclaim(ID)),
        ({"verb": "limit", "memory": 0, "processes": 512, "weight": 50}, LimitBuilds(0, 512, 50)),
        (TEND, Tend(MARK, 100, 64, 500, 0)),
        ({"verb": "layer-size", "driver": "overlay2", "chain": ID}, LayerSize("overlay2", ID)),
        (EGRESS, Hold(Rules("mine", ("br-0a", "bl0f0f*"), ("80",), (("10.0.0.0/8", "all"),), ("docker0",)))),
        ({"verb": "egress-end", "name": "mine"}, Release("mine")),
        (SYSTEM, System("bookworm", (LINE,), {"http_proxy": "http://p:3128"})),
    ):
        assert parse(json.dumps(body).encode()) == request


@pytest.mark.parametrize(
    "body",
    [
        *({}, [], "reclaim", {"verb": "run", "command": "id"}, {"verb": []}, {"verb": None}),
        *({"verb": "reclaim"}, {"verb": "reclaim", "container": ID[:-1]}, {"verb": "reclaim", "container": 7}),
        {"verb": "reclaim", "container": f"../{ID}"},
        {"verb": "reclaim", "container": f"{ID}\n"},
        {"verb": "reclaim", "container": ID.upper()},
        {"verb": "reclaim", "container": ID, "path": "/etc/shadow"},
        {"verb": "limit", "memory": -1, "processes": 512, "weight": 50},
        {"verb": "limit", "memory": 0, "processes": 1, "weight": 50},
        {"verb": "limit", "memory": 0, "processes": 512, "weight": True},
        {"verb": "limit", "memory": 0.5, "processes": 512, "weight": 50},
        TEND | {"mark": "evil.example.org"},
        TEND | {"oom_score": -1000},
        TEND | {"cpu": ["/etc"]},
        {"verb": "layer-size", "driver": "../..", "chain": ID},
        {"verb": "layer-size", "driver": "overlay2", "chain": "../../../../etc/passwd"},
        EGRESS | {"name": "x; flush ruleset"},
        EGRESS | {"bridges": ["*"]},
        EGRESS | {"bridges": ['br-0" accept; iifname "x']},
        EGRESS | {"ports": ["80 } accept"]},
        EGRESS | {"allow": ["0.0.0.0/0 all\n"]},
        {"verb": "egress-end", "name": ""},
        SYSTEM | {"suite": "../x"},
        SYSTEM | {"lines": ["deb [trusted=yes] http://evil/ bookworm main"]},
        SYSTEM | {"lines": ["deb file:///etc bookworm main"]},
        SYSTEM | {"lines": [f"{LINE}\ndeb [trusted=yes] http://evil bookworm main"]},
        SYSTEM | {"lines": ["--setup-hook=id"]},
        SYSTEM | {"lines": LINE},
        SYSTEM | {"lines": [LINE] * 13},
        SYSTEM | {"environment": {"LD_PRELOAD": "/x.so"}},
        SYSTEM | {"environment": {"http_proxy": "x y"}},
        SYSTEM | {"environment": []},
        SYSTEM | {"packages": ["evil"]},
    ],
)
def test_all_else_is_refused(body: object) -> None:
    """Other verbs, other types, paths, options, unsigned sources, fields that nobody takes."""
    with pytest.raises(Refused):
        parse(json.dumps(body).encode())


@given(st.binary(max_size=300))
def test_any_bytes(line: bytes) -> None:
    """Whatever comes is a refusal, never another error."""
    with pytest.raises(Refused):
        parse(line)
