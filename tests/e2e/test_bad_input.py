"""What visitors and repositories get wrong: each is answered with one clear event, or simply works."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from support.gitserver import make_large_repository
from support.service import git_spec
from support.site import Site, fetch, site

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.docker,
    pytest.mark.haproxy,
    pytest.mark.timeout(300),  # the first start on a machine makes the base image
]

ODD_NAMES = (
    "with space.txt",
    'it\'s "quoted".txt',
    "Grüße ☃.txt",
    "-dash$HOME`x`.txt",
    "back\\slash.txt",
    "#a?b&c%20.txt",
)
FILES = 10_000
"""Of the large repository; the providers' tests fetch one of 100,000."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One service for all tests here."""
    with site(tmp_path_factory.mktemp("bad")) as found:
        yield found


@pytest.mark.parametrize(
    ("spec", "status", "code", "words"),
    [
        ("git/justone", 400, "bad_spec", "url/ref"),
        ("gh/onlyowner", 400, "bad_spec", "user/repo/ref"),
        ("gh/%2e%2e/x/main", 400, "bad_spec", "cannot be the name"),
        ("git/%ff%fe/HEAD", 400, "bad_spec", "percent-encoded"),
        ("git/https%3A%2F%2F%20/HEAD", 400, "bad_spec", "spaces"),
        ("git/file%3A%2F%2F%2Fetc/HEAD", 400, "bad_spec", "file"),
        ("git/", 400, "bad_spec", "names no repository"),
        ("nope/a/b/main", 404, "unknown_provider", "nope"),
    ],
)
def test_a_malformed_address(shared: Site, spec: str, status: int, code: str, words: str) -> None:
    """An address that names no repository is refused with one event that says what is wrong and how to mend it."""
    (event,) = shared.service.launch(spec)
    assert (event["phase"], event["status_code"], event["code"]) == ("failed", status, code)
    assert words in event["message"]
    assert event["hint"] in event["message"]


def test_an_unknown_ref(shared: Site) -> None:
    """A branch that is not there is named, and one whose name only ends alike does not count."""
    spec = shared.spec("refs", {"README.md": "Hello"}, ref="ain")
    (event,) = shared.service.launch(spec)
    assert (event["phase"], event["code"], event["status_code"]) == ("failed", "ref_not_found", 404)
    assert "'ain'" in event["message"]


def test_a_repository_that_is_missing_or_private(shared: Site) -> None:
    """Neither one that does not exist nor one that asks for a login waits for a password: both are not found."""
    spec = shared.spec("secret", {"README.md": "Hello"})
    with shared.git.asking_for_login("secret"):
        stories = [shared.service.launch(spec), shared.service.launch(git_spec(shared.git.url("none")))]
    for (event,) in stories:
        assert (event["phase"], event["code"], event["status_code"]) == ("failed", "repository_not_found", 404)
        assert "public" in event["message"]


def test_odd_file_names(shared: Site) -> None:
    """Files whose names have spaces, quotes and letters of any script are in the session under their names."""
    ready = shared.service.ready(shared.spec("odd-names", {name: f"I am {name}" for name in ODD_NAMES}))
    listed = {entry["name"] for entry in json.loads(fetch(ready, "api/contents"))["content"]}
    assert listed >= set(ODD_NAMES)
    for name in ODD_NAMES:
        assert json.loads(fetch(ready, f"api/contents/{quote(name)}"))["content"] == f"I am {name}"


def test_an_environment_file_in_latin_1(shared: Site) -> None:
    """A requirements.txt in Latin-1 is read as such, and the log says so."""
    spec = shared.spec("latin", {"requirements.txt": "# Größe und Maße\n".encode("latin-1")})
    events = shared.service.launch(spec)
    assert events[-1]["phase"] == "ready", events
    assert any("latin-1" in event["message"].lower() for event in events)


def test_a_repository_of_many_files(shared: Site) -> None:
    """A repository of very many files launches, with all of them in the session."""
    make_large_repository(shared.root / "git" / "large", FILES)
    ready = shared.service.ready(git_spec(shared.git.url("large")))
    last = FILES - 1
    body = json.loads(fetch(ready, f"api/contents/d{last // 1000}/f{last}.txt"))
    assert body["content"] == f"{last}\n"
