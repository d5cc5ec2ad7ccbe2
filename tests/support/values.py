"""Ordinary values for tests that need one of each."""

from __future__ import annotations

from binderlet.launch.request import LaunchRequest
from binderlet.model import Commit, Image, RepoSpec, Session, SessionState

SHA = "1479e0252b2e648bb755ee913292b79495931717"
SPEC = RepoSpec("gh", "owner/repo/HEAD")
REQUEST = LaunchRequest(SPEC, "http://binder.test/")
COMMIT = Commit(
    provider="gh",
    sha=SHA,
    clone_url="https://github.test/owner/repo",
    repo_url="https://github.test/owner/repo",
    ref_url=f"https://github.test/owner/repo/tree/{SHA}",
    resolved_spec=f"owner/repo/{SHA}",
    slug="owner-repo",
    owner="github.test/owner",
)
IMAGE = Image(f"binderlet/i-owner-2drepo-5c9a05:{SHA}", "sha256:1", 1000)
SESSION = Session(
    id="owner-repo-abcdefgh1234",
    token="secret-token",
    image=IMAGE.name,
    launch_id="launch-1",
    provider="gh",
    spec=SPEC.spec,
    repo_url=COMMIT.repo_url,
    created_at=1000.0,
    state=SessionState.RUNNING,
    address="127.0.0.1:8888",
    engine_id="c0ffee",
)
