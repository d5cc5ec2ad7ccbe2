"""A service without a container engine of its own: built in the cluster, pushed, launched, used; and faults."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from support.builder_cluster import TIMEOUT, BuilderCluster
from support.cluster import second_node
from support.service import Forge, LiveService, git_spec
from support.visit import Visit

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.kube,
    pytest.mark.docker,
    pytest.mark.haproxy,
    pytest.mark.timeout(TIMEOUT),
]
SERVER = """#!/srv/conda/envs/notebook/bin/python
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        if self.path.endswith("/package"):
            import seaside
            self.wfile.write(seaside.VERSION.encode())
        else:
            self.wfile.write(open("/home/jovyan/data.csv", "rb").read())
http.server.ThreadingHTTPServer(("", 8888), Handler).serve_forever()
"""
POST_BUILD = """#!/bin/bash
echo the words of postBuild
cat >/srv/conda/envs/notebook/bin/jupyter-lab <server.py
chmod 0755 /srv/conda/envs/notebook/bin/jupyter-lab
"""
"""What stands for Jupyter in the small base image."""


@pytest.fixture(scope="module")
def service(forge: Forge, builders: BuilderCluster) -> Iterator[LiveService]:
    """A service that knows nothing but the cluster and the registry; builder pods are found by its name."""
    # Not in pytest's folder: the paths of unix sockets must be short.
    with tempfile.TemporaryDirectory(prefix="bl-") as folder:
        made = LiveService(Path(folder) / "s", name=builders.instance)
        made.set(standby__enabled=False, providers__gh__base_url=forge.server.base)
        for section, values in builders.settings().items():
            made.set(**{f"{section}__{key}": value for key, value in values.items()})
        with made:
            yield made


def files(**more: str) -> dict[str, str]:
    """Give the files of a repository whose session answers."""
    return {"postBuild": POST_BUILD, "server.py": SERVER, "data.csv": "1,2\n", **more}


def spec(forge: Forge, **more: str) -> str:
    """Give a new repository with these files besides."""
    _, url = forge.repository(files(**more))
    return git_spec(url)


def words(events: Sequence[Mapping[str, object]]) -> str:
    """Give all that a launch said."""
    return "".join(str(event.get("message", "")) for event in events)


def test_built_pushed_launched(service: LiveService, builders: BuilderCluster, forge: Forge) -> None:
    """A repository is built in a builder pod and becomes a pod that answers; so does its next commit.

    Its package comes from an index with an authority of its own, as the settings say, not the pod.
    """
    repository, url = forge.repository(files(**{"requirements.txt": "seaside>=2\n"}))
    first = service.launch(git_spec(url), timeout=280)
    assert first[-1]["phase"] == "ready", words(first)
    assert "the words of postBuild" in words(first)
    assert f"Pushing the image to {builders.registry}" in words(first)
    assert any(f"in {name}." in words(first) for name in builders.pods())
    visit = Visit(first[-1])
    assert visit.get("lab") == b"1,2\n"
    assert visit.get("package") == b"2.5"
    assert "/simple/seaside/" in builders.index.log.read_text()
    assert [one["status"]["phase"] for one in builders.sessions.pods(service.name)] == ["Running"]
    assert service.admin("DELETE", f"/sessions/{visit.id}")[0] == 204
    commit = repository.commit({"data.csv": "3,4\n"})
    second = service.launch(git_spec(url, commit), timeout=280)
    assert second[-1]["phase"] == "ready", words(second)
    visit = Visit(second[-1])
    assert (visit.get("lab"), visit.get("package")) == (b"3,4\n", b"2.5")


def test_failure_has_its_words(service: LiveService, forge: Forge) -> None:
    """A build that fails says what its script said, and the launch is over."""
    ended = service.launch(spec(forge, postBuild="#!/bin/bash\necho here it ends\nexit 7\n"), timeout=280)
    assert ended[-1]["phase"] == "failed"
    assert "here it ends" in words(ended)


def test_control_plane_is_killed(service: LiveService, forge: Forge) -> None:
    """The build goes on in its pod; the next control plane shows its log from the first line to the last, each once."""
    slow = f"{POST_BUILD}for number in {{1..20}}; do echo line $number.; sleep 0.5; done\n"
    chosen = spec(forge, postBuild=slow)
    with contextlib.closing(service.stream(chosen, timeout=280)) as events:
        said = ""
        while "line 3." not in said:
            said += words([next(events)])
        service.kill()
    service.start()
    ended = service.launch(chosen, timeout=280)
    assert ended[-1]["phase"] == "ready", words(ended)
    counts = [words(ended).count(f"line {number}.\n") for number in range(1, 21)]
    assert counts == [1] * 20, words(ended)


def test_builder_goes_away(service: LiveService, builders: BuilderCluster, forge: Forge) -> None:
    """A pod that is deleted under a build is no end of it: another builds."""
    chosen = spec(forge, postBuild=f"{POST_BUILD}sleep 5\n")
    said, deleted = "", False
    with contextlib.closing(service.stream(chosen, timeout=280)) as events:
        for event in events:
            said += words([event])
            if not deleted and "the words of postBuild" in said:
                [pod] = [name for name in builders.pods() if f"in {name}." in said]
                builders.builders.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
                deleted = True
    assert event["phase"] == "ready", said
    assert "The build was lost" in said


def test_on_another_node(service: LiveService, builders: BuilderCluster, forge: Forge) -> None:
    """A node that never saw the image fetches it from the registry, and its sessions are reached like all others."""
    chosen = spec(forge)
    first = Visit(service.ready(chosen, timeout=280))
    service.kill()
    service.set(**second_node())
    service.start()
    other = Visit(service.ready(chosen, timeout=280))
    assert (first.get("lab"), other.get("lab")) == (b"1,2\n", b"1,2\n")
    where = {pod["metadata"]["annotations"]["binderlet.session"]: pod for pod in builders.sessions.pods(service.name)}
    assert [where[visit.id]["spec"]["nodeName"] for visit in (first, other)] == ["node1", "node2"]
    for visit in (first, other):
        assert service.admin("DELETE", f"/sessions/{visit.id}")[0] == 204
