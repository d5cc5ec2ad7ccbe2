"""Several real binderlets behind real redirectors, cut and slowed, and a browser that follows a badge to a session."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import expect

from support.browser import chromium
from support.federation_live import LiveFederation, Redirector, federation, launch, wait_until
from support.service import COMMAND, Forge, Serve, free_port, git_spec
from support.visit import Visit

pytestmark = [pytest.mark.e2e, pytest.mark.haproxy, pytest.mark.timeout(180)]

SLOW = 60_000
"""Milliseconds that the browser may wait on a busy machine."""
PATIENCE = 60.0


@pytest.fixture(scope="module")
def live() -> Iterator[LiveFederation]:
    """Three members."""
    with federation() as found:
        yield found


@pytest.fixture(scope="module")
def redirector(live: LiveFederation) -> Redirector:
    """A redirector of them, at the federation's own address."""
    return live.redirector(live.port)


@pytest.fixture(autouse=True)
def mended(live: LiveFederation, redirector: Redirector) -> Iterator[None]:
    """Every test begins with a federation that is whole."""
    yield
    for member in live.members:
        member.way.mend()
    wait_until(lambda: all(row["state"] == "up" for row in redirector.members().values()), PATIENCE, "all are up again")


def test_launches_reach_sessions_of_every_member(live: LiveFederation, redirector: Redirector) -> None:
    """A config.json like mybinder.org's runs as it is; sessions are at their members' own addresses."""
    homes = set()
    for number in range(12):
        path = f"/build/gh/o/r{number}/HEAD"
        homes.add(redirector.where(path))
    assert homes == {member.way.url for member in live.members}
    event = launch(redirector, live.spec)
    assert event["phase"] == "ready", event
    assert event["url"].startswith(redirector.where(f"/build/{live.spec}"))
    assert event["binder_launch_host"] == f"{redirector.url}/"


@pytest.mark.browser
def test_from_badge_to_session(live: LiveFederation, redirector: Redirector) -> None:
    """A click on a badge leads through the redirector's launch page to a session on a member, whichever it is."""
    target = f"{redirector.url}/v2/{live.spec}"
    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(SLOW)
        page.goto(f"{redirector.url}/")
        expect(page.get_by_text("Hosted by Host 0")).to_be_visible(timeout=SLOW)
        page.set_content(f'<a href="{target}"><img alt="badge" src="{redirector.url}/badge_logo.svg"></a>')
        page.get_by_role("link").click()
        page.wait_for_url("**/user/**")
        assert page.url.startswith(redirector.where(f"/build/{live.spec}") + "/user/")
        cookies = page.context.cookies(f"{redirector.url}/build/{live.spec}")
    assert [cookie.get("name") for cookie in cookies] == ["host"]


def test_two_redirectors_agree(live: LiveFederation, redirector: Redirector) -> None:
    """A second redirector with the same file sends every repository to the same member, and may end."""
    second = live.redirector()
    paths = [f"/build/gh/o/r{number}/HEAD" for number in range(60)]
    assert [second.where(path) for path in paths] == [redirector.where(path) for path in paths]
    second.end()
    assert launch(redirector, live.spec)["phase"] == "ready"


def test_a_member_that_is_cut_off(live: LiveFederation, redirector: Redirector) -> None:
    """After its next probe a lost member gets nothing; its share moves, all others stay; then it comes back."""
    paths = [f"/build/gh/o/r{number}/HEAD" for number in range(60)]
    before = [redirector.where(path) for path in paths]
    lost = live.members[1]
    lost.way.cut()
    wait_until(lambda: redirector.members()["m1"]["state"] != "up", PATIENCE, "the cut is seen")
    after = [redirector.where(path) for path in paths]
    assert lost.way.url in before
    assert lost.way.url not in after
    assert all(old in {new, lost.way.url} for old, new in zip(before, after, strict=True))
    for number in range(10):
        cookie = f'host="{lost.way.url}"'
        assert launch(redirector, live.spec, cookie=cookie)["phase"] == "ready", number
    lost.way.mend()
    wait_until(lambda: redirector.members()["m1"]["effective_weight"] > 0, PATIENCE, "it gets launches again")
    assert redirector.members()["m1"]["effective_weight"] <= 50


def test_a_member_that_stalls(live: LiveFederation, redirector: Redirector) -> None:
    """A member whose packets are dropped is out after its probe's time."""
    live.members[2].way.stall()
    wait_until(lambda: redirector.members()["m2"]["state"] != "up", PATIENCE, "the stall is seen")
    assert "no answer within" in redirector.members()["m2"]["reason"]
    assert redirector.where("/build/gh/o/r/HEAD") != live.members[2].way.url


