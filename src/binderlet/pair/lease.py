"""Who leads: what one candidate knows of the Lease, and what it should do next. Pure.

Times are of one clock of one machine, so that clocks need not agree: a candidate counts from when it saw the Lease
change, the one that leads from when it sent its last renewal. As that is earlier, and its time is shorter, it has
stopped before anybody else starts. Who makes a Lease where there is none has it, but leads only after its time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from binderlet.errors import EngineUnavailable

Json = Mapping[str, Any]

ADDRESS = "binderlet.address"
"""Annotation of the Lease: ``host:port`` of the leader's HAProxy for the others."""
WAITS = "binderlet.waits"
"""Annotation of a Lease that was made anew: another may have been deleted under a leader that has not noticed yet."""
GIVE_UP_SHARE = 2 / 3
"""Of the Lease's time: after it the one that leads stops."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The Lease as the cluster has it."""

    holder: str
    """Who leads; empty where it was given back."""
    address: str
    seconds: float
    """After which it may be taken from a silent holder."""
    version: str
    transitions: int
    waits: bool
    """Whether its holder does not lead yet."""
    item: Json
    """All of it, as it must be sent back."""


def lease_of(item: Json) -> Lease:
    """Read it."""
    spec: Json = item.get("spec") or {}
    annotations: Json = item["metadata"].get("annotations") or {}
    return Lease(
        holder=spec.get("holderIdentity") or "",
        address=annotations.get(ADDRESS, ""),
        seconds=float(spec.get("leaseDurationSeconds") or 0),
        version=str(item["metadata"].get("resourceVersion", "")),
        transitions=int(spec.get("leaseTransitions") or 0),
        waits=WAITS in annotations,
        item=item,
    )


class Candidate:
    """What one control plane knows of the Lease, and whether it leads."""

    def __init__(self, name: str, address: str, lease_for: float) -> None:
        self.name = name
        self.address = address
        self.lease_for = lease_for
        self.lease: Lease | None = None
        self.before: str | None = None
        """Who led before this one did; itself, where it began anew within its own time."""
        self.until = -math.inf
        """Until when this one has the Lease, as far as it knows."""
        self.is_leaving = False
        self._not_before = -math.inf
        self._seen: str | None = None
        self._seen_at = 0.0

    def saw(self, lease: Lease | None, now: float) -> None:
        """Take in the Lease as it was read; None where there is none."""
        version = lease.version if lease is not None else ""
        if version != self._seen:
            self._seen, self._seen_at = version, now
        self.lease = lease
        if lease is None or lease.holder != self.name:
            self.until = -math.inf
            self.before = lease.holder if lease is not None else ""
            return
        self.before = self.name if self.before is None else self.before
        if lease.waits and self._not_before == -math.inf:
            # Made by an earlier process of this name, or by a write whose answer was lost.
            self._not_before = now + self.lease_for

    def wrote(self, lease: Lease, sent_at: float) -> None:
        """Take in that this one's write succeeded, which was sent then."""
        if self.lease is None:
            self._not_before = sent_at + self.lease_for
        self.lease, self._seen, self._seen_at = lease, lease.version, sent_at
        self.until = sent_at + self.lease_for * GIVE_UP_SHARE

    def leave(self) -> None:
        """Lead no more, and never again."""
        self.is_leaving, self.until = True, -math.inf

    def leads(self, now: float) -> bool:
        """Whether this one leads."""
        return self._not_before <= now < self.until and not self.is_leaving

    def waits(self, now: float) -> bool:
        """Whether what it writes now is the Lease of one that does not lead yet."""
        return self.lease is None or (self.lease.holder == self.name and now < self._not_before)

    def may_write(self, now: float) -> bool:
        """Whether it may make the Lease its own, or keep it: nobody has it, or who has it was silent for too long."""
        lease = self.lease
        if self.is_leaving:
            return False
        if lease is None or lease.holder in {"", self.name}:
            return True
        return now - self._seen_at >= max(lease.seconds, self.lease_for)

    def check(self, now: float) -> None:
        """Let through only who leads.

        Raises:
            EngineUnavailable: this one does not.
        """
        if not self.leads(now):
            raise EngineUnavailable("This control plane does not lead, so it changes nothing in the cluster.")

    @property
    def leader(self) -> str:
        """Address of who leads, as far as is known; empty where that is nobody, or this one."""
        lease = self.lease
        return lease.address if lease is not None and lease.holder not in {"", self.name} else ""


def body(name: str, candidate: Candidate, now: float, stamp: str) -> dict[str, Any]:
    """Give the Lease as this candidate writes it; ``stamp`` is the time of day, for people who look at it."""
    old = candidate.lease
    item: Json = old.item if old is not None else {}
    metadata: Json = item.get("metadata") or {"name": name}
    is_new = old is None or old.holder != candidate.name
    spec = {
        **(item.get("spec") or {}),
        "holderIdentity": candidate.name,
        "leaseDurationSeconds": max(1, math.ceil(candidate.lease_for)),
        "renewTime": stamp,
        **({"acquireTime": stamp, "leaseTransitions": (old.transitions if old else -1) + 1} if is_new else {}),
    }
    annotations = {**(metadata.get("annotations") or {}), ADDRESS: candidate.address}
    annotations.pop(WAITS, None)
    if candidate.waits(now):
        annotations[WAITS] = "yes"
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {**metadata, "annotations": annotations},
        "spec": spec,
    }


def given_back(candidate: Candidate) -> dict[str, Any]:
    """Give the Lease with nobody on it, so that another may take it at once."""
    item: Json = candidate.lease.item if candidate.lease is not None else {}
    return {**item, "spec": {**(item.get("spec") or {}), "holderIdentity": "", "leaseDurationSeconds": 1}}
