"""From an address to a link, by the running service."""

from __future__ import annotations

from pathlib import Path

import pytest

from binderlet.cli.address import parse_address
from binderlet.cli.admin import connect
from binderlet.cli.follow import Result, failure, link, obtain
from binderlet.cli.progress import Quiet
from binderlet.cli.stream import Event
from binderlet.config import Settings
from binderlet.errors import BadRepository, LaunchFailed
from support.admin_service import BUILT, READY, AdminService, running


async def result(tmp_path: Path, service: AdminService, text: str, *, build_only: bool = False) -> Result:
    """What comes of asking this service."""
    settings = Settings.model_validate({"paths": {"state": tmp_path}})
    with running(tmp_path, service):
        async with connect(settings) as client:
            return await obtain(client, parse_address(text), Quiet(), build_only=build_only)


async def test_launch(tmp_path: Path) -> None:
    """A launch gives the link with its token; the spec is sent exactly as it is encoded."""
    service = AdminService()
    found = await result(tmp_path, service, "https://git.example.org/o/r")
    assert found == Result("http://127.0.0.1:8585/user/r-abc/?token=t0k", READY)
    assert service.asked == ["GET /build/git/https%3A%2F%2Fgit.example.org%2Fo%2Fr/HEAD"]


async def test_file_to_open(tmp_path: Path) -> None:
    """An address with a file gives the link that opens it."""
    found = await result(tmp_path, AdminService(), "https://github.com/o/r/blob/main/a b.ipynb")
    assert found.link == "http://127.0.0.1:8585/user/r-abc/lab/tree/a%20b.ipynb?token=t0k"


async def test_build(tmp_path: Path) -> None:
    """A build asks for no session and gives no link."""
    service = AdminService(events=[BUILT])
    assert await result(tmp_path, service, "gh/o/r", build_only=True) == Result("", BUILT)
    assert service.asked == ["GET /build/gh/o/r/HEAD?build_only=true"]


async def test_broken_stream(tmp_path: Path) -> None:
    """A connection that breaks in the middle changes nothing of the result."""
    service = AdminService(events=[{"message": "1"}, {"message": "2"}, READY], breaks_after=2)
    assert (await result(tmp_path, service, "gh/o/r")).body == READY
    assert service.resumed_from == ["", "2"]


async def test_failure(tmp_path: Path) -> None:
    """A failure is raised as the error it was, with its hint apart."""
    told = {"phase": "failed", "message": "apt.txt is wrong.\nMend it.\n", "code": "bad_repository", "hint": "Mend it."}
    with pytest.raises(BadRepository) as caught:
        await result(tmp_path, AdminService(events=[told]), "gh/o/r")
    assert (caught.value.message, caught.value.hint) == ("apt.txt is wrong.", "Mend it.")


def test_failure_of_another_service() -> None:
    """A failure without code, hint or words is still an error with words."""
    error = failure(Event("", {"phase": "failed"}))
    assert isinstance(error, LaunchFailed)
    assert error.message == "It failed."


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", "http://h/u/?token=a%2Bb"),
        ("/", "http://h/u/?token=a%2Bb"),
        ("a/é.ipynb", "http://h/u/lab/tree/a/%C3%A9.ipynb?token=a%2Bb"),
    ],
)
def test_link(path: str, expected: str) -> None:
    """Links are encoded."""
    assert link({"url": "http://h/u/", "token": "a+b"}, path) == expected
