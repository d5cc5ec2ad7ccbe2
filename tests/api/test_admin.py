"""The operator's service."""

from __future__ import annotations

from starlette.applications import Starlette

from binderlet import __version__
from binderlet.api.ports import BuildView, SessionView
from binderlet.model import Traffic
from support.asgi import ask
from support.services import NOW, Stage
from support.values import SESSION

VIEW = SessionView(SESSION, 12.34, Traffic(1, 20, 300, 4000), "http://binder.test/user/x/")


async def test_status_has_the_version(admin: Starlette) -> None:
    """The command line sees the numbers of the status page and what runs."""
    body = (await ask(admin, "/status")).json()
    assert (body["sessions"], body["version"]) == (3, __version__)


async def test_sessions_are_listed_without_their_tokens(admin: Starlette, stage: Stage) -> None:
    """Everything about a session but its secret; traffic may not be known yet."""
    stage.operations.views = [VIEW, SessionView(SESSION, 0, None, "")]
    answer = await ask(admin, "/sessions")
    assert answer.json()[0] == {
        "id": SESSION.id,
        "state": "running",
        "provider": "gh",
        "spec": "owner/repo/HEAD",
        "repo_url": "https://github.test/owner/repo",
        "image": SESSION.image,
        "created_at": 1000.0,
        "age_seconds": NOW - 1000,
        "idle_seconds": 12.3,
        "url": "http://binder.test/user/x/",
        "traffic": {"websockets": 1, "requests": 20, "bytes_in": 300, "bytes_out": 4000},
    }
    assert answer.json()[1]["traffic"] is None
    assert SESSION.token not in answer.text


async def test_a_session_is_stopped(admin: Starlette, stage: Stage) -> None:
    """204 once it has ended; 404 for one that does not run."""
    stage.operations.views = [VIEW]
    assert (await ask(admin, f"/sessions/{SESSION.id}", method="DELETE")).status == 204
    assert stage.operations.stopped == [SESSION.id]
    gone = await ask(admin, f"/sessions/{SESSION.id}", method="DELETE")
    assert (gone.status, gone.json()["code"]) == (404, "session_not_found")


async def test_builds_are_listed(admin: Starlette, stage: Stage) -> None:
    """Each with the URL of its log."""
    stage.builds = [BuildView("b1", "i:1", "https://github.test/o/r", "waiting", 0)]
    assert (await ask(admin, "/builds")).json() == [
        {
            "id": "b1",
            "image": "i:1",
            "repo_url": "https://github.test/o/r",
            "state": "waiting",
            "started_at": 0,
            "log": "/api/builds/b1/log",
        }
    ]


async def test_shutdown_is_asked_for(admin: Starlette, stage: Stage) -> None:
    """Only POST stops the service."""
    assert (await ask(admin, "/shutdown")).status == 405
    assert not stage.operations.shut_down
    assert (await ask(admin, "/shutdown", method="POST")).status == 202
    assert stage.operations.shut_down


async def test_a_session_is_extended(admin: Starlette) -> None:
    """Until when is said; what is no time and who does not run are errors."""
    path = f"/sessions/{SESSION.id}/extend"
    assert (await ask(admin, f"{path}?seconds=60", method="POST")).json() == {"until": 1060.0}
    for odd in ("", "?seconds=", "?seconds=-1", "?seconds=nan", "?seconds=inf", "?seconds=x"):
        assert (await ask(admin, path + odd, method="POST")).status == 400
    assert (await ask(admin, "/sessions/other/extend?seconds=60", method="POST")).status == 404
