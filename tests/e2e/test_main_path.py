"""From a repository to a session and back: every kind of environment, and what is on record afterwards."""

from __future__ import annotations

import json
import sqlite3
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest

from binderlet.events.archive import SCHEMA_FILE
from support.gitserver import Files, Program
from support.service import Event, Forge, LiveService, git_spec
from support.visit import Visit, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.haproxy, pytest.mark.timeout(120)]

Launch = Callable[[Files], Visit]
NOTEBOOK = json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def log_of(events: list[Event]) -> str:
    """Give what viewers saw."""
    return "".join(str(event.get("message", "")) for event in events)


ODD_NAME = "space 'quote' \"double\" ü.txt"


@pytest.fixture(scope="module")
def plain(service: LiveService, forge: Forge) -> Iterator[Visit]:
    """The session of a repository without environment files, for tests that only look."""
    _, url = forge.repository({"index.ipynb": NOTEBOOK, ODD_NAME: "odd", "folder/data.csv": "1,2\n"})
    visit = Visit(service.ready(git_spec(url)))
    yield visit
    service.admin("DELETE", f"/sessions/{visit.id}")


def test_a_plain_repository(plain: Visit) -> None:
    """Without environment files JupyterLab answers 200 and shows the repository's files, whatever their names."""
    assert b"jupyter-config-data" in plain.get("lab")
    plain.get("lab/tree/index.ipynb")
    plain.get("tree")
    assert {"index.ipynb", ODD_NAME, "folder"} <= plain.files()
    assert plain.files("folder") == {"data.csv"}


def test_a_cell_runs(plain: Visit) -> None:
    """A kernel answers over its WebSocket through HAProxy, in the repository's folder, which it may write to."""
    printed = plain.run_cell("open('new.txt', 'w').write('made'); print(6 * 7, open('folder/data.csv').read())")
    assert printed == "42 1,2\n\n"
    assert plain.read("new.txt") == "made"


def test_requirements(launch: Launch) -> None:
    """What ``requirements.txt`` in the root names can be imported, and pip reaches the package index in a session."""
    session = launch({"requirements.txt": "iniconfig==2.0.0\n"})
    session.get("lab")
    assert "requirements.txt" in session.files()
    assert session.execute("python", "-c", "import iniconfig; print(iniconfig.__file__)").startswith("/srv/conda/")
    assert "Successfully installed toposort" in session.execute("pip", "install", "toposort==1.10")


def test_debian_packages(launch: Launch) -> None:
    """What ``.binder/apt.txt`` names is installed; files in the root are not read then."""
    session = launch({".binder/apt.txt": "hello  # a comment\n", "apt.txt": "no-such-package\n"})
    session.get("lab")
    assert session.execute("hello") == "Hello, world!\n"


def test_runtime(launch: Launch, service: LiveService, forge: Forge) -> None:
    """``binder/runtime.txt`` may ask for the Python that is here; what cannot be understood is refused."""
    session = launch({"binder/runtime.txt": "python-3.11\n", "a.txt": ""})
    session.get("lab")
    assert {"a.txt", "binder"} <= session.files()
    _, url = forge.repository({"runtime.txt": "python\n"})
    *_, last = service.launch(git_spec(url))
    assert last["phase"] == "failed"
    assert "runtime.txt" in last["message"]


def test_post_build(launch: Launch) -> None:
    """``postBuild`` runs once in the repository's folder, as the visitor's user."""
    session = launch({"postBuild": Program("#!/bin/bash\nset -e\nid -un > who.txt\npwd >> who.txt\n")})
    session.get("lab")
    assert session.read("who.txt").split() == ["jovyan", "/home/jovyan"]


def test_start(launch: Launch) -> None:
    """``start`` wraps the session's command and may set its environment."""
    session = launch({"binder/start": Program('#!/bin/bash\nexport GREETING="hello you"\nexec "$@"\n')})
    session.get("lab")
    assert session.run_cell("import os; print(os.environ['GREETING'])") == "hello you\n"


def test_dockerfile(launch: Launch, service: LiveService) -> None:
    """A repository's own Dockerfile is built as it is, and everything else in the repository is left alone."""
    base = json.loads(service.get("versions")[1])["builder"]
    session = launch(
        {
            "Dockerfile": f"FROM {base}\nUSER root\nRUN echo made > /made.txt\nCOPY . /home/jovyan/\nUSER jovyan\n",
            "requirements.txt": "no-such-package-anywhere\n",
        }
    )
    session.get("lab")
    assert {"Dockerfile", "requirements.txt"} <= session.files()
    assert session.execute("cat", "/made.txt") == "made\n"


