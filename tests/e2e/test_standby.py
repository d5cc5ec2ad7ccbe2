"""Sessions started ahead, with real containers: adopted, kept over a crash, never counted as visitors'."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import pytest

from support.service import Event
from support.site import Site, fetch, run_docker, site, until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.docker,
    pytest.mark.haproxy,
    pytest.mark.timeout(300),  # the first start on a machine makes the base image
]

READY = 3
LAUNCHES = 10
KEPT = "standby/demand.json"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service that starts sessions ahead for reservations alone, however busy the machine is."""
    settings: dict[str, Any] = {"standby__every": 0, "standby__cpu": 1.0, "standby__floor": 0.02}
    with site(tmp_path_factory.mktemp("standby"), **settings) as found:
        yield found


def reserve(here: Site, spec: str, count: int) -> str:
    """Reserve sessions from now on and wait until they are ready; gives the reservation's id."""
    now = time.time()
    provider, _, rest = spec.partition("/")
    query = {"provider": provider, "spec": rest, "count": count, "from": now, "to": now + 600}
    status, made = here.service.admin("POST", f"/reservations?{urlencode(query)}")
    assert status == 201
    until(lambda: reservation(here, made["id"])["ready"] == count, seconds=120)
    return str(made["id"])


def reservation(here: Site, wanted: str) -> dict[str, Any]:
    """Give a reservation as the public status has it."""
    found: list[dict[str, Any]] = here.service.admin("GET", "/reservations")[1]
    return next(one for one in found if one["id"] == wanted)


def written(here: Site, wanted: str) -> dict[str, Any]:
    """Give a reservation as the next control plane will find it: it is written every few seconds."""
    found: list[dict[str, Any]] = json.loads((here.service.state / KEPT).read_text())["reservations"]
    return next(one for one in found if one["id"] == wanted)


def environment(here: Site, event: Event) -> dict[str, str]:
    """Give the environment of a session's container."""
    found = here.container_of(event)
    lines = run_docker("inspect", "--format", "{{range .Config.Env}}{{println .}}{{end}}", found).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def test_three_adopt_and_the_others_start(here: Site) -> None:
    """Ten at once: three adopt, seven start; a crash in between loses neither standbys nor adopted sessions."""
    spec = here.spec("o/workshop", {"README.md": "Hello"})
    first = here.service.ready(spec)  # says which host visitors use
    wanted = reserve(here, spec, READY)
    assert len(here.service.sessions()) == 1, "standbys are nobody's sessions"
    here.reload()
    until(lambda: reservation(here, wanted)["ready"] == READY)

    waiting = set(here.containers())
    with ThreadPoolExecutor(LAUNCHES) as pool:
        events = list(pool.map(here.service.ready, [spec] * LAUNCHES))
    assert len({event["token"] for event in [first, *events]}) == LAUNCHES + 1
    assert all(b"started" in fetch(event, "api/status") for event in events)
    adopted = [event for event in events if here.container_of(event) in waiting]
    assert len(adopted) == READY
    for event in adopted:
        found = environment(here, event)
        assert found["BINDER_LAUNCH_HOST"] == event["binder_launch_host"]
        assert found["BINDER_REQUEST"] == event["binder_request"]
        assert found["BINDER_PERSISTENT_REQUEST"] == event["binder_persistent_request"]

    assert reservation(here, wanted)["launched"] == LAUNCHES
    until(lambda: written(here, wanted)["launched"] == LAUNCHES)
    here.reload()
    ids = {session["id"] for session in here.service.sessions()}
    assert {event["url"].rstrip("/").rpartition("/")[2] for event in adopted} <= ids
    assert all(b"started" in fetch(event, "api/status") for event in adopted)
    assert reservation(here, wanted)["launched"] == LAUNCHES


def test_a_dead_standby_is_never_handed_out(here: Site) -> None:
    """Killed while it waits, it is cleared away; the next launch starts its own."""
    spec = here.spec("o/dead", {"README.md": "Hello"})
    here.service.ready(spec)
    before = set(here.containers())
    reserve(here, spec, 1)
    (standby,) = set(here.containers()) - before
    run_docker("kill", standby)
    event = here.service.ready(spec)
    assert b"started" in fetch(event, "api/status")
    assert here.container_of(event) != standby
    until(lambda: standby not in here.containers())
