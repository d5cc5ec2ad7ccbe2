"""``/health`` and ``/api/status``: how the service is, from memory, in BinderHub's shape and in ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from binderlet.api.images import storage_body
from binderlet.api.ports import Services
from binderlet.api.reservations import reservations_body
from binderlet.model import Check, ServiceStatus

OK, NOT_OK = 200, 503


def health_body(status: ServiceStatus, federation: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Give the body of ``/health``: the checks, and ``Pod quota``, by which federations spread their launches.

    ``federation``: what the operator asks redirectors for, as ``draining`` and ``share``.
    """
    told = dict(federation or {})
    checks = [check_body(check) for check in (*status.checks, *draining(status), *drained(told))]
    total = status.sessions + status.builds_running
    quota = status.session_limit or None
    pods = {
        "service": "Pod quota",
        "total_pods": total,
        "build_pods": status.builds_running,
        "user_pods": status.sessions,
        "quota": quota,
        "hibernated_pods": status.hibernated,
        "free": free_places(status),
        "ok": quota is None or total <= quota,
        "_ignore_failure": True,
    }
    body = {"ok": is_healthy(status) and not drained(told), "checks": [*checks, pods]}
    return body | ({"federation": told} if told else {})


def is_healthy(status: ServiceStatus) -> bool:
    """Tell whether every check that counts is well, and new launches are taken."""
    return not status.draining and all(check.ok or check.ignore_failure for check in status.checks)


def free_places(status: ServiceStatus) -> int:
    """Give the places that are left."""
    return max(0, status.session_limit - status.sessions)


def draining(status: ServiceStatus) -> tuple[Check, ...]:
    """Give the check that fails while the service stops, so that a federation sends launches elsewhere."""
    return (Check("binderlet", ok=False, message="The service is stopping."),) if status.draining else ()


def drained(federation: Mapping[str, Any]) -> tuple[Check, ...]:
    """Give the check that fails while the operator sends launches elsewhere: every redirector understands it."""
    if not federation.get("draining"):
        return ()
    return (Check("Federation", ok=False, message="The operator asks for no new launches."),)


def check_body(check: Check) -> dict[str, Any]:
    """Give one check as JSON."""
    body: dict[str, Any] = {"service": check.service, "ok": check.ok}
    if check.message:
        body["message"] = check.message
    if check.ignore_failure:
        body["_ignore_failure"] = True
    return body


def status_body(status: ServiceStatus, now: float) -> dict[str, Any]:
    """Give the body of ``/api/status``: counts only, as who runs what is nobody's business."""
    return {
        "ok": is_healthy(status),
        "draining": status.draining,
        "sessions": status.sessions,
        "session_limit": status.session_limit or None,
        "standbys": status.standbys,
        "hibernated": status.hibernated,
        "hibernation_off": status.hibernation_off,
        "free": free_places(status),
        "memory": status.memory,
        "memory_available": status.memory_available,
        "swap": status.swap,
        "swap_free": status.swap_free,
        "launches_waiting": status.launches_waiting,
        "builds_running": status.builds_running,
        "builds_waiting": status.builds_waiting,
        "uptime_seconds": round(now - status.started_at),
        "checks": [check_body(check) for check in (*status.checks, *draining(status))],
    }


class Health:
    """The endpoints."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def health(self, _request: Request) -> JSONResponse:
        """Answer 200 or 503."""
        services = self._services
        body = health_body(services.status(), services.membership.wishes() if services.membership else None)
        return JSONResponse(body, OK if body["ok"] else NOT_OK)

    async def status(self, _request: Request) -> JSONResponse:
        """Answer with the snapshot that the status page draws."""
        services = self._services
        body = {**status_body(services.status(), services.clock()), "reservations": reservations_body(services)}
        body["storage"] = storage_body(services)
        return JSONResponse(body, headers={"cache-control": "no-store"})