def test_a_commit_of_content_installs_nothing(service: LiveService, forge: Forge) -> None:
    """A commit that changes only a notebook reuses the environment: no installer runs, one layer is new."""
    repository, url = forge.repository({"requirements.txt": "iniconfig==1.1.1\n", "a.ipynb": NOTEBOOK})
    before = Visit(service.ready(git_spec(url)))
    repository.commit({"a.ipynb": NOTEBOOK.replace("{}", '{"changed": true}', 1)})
    events = service.launch(git_spec(url, repository.head))
    assert "This environment has been built before" in log_of(events)
    assert "iniconfig" not in log_of(events)
    after = Visit(events[-1])
    assert before.image != after.image
    assert '"changed": true' in after.get("files/a.ipynb").decode()
    old, new = layers(before), layers(after)
    assert old[:-1] == new[: len(old) - 1]
    for session in (before, after):
        service.admin("DELETE", f"/sessions/{session.id}")


def layers(session: Visit) -> list[str]:
    """Give the layers of a session's image, the base first."""
    found: list[str] = session.inspect_image()["RootFS"]["Layers"]
    return found


def test_github_repositories(service: LiveService, forge: Forge) -> None:
    """The ``gh`` provider launches a branch whose name has a slash, and a session knows where it comes from."""
    repository, _ = forge.repository({"a.txt": "main"}, "owner/demo")
    repository.branch("feature/x")
    repository.commit({"a.txt": "newer"})
    session = Visit(service.ready("gh/owner/demo/feature%2Fx"))
    assert session.read("a.txt") == "main"
    environment = dict(pair.split("=", 1) for pair in session.inspect()["Config"]["Env"])
    assert environment["BINDER_REPO_URL"] == "https://github.com/owner/demo"
    assert environment["BINDER_REQUEST"] == "v2/gh/owner/demo/feature%2Fx"
    assert environment["BINDER_LAUNCH_HOST"] == service.url
    service.admin("DELETE", f"/sessions/{session.id}")


def test_events_of_a_launch(service: LiveService, forge: Forge) -> None:
    """Phases come in BinderHub's order, each event with its id; ``ready`` has link, token, image and where from."""
    repository, url = forge.repository({"a.txt": "events"})
    events = service.launch(git_spec(url))
    phases = list(dict.fromkeys(event["phase"] for event in events))
    assert phases == ["waiting", "fetching", "building", "built", "launching", "ready"]
    assert all(event["message"].endswith("\n") or event["phase"] == "building" for event in events)
    assert len({event["id"] for event in events}) == len(events)
    ready = events[-1]
    assert ready["repo_url"] == url
    assert ready["binder_persistent_request"].endswith(repository.head)
    assert ready["url"].startswith(f"{service.url}user/")
    assert ready["image"].endswith(f":{repository.head}")
    again = service.launch(git_spec(url))
    assert [event["phase"] for event in again] == ["built", "launching", "ready"]
    for event in (ready, again[-1]):
        service.admin("DELETE", f"/sessions/{Visit(event).id}")


@pytest.mark.parametrize(
    ("spec", "code"),
    [("gh/owner/none/HEAD", "repository_not_found"), ("nowhere/x/HEAD", "unknown_provider"), ("gh/owner", "bad_spec")],
)
def test_what_cannot_be_launched(service: LiveService, spec: str, code: str) -> None:
    """A missing repository, an unknown provider and a malformed spec fail at once, with code and hint."""
    (*_, last) = service.launch(spec)
    assert last["phase"] == "failed"
    assert last["code"] == code
    assert last["hint"]


def test_a_failed_build_says_so_with_its_log(service: LiveService, forge: Forge) -> None:
    """A package that does not exist fails the build: its name is in the log, the reason comes last, once."""
    _, url = forge.repository({"requirements.txt": "no-such-package-a8f3b1\n"})
    events = service.launch(git_spec(url))
    assert [event["phase"] for event in events].count("failed") == 1
    assert events[-1]["phase"] == "failed"
    assert "no-such-package-a8f3b1" in log_of(events[:-1])


def test_a_session_is_confined(plain: Visit) -> None:
    """A session runs as an ordinary user without capabilities, with limits, and cannot become root."""
    status = dict(line.split(":\t", 1) for line in plain.execute("cat", "/proc/1/status").splitlines() if ":\t" in line)
    assert set(status["Uid"].split()) == {"1000"}
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb", "CapInh")} == {0}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    host = plain.inspect()["HostConfig"]
    assert host["Memory"] == 2 * 1024**3
    assert host["NanoCpus"] == 10**9
    assert host["PidsLimit"] == 512
    assert not host["PortBindings"]


def test_a_session_needs_its_token(plain: Visit, launch: Launch) -> None:
    """Without the token, or with that of another session, nothing of a session can be read."""
    other = launch({"a.txt": "two"})
    for token in ("", "wrong", other.token):
        assert plain.ask("GET", "api/contents/", token=token)[0] == 403


