"""``/health`` and ``/api/status``."""

from __future__ import annotations

from dataclasses import replace

from starlette.applications import Starlette

from binderlet.api.health import health_body
from binderlet.model import Check
from support.asgi import ask
from support.services import Stage


async def test_a_healthy_service(app: Starlette) -> None:
    """The body has BinderHub's shape, with the quota by which federations spread launches."""
    answer = await ask(app, "/health")
    assert answer.status == 200
    assert answer.json() == {
        "ok": True,
        "checks": [
            {"service": "Container engine", "ok": True},
            {"service": "HAProxy", "ok": True, "message": "2 routes"},
            {
                "service": "Pod quota",
                "total_pods": 4,
                "build_pods": 1,
                "user_pods": 3,
                "quota": 40,
                "hibernated_pods": 2,
                "free": 37,
                "ok": True,
                "_ignore_failure": True,
            },
        ],
    }


async def test_a_failed_check_is_503(app: Starlette, stage: Stage) -> None:
    """One check that counts makes the service unhealthy."""
    stage.status = replace(stage.status, checks=(Check("HAProxy", ok=False, message="It does not answer."),))
    answer = await ask(app, "/health")
    assert (answer.status, answer.json()["ok"]) == (503, False)
    assert (await ask(app, "/health", method="HEAD")).status == 503


async def test_a_check_that_does_not_count(app: Starlette, stage: Stage) -> None:
    """A failed check may be shown without making the service unhealthy."""
    stage.status = replace(stage.status, checks=(Check("Disk", ok=False, ignore_failure=True),))
    answer = await ask(app, "/health")
    assert answer.status == 200
    assert answer.json()["checks"][0] == {"service": "Disk", "ok": False, "_ignore_failure": True}


async def test_a_stopping_service_is_unhealthy(app: Starlette, stage: Stage) -> None:
    """While it stops, launches are sent elsewhere."""
    stage.status = replace(stage.status, draining=True)
    answer = await ask(app, "/health")
    assert answer.status == 503
    assert {"service": "binderlet", "ok": False, "message": "The service is stopping."} in answer.json()["checks"]


def test_the_quota(stage: Stage) -> None:
    """More than the quota is not ok; no limit is ``null`` and always ok."""
    assert health_body(replace(stage.status, session_limit=3))["checks"][-1]["ok"] is False
    unlimited = health_body(replace(stage.status, session_limit=0))["checks"][-1]
    assert (unlimited["quota"], unlimited["ok"], unlimited["free"]) == (None, True, 0)


async def test_the_status_is_counts(app: Starlette) -> None:
    """The status page gets numbers and checks, and nothing about who runs what."""
    answer = await ask(app, "/api/status")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "ok": True,
        "draining": False,
        "sessions": 3,
        "session_limit": 40,
        "standbys": 0,
        "reservations": [],
        "storage": None,
        "hibernated": 2,
        "hibernation_off": "there is no swap",
        "free": 37,
        "memory": 24,
        "memory_available": 12,
        "swap": 8,
        "swap_free": 4,
        "launches_waiting": 1,
        "builds_running": 1,
        "builds_waiting": 2,
        "uptime_seconds": 3600,
        "checks": [
            {"service": "Container engine", "ok": True},
            {"service": "HAProxy", "ok": True, "message": "2 routes"},
        ],
    }
