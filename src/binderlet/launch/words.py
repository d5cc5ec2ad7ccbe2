"""What a launch says of queues and failures, and what a session's labels say of its launch (pure)."""

from __future__ import annotations

from binderlet.errors import BinderletError, Full, RepositoryFull
from binderlet.events.kinds import LaunchEvent
from binderlet.model import Commit, Phase, Session


def queue_event(position: int, taken: int, limit: int) -> LaunchEvent:
    """Say where in the queue a launch is."""
    text = f"All {limit} places are taken ({taken} sessions). You are number {position} in the queue...\n"
    return LaunchEvent(Phase.WAITING, text, {"queue_position": position})


def failed_event(error: BinderletError) -> LaunchEvent:
    """Say once and for all why a launch failed, and what to do next."""
    fields = {"status_code": error.status, "code": error.code, "hint": error.hint}
    return LaunchEvent(Phase.FAILED, f"{error.message}\n{error.hint}\n", fields)


def status_of(error: BinderletError) -> str:
    """Give the status that BinderHub's metrics count an error under; a refusal is not a failure."""
    if isinstance(error, RepositoryFull):
        return "repo_quota"
    if isinstance(error, Full):
        return "pod_quota"
    return "failure"


def commit_of(session: Session) -> Commit:
    """Give what a session's labels know of its commit."""
    return Commit(
        provider=session.provider,
        sha=session.image.rpartition(":")[2],
        clone_url=session.repo_url,
        repo_url=session.repo_url,
        ref_url=session.repo_url,
        resolved_spec=session.spec,
        slug="",
        owner="",
    )