def test_a_session_ends_itself(service: LiveService, launch: Launch) -> None:
    """``POST api/shutdown`` ends a session: its link leads to the page of ended sessions, and its container is gone."""
    session = launch({"a.txt": "shutdown"})
    assert session.ask("POST", "api/shutdown")[0] == 200
    wait_for(lambda: service.get(f"user/{session.id}/lab")[0] == 424, seconds=5, what="the route is gone")
    status, page = service.get(f"user/{session.id}/lab", {"Accept": "text/html"})
    assert status == 424
    assert b"<html" in page
    wait_for(lambda: not session.container, seconds=5, what="the container is gone")
    assert session.id not in ids(service)


def test_a_container_that_dies_is_noticed(service: LiveService, launch: Launch) -> None:
    """Within 5 seconds of its container's death a session is off the list and its route removed."""
    session = launch({"a.txt": "dies"})
    session.kill()
    wait_for(lambda: service.get(f"user/{session.id}/")[0] == 424, seconds=5, what="the route is gone")
    wait_for(lambda: session.id not in ids(service), seconds=5, what="the session is off the list")


def ids(service: LiveService) -> set[str]:
    """Give the ids of the sessions that run."""
    return {running["id"] for running in service.sessions()}


def test_what_is_on_record(service: LiveService, forge: Forge) -> None:
    """A launch is counted in BinderHub's metrics, written to the archive by its schema, and kept in the history."""
    sha = forge.repository({"a.txt": "record"}, "owner/record")[0].head
    session = Visit(service.ready("gh/owner/record/main"))
    service.admin("DELETE", f"/sessions/{session.id}")

    event = wait_for(lambda: archived(service, "owner/record/main"), seconds=10, what="the archive has the launch")
    schema = json.loads(SCHEMA_FILE.read_text())
    jsonschema.validate(event, schema)
    assert event["version"] == 6
    assert (event["provider"], event["ref"], event["status"]) == ("GitHub", sha, "success")

    row = wait_for(lambda: ended_session(service, session.id), seconds=10, what="the history has the session's end")
    assert row == ("success", sha, 1, "stopped by the operator")


def archived(service: LiveService, spec: str) -> Any:  # noqa: ANN401 - JSON
    """Give the archived launch event of a spec, or None."""
    files = (service.state / "archive").glob("launches-*.jsonl")
    launches = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    return next((launch["event"] for launch in launches if launch["event"]["spec"] == spec), None)


def ended_session(service: LiveService, session_id: str) -> Any:  # noqa: ANN401 - a row
    """Give the launch's status, commit and whether it was built, and why its session ended; None while it runs."""
    query = """SELECT launches.status, sha, built, sessions.reason FROM launches JOIN sessions
               ON sessions.launch_id = launches.id WHERE sessions.id = ? AND sessions.ended_at IS NOT NULL"""
    with closing(sqlite3.connect(service.state / "history.sqlite")) as database:
        return database.execute(query, (session_id,)).fetchone()


def test_metrics(service: LiveService, plain: Visit) -> None:
    """Metrics have BinderHub's names, and count launches and builds by provider and repository."""
    names = (
        *("binderhub_build_time_seconds_bucket{", "binderhub_launch_time_seconds_bucket{"),
        *("binderhub_build_count_total{", "binderhub_launch_count_total{"),
        *("binderhub_inprogress_builds ", "binderhub_inprogress_launches "),
    )
    wait_for(lambda: all(f"\n{name}" in page(service) for name in names), seconds=5, what="all is counted")
    text = page(service)
    assert 'provider="Git",repo="http://127.0.0.1' in text


def page(service: LiveService) -> str:
    """Give the metrics."""
    return service.get("metrics")[1].decode()


def test_pages_for_programs_and_crawlers(service: LiveService) -> None:
    """Health, versions, providers, robots and badges answer through HAProxy."""
    status, body = service.get("health")
    assert status == 200
    assert "Pod quota" in {check["service"] for check in json.loads(body)["checks"]}
    assert {"builder", "binderhub"} <= set(json.loads(service.get("versions")[1]))
    providers = json.loads(service.get("api/repoproviders")[1])
    assert [provider["id"] for provider in providers] == ["gh", "git"]
    assert b"Disallow" in service.get("robots.txt")[1]
    for badge in ("badge_logo.svg", "badge.svg"):
        assert b"<svg" in service.get(badge)[1]
    assert b"<form" in service.get("/")[1]
    assert service.get("user/nobody/lab")[0] == 424
    assert service.get("nothing/here")[0] == 404


def test_links_are_of_the_address_that_was_asked(service: LiveService, forge: Forge) -> None:
    """A visitor who came by another name of the machine gets a link with that name."""
    _, url = forge.repository({"a.txt": "host"})
    host = f"localhost:{urlsplit(service.url).port}"
    request = urllib.request.Request(
        f"{service.url}build/{git_spec(url)}", headers={"Accept": "text/event-stream", "Host": host}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        events = (json.loads(line[5:]) for line in answer if line.startswith(b"data:"))
        ready = next(event for event in events if event["phase"] == "ready")
    assert ready["url"].startswith(f"http://{host}/user/")
    service.admin("DELETE", f"/sessions/{Visit(ready).id}")
