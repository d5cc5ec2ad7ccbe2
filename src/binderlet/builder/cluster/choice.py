"""Which builder pod builds a repository (pure): the same one each time, while it is there and free.

Rendezvous hashing: each pod has a rank for each repository, and the highest that can take it does. A pod that comes or
goes moves only the repositories that it had the highest rank for; all others keep their warm cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LABELS = "app.kubernetes.io/name=binderlet,app.kubernetes.io/component=builder"
CONTAINER = "builder"
"""The container of a pod that builds run in."""


@dataclass(frozen=True, slots=True)
class BuilderPod:
    """One builder pod."""

    name: str
    uid: str
    """Differs between pods that had the same name one after the other."""
    is_ready: bool
    restarts: int = 0
    """How often its container was started again: what ran in it then is gone."""


def selector(instance: str) -> str:
    """Give the label selector of a service's builder pods."""
    return f"{LABELS},binderlet.instance={instance}"


def pod_from_api(item: Mapping[str, Any]) -> BuilderPod:
    """Read one pod of the API's list; one that is being deleted is not ready."""
    metadata, status = item["metadata"], item.get("status") or {}
    ready = any(
        condition.get("type") == "Ready" and condition.get("status") == "True"
        for condition in status.get("conditions") or ()
    )
    containers = status.get("containerStatuses") or ()
    restarts = sum(int(each.get("restartCount", 0)) for each in containers if each.get("name") == CONTAINER)
    return BuilderPod(
        str(metadata["name"]), str(metadata.get("uid", "")), ready and not metadata.get("deletionTimestamp"), restarts
    )


def ranked(pods: Sequence[BuilderPod], repository: str) -> list[BuilderPod]:
    """Give the pods in the order in which a repository's builds go to them."""

    def rank(pod: BuilderPod) -> bytes:
        return hashlib.sha256(f"{repository} {pod.name}".encode()).digest()

    return sorted(pods, key=rank, reverse=True)


def choose(
    pods: Sequence[BuilderPod],
    repository: str,
    *,
    busy: Collection[str] = (),
    avoid: Collection[str] = (),
    prefer: str = "",
) -> BuilderPod | None:
    """Give the pod for a build; None where none can take it now.

    ``busy`` and ``avoid`` have names: of pods that build something, and of those that went away under this very build.
    ``prefer`` is the name of the one that an earlier control plane began it on.
    """
    able = [pod for pod in pods if pod.is_ready and pod.name not in busy and pod.name not in avoid]
    order = ranked(able, repository)
    return next((pod for pod in order if pod.name == prefer), order[0] if order else None)