def test_a_prime_that_is_gone(live: LiveFederation, redirector: Redirector) -> None:
    """Without the prime, pages come from other members, launches go on; without any, from memory."""
    assert redirector.get("/about")[0] == 200
    live.members[0].way.cut()
    status, _, body = redirector.get("/v2/gh/owner/repo/HEAD", {"Accept": "text/html"})
    assert status == 200
    assert b"buildToken" in body
    wait_until(lambda: redirector.members()["m0"]["state"] != "up", PATIENCE, "the cut is seen")
    assert launch(redirector, live.spec)["phase"] == "ready"
    for member in live.members:
        member.way.cut()
    status, headers, _ = redirector.get("/about")
    assert (status, headers["x-federation"]) == (200, "stale")
    assert redirector.get("/build/gh/o/r/HEAD")[0] == 307


def is_drained(redirector: Redirector) -> bool:
    """Whether the second member gets nothing because its operator says so."""
    row = redirector.members()["m1"]
    return (row["reason"], row["effective_weight"]) == ("draining", 0)


def test_a_member_that_is_drained(live: LiveFederation, redirector: Redirector) -> None:
    """'binderlet federation drain' on a member moves launches away, sessions stay; --off brings them back."""
    member = live.members[1]
    event = launch(redirector, live.spec, cookie=f'host="{member.way.url}"')
    assert event["url"].startswith(member.way.url)
    for arguments, drained in ((["drain"], True), (["drain", "--off"], False)):
        command = [*COMMAND, "federation", *arguments, *member.service.arguments()]
        subprocess.run(command, check=True, capture_output=True)
        wait_until(lambda: is_drained(redirector) is drained, PATIENCE, f"{arguments} is seen")  # noqa: B023 - called at once
    assert member.service.get(event["url"].partition(f":{member.way.port}/")[2])[0] == 200


def test_a_file_that_changes(live: LiveFederation, redirector: Redirector) -> None:
    """The file is read again when it changes, and at SIGHUP; a broken one changes nothing."""
    live.write(load_balancer="random")
    answers = {redirector.where("/build/gh/o/r/HEAD") for _ in range(3)}
    wait_until(
        lambda: len(answers.union({redirector.where("/build/gh/o/r/HEAD") for _ in range(20)})) > 1,
        PATIENCE,
        "launches go anywhere",
    )
    live.file.write_text("{")
    os.kill(redirector.process.pid, signal.SIGHUP)
    assert launch(redirector, live.spec)["phase"] == "ready"
    live.write()
    wait_until(
        lambda: len({redirector.where("/build/gh/o/r/HEAD") for _ in range(20)}) == 1,
        PATIENCE,
        "the choice is firm again",
    )


def test_join(live: LiveFederation, redirector: Redirector) -> None:
    """'binderlet federation join' on a member finds that all but TLS and the archive's own name is there."""
    arguments = ["federation", "join", redirector.url, "--json", *live.members[1].service.arguments()]
    done = subprocess.run([*COMMAND, *arguments], check=False, capture_output=True, text=True)
    levels = {finding["check"]: finding["level"] for finding in json.loads(done.stdout)["findings"]}
    assert levels == {
        "TLS": "fail",
        "/health": "ok",
        "quota": "ok",
        "/versions": "ok",
        "CORS": "ok",
        "build token": "ok",
        "launch host": "ok",
        "archive": "fail",
    }


@pytest.mark.docker
def test_a_member_with_containers(serve: Serve, forge: Forge, tmp_path: Path) -> None:
    """The same with a container engine: through a redirector to a repository that is built, and its JupyterLab."""
    _, url = forge.repository({"README.md": "Hello"})
    port = free_port()
    with ExitStack() as undo:
        service = undo.enter_context(serve(federation__url=f"http://127.0.0.1:{port}/"))
        file = tmp_path / "federation.toml"
        file.write_text(f'[members.real]\nurl = "{service.url}"\nprime = true\n')
        process = subprocess.Popen([*COMMAND, "federation", "serve", "--file", str(file), "--port", str(port)])
        undo.callback(process.wait)
        undo.callback(process.kill)
        redirector = Redirector(port, process)
        wait_until(redirector.answers, PATIENCE, "the redirector answers")
        event = launch(redirector, git_spec(url), timeout=150)
        assert event["phase"] == "ready", event
        session = Visit(event)
        assert b"JupyterLab" in session.get("lab")
        # It is known at the next probe.
        wait_until(lambda: redirector.members()["real"]["room"]["total"] >= 1, PATIENCE, "the session is counted")
        assert redirector.members()["real"]["state"] == "up"
