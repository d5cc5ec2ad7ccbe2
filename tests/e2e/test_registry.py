"""Images in object storage, end to end: one machine pushes, another with nothing on it serves the same."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from support.gitserver import Repository
from support.s3_server import S3Server, s3_server
from support.second_engine import second_engine
from support.service import Forge, LiveService, Serve, git_spec

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.haproxy, pytest.mark.timeout(900)]
FILES = {"index.ipynb": "{}", "requirements.txt": "six\n"}


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server with keys."""
    with s3_server(tmp_path_factory.mktemp("s3"), tls=False) as server:
        yield server


def metric(service: LiveService, name: str) -> float:
    """Read one metric."""
    lines = service.get("metrics")[1].decode().splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"binderlet_{name}"))


def wait_until_pushed(service: LiveService, count: int) -> None:
    """Wait until so many images are in the registry."""
    deadline = time.monotonic() + 600
    while metric(service, 'image_pushes_total{outcome="pushed"}') < count:
        assert time.monotonic() < deadline, service.last_lines()
        time.sleep(0.5)


def test_a_second_machine_builds_nothing(serve: Serve, forge: Forge, storage: S3Server) -> None:
    """With one block of settings a service pushes what it builds, and one with an empty store serves the same."""
    block = {key.replace(".", "__"): value for key, value in storage.block(storage.make_bucket()).items()}
    pace = {"registry__push_rate": 0, "registry__yield_rate": 10**9}
    repo, url = forge.repository(FILES)
    with serve(**block, **pace) as first:
        prefix = f"{first.name}/i-"
        image = first.ready(git_spec(url))["image"]
        wait_until_pushed(first, 3)
        first.kill()  # nothing is said to anybody
        with second_engine() as socket:
            new = {"engine__socket": str(socket), "builder__image_prefix": prefix, "engine__subnet": "10.214.0.0/16"}
            with serve(**block, **new) as second:
                check_second_machine(second, repo, url, image)


def check_second_machine(second: LiveService, repo: Repository, url: str, image: str) -> None:
    """It pulls its base and the image; of a commit that changes content alone it builds no more than that."""
    assert "Pulling binderlet/base" in second.log.read_text()
    events = second.launch(git_spec(url))
    assert events[-1]["phase"] == "ready", second.last_lines()
    assert (events[-1]["image"], [event for event in events if event["phase"] == "building"]) == (image, [])
    repo.commit({"more.txt": "a commit that changes content alone"})
    events = second.launch(git_spec(url, repo.head))
    text = "".join(str(event["message"]) for event in events)
    assert events[-1]["phase"] == "ready", text
    assert "Pulling binderlet/env" in text
    assert metric(second, 'image_pulls_total{source="registry"}') == 1
    assert metric(second, "images_rebuilt_total") == 0
