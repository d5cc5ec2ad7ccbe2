"""What one probe of a member says, read from its ``/health`` and ``/versions``: pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

POD_QUOTA = "Pod quota"
FEDERATION = "federation"
GOOD, BUSY = 200, 503


@dataclass(frozen=True, slots=True)
class Answer:
    """What a member answered."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Room:
    """How many places a member has."""

    quota: int
    total: int

    @property
    def free(self) -> int:
        """Places that nobody has."""
        return max(0, self.quota - self.total)


@dataclass(frozen=True, slots=True)
class Report:
    """One probe."""

    trouble: str = ""
    """Why the member may not get launches; empty where all is well."""
    reached: bool = True
    """Whether it answered at all, so that what follows was read."""
    room: Room | None = None
    """None where it has no limit, or does not say."""
    draining: bool = False
    """Whether its operator asks for no new launches."""
    share: float = 1.0
    """The part of its weight that its operator wants now."""
    versions: Mapping[str, Any] | None = None
    """None where they were not answered."""
    checks: Mapping[str, bool] = field(default_factory=dict)
    """Each part that it names, and whether it is well."""


def unreachable(why: str) -> Report:
    """Give the report of a member that did not answer."""
    return Report(trouble=why, reached=False)


def read(health: Answer, versions: Answer | None) -> Report:
    """Read both answers; whatever is wrong with them is the report's trouble.

    Versions are read whatever the health is, so that a prime that is full still says which version is right.
    """
    body = _object(health)
    if health.status not in {GOOD, BUSY} or body is None or not isinstance(body.get("checks"), list):
        return Report(trouble=f"/health answered {health.status} without a list of checks", versions=_seen(versions))
    checks = [check for check in body["checks"] if isinstance(check, dict)]
    told = body.get(FEDERATION)
    told = told if isinstance(told, dict) else {}
    draining = told.get("draining") is True
    seen = _seen(versions)
    return Report(
        trouble="" if draining else _trouble(health.status, checks, seen),
        room=_room(checks),
        draining=draining,
        share=_share(told.get("share", 1.0)),
        versions=seen,
        checks={str(check.get("service", "")): check.get("ok") is True for check in checks},
    )


def _trouble(status: int, checks: list[dict[str, Any]], versions: Mapping[str, Any] | None) -> str:
    ill = [str(check.get("service", "?")) for check in checks if not check.get("ok") and not _is_soft(check)]
    if ill:
        return f"not well: {', '.join(ill)}"
    if status != GOOD:
        return f"/health answered {status}"
    return "/versions did not answer" if versions is None else ""


def _is_soft(check: Mapping[str, Any]) -> bool:
    return check.get("service") == POD_QUOTA or check.get("_ignore_failure") is True


def _room(checks: list[dict[str, Any]]) -> Room | None:
    quota = next((check for check in checks if check.get("service") == POD_QUOTA), {})
    if not _is_count(quota.get("quota")) or not _is_count(quota.get("total_pods")):
        return None
    return Room(int(quota["quota"]), int(quota["total_pods"]))


def _is_count(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _share(value: object) -> float:
    return min(1.0, max(0.0, float(value))) if _is_count(value) else 1.0  # type: ignore[arg-type] # it is a number


def _seen(versions: Answer | None) -> Mapping[str, Any] | None:
    return _object(versions) if versions is not None and versions.status == GOOD else None


def _object(answer: Answer) -> dict[str, Any] | None:
    try:
        found = json.loads(answer.body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
