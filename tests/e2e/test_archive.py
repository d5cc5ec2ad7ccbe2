"""The launch archive of a whole service that is killed: every launch that a visitor saw is in it, once."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest

from binderlet.app.statistics import PUBLIC
from binderlet.cli.main import run as run_command
from support.gitserver import GitServer, Repository
from support.service import LiveService, git_spec

pytestmark = [pytest.mark.e2e, pytest.mark.haproxy, pytest.mark.timeout(300)]
KILLS = 3


def test_killed_at_the_moment_a_visitor_hears_of_the_session(tmp_path: Path) -> None:
    """``kill -9`` right after the ready event loses no launch and doubles none, again and again."""
    (tmp_path / "git").mkdir()
    Repository(tmp_path / "git" / "repo").commit({"README.md": "Hello"})
    service = LiveService(tmp_path / "s", name=f"e2e-{uuid4().hex[:8]}")
    service.set(engine__kind="fake", builder__min_free_disk=0, archive__origin="here.test", archive__every=3600)
    seen = 0
    with GitServer(tmp_path / "git") as git, service:
        spec = git_spec(git.url("repo"))
        for _ in range(KILLS):
            service.ready(spec)
            for event in service.stream(spec):
                if event.get("phase") == "ready":
                    service.kill()
                    break
            seen += 2
            service.start()
    with pytest.raises(SystemExit) as ended:
        run_command(["stats", "publish", "--set", f"paths.state={service.state}"])
    assert ended.value.code == 0
    lines = [
        line for path in (service.state / PUBLIC).glob("events-*.jsonl") for line in path.read_bytes().splitlines()
    ]
    assert len(lines) == seen
    assert {json.loads(line)["origin"] for line in lines} == {"here.test"}
