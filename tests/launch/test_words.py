"""What a launch says of queues and failures."""

from __future__ import annotations

import pytest

from binderlet.errors import BinderletError, EngineUnavailable, Full, RefNotFound, RepositoryFull
from binderlet.launch.words import commit_of, failed_event, queue_event, status_of
from binderlet.model import Phase
from support.values import SESSION


def test_queue() -> None:
    """A launch that waits says where it is, for people and for programs."""
    event = queue_event(2, 10, 10)
    assert event.phase is Phase.WAITING
    assert "number 2 in the queue" in event.message
    assert event.fields == {"queue_position": 2}


def test_failure() -> None:
    """A failure says what happened and what to do, with its status and code."""
    event = failed_event(RefNotFound("There is no branch nope."))
    assert event.message.startswith("There is no branch nope.\n")
    assert (event.fields["status_code"], event.fields["code"]) == (404, "ref_not_found")


@pytest.mark.parametrize(
    ("error", "status"),
    [(Full("full"), "pod_quota"), (RepositoryFull("full"), "repo_quota"), (EngineUnavailable("down"), "failure")],
)
def test_refusals_are_counted_apart(error: BinderletError, status: str) -> None:
    """A refusal is not a failure in the metrics."""
    assert status_of(error) == status


def test_commit_of_a_session() -> None:
    """A session's labels tell its commit and repository."""
    commit = commit_of(SESSION)
    assert (commit.sha, commit.repo_url) == (SESSION.image.rpartition(":")[2], SESSION.repo_url)
